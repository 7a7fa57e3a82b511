"""Each test of the kernel gives back what it made."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from cascade import _kernel

# Later Pythons keep for a while what a finaliser has raised, and what that holds.
if _kernel.kernel_name == "compiled" and sys.version_info < (3, 12):

    @pytest.fixture(autouse=True)
    def _nothing_is_left() -> Iterator[None]:
        """Let a test fail that leaves a lazy result, a Router or an inject marker alive."""
        gc.collect()
        before = _kernel.hot._living()
        yield
        if _kernel.hot._living() != before:
            gc.collect()
        assert _kernel.hot._living() == before

"""Each test of the kernel gives back what it made."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from cascade import _kernel

if _kernel.kernel_name == "compiled":

    @pytest.fixture(autouse=True)
    def _nothing_is_left() -> Iterator[None]:
        """Let a test fail that leaves a lazy result, a Router or an inject marker alive."""
        gc.collect()
        before = _kernel.hot._living()
        yield
        if _kernel.hot._living() != before:
            gc.collect()
        assert _kernel.hot._living() == before

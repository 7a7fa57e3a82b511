"""What do the plain loops cost that everything else is compared with?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.yardsticks import STEPS


@pytest.mark.benchmark(group="plain loops")
@pytest.mark.parametrize("yardstick", STEPS, ids=lambda f: f.__name__)
def test_yardstick(benchmark: Any, yardstick: Callable[[int], int]) -> None:
    """A yardstick makes the steps that it says."""
    steps = 100 if benchmark.disabled else STEPS[yardstick]

    assert benchmark(yardstick, steps) == steps

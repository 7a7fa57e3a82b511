"""What does the same step cost hot, warm, and with every event published?"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.workloads import WORKLOADS, engine

SETTINGS: dict[str, dict[str, Any]] = {"hot": {}, "warm": {"hot": False}, "every event": {"observe": "steps"}}


@pytest.mark.benchmark(group="tiers")
@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS.keys())
def test_heavy_step(benchmark: Any, options: dict[str, Any]) -> None:
    """A hundred steps of twelve nodes."""
    steps = 10 if benchmark.disabled else 100

    assert benchmark(lambda: WORKLOADS["heavy"].work(steps, engine(**options))) == steps * 12

"""What does an event cost, with and without a listener?"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.workloads import WORKLOADS, engine
from cascade.runtime.bus import MessageBus
from cascade.runtime.events import Event, LoopProgress, TaskExecutionStarted

EVENT = TaskExecutionStarted(run_id="run", task_id="task", task_name="name")
LISTENERS: dict[str, type[Event] | None] = {"nobody": None, "of the event": TaskExecutionStarted, "of all": Event}


@pytest.mark.benchmark(group="one event")
@pytest.mark.parametrize("wanted", LISTENERS.values(), ids=LISTENERS.keys())
def test_publish(benchmark: Any, wanted: type[Event] | None) -> None:
    """One event is published to at most one listener, which gets it each time."""
    bus, seen = MessageBus(), [0]

    def listener(event: Event) -> None:
        seen[0] += 1

    if wanted is not None:
        bus.subscribe(wanted, listener)

    benchmark(bus.publish, EVENT)

    assert bool(seen[0]) is (wanted is not None)


@pytest.mark.benchmark(group="a hot loop")
@pytest.mark.parametrize("wanted", [None, LoopProgress, Event], ids=["nobody", "of progress", "of all"])
def test_hot_loop(benchmark: Any, wanted: type[Event] | None) -> None:
    """A hot loop has a listener that is told ten times a second, or none."""
    workload = WORKLOADS["simple"]
    steps = workload.small if benchmark.disabled else workload.size
    seen: list[Event] = []

    def loop() -> int:
        on = engine()
        if wanted is not None:
            on.bus.subscribe(wanted, seen.append)
        return workload.work(steps, on)

    assert benchmark(loop) == steps
    assert bool(seen) is (wanted is not None)

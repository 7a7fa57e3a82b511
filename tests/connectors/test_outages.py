"""A run whose broker crashes; tests/stress has the long one."""

from __future__ import annotations

import asyncio

import pytest

from tests.connectors.inbox import open_files, other_tasks

pytest.importorskip("aiomqtt", reason="needs aiomqtt: pip install 'cascade-hot[mqtt]'")
from tests.connectors.outages import run_through_outages


def test_a_run_outlives_crashes_of_its_broker(broker):
    """It ends right, all telemetry of its tasks arrives, and no task or socket stays."""
    before = open_files()

    async def main():
        value, observer = await run_through_outages(broker, 100, 2)
        return value, observer, other_tasks()

    value, observer, tasks = asyncio.run(main())

    assert value == sum(range(100))
    assert observer.tasks_in("RUNNING") == observer.tasks_in("COMPLETED") == 101
    assert observer.lifecycle == {"ENGINE_STARTED", "ENGINE_STOPPED"}
    assert tasks == set()
    assert open_files() == before

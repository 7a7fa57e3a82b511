"""A drawn program that is cancelled at a drawn moment leaves nothing behind.

What it has done by then, and whether it was still to be cancelled, is a matter of time and not compared.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cascade.runtime.engine import Engine
from cascade.runtime.events import RunFinished
from tests.differential.voices import UNHURRIED, Record, agree, new_engine, patience, play, searching, target_of
from tests.differential.worlds import Halt, World
from tests.engines import watch
from tests.strategies import programs


async def cancelled(engine: Engine, world: World, program: Any, moment: int) -> tuple[str, int]:
    """Cancel a run when its log has ``moment`` entries; say how it ended, and how many asyncio Tasks it left behind."""
    running = asyncio.ensure_future(engine.run(target_of(world, program), world.parameters()))
    loop = asyncio.get_running_loop()
    # From a thread, or from the run itself: the loop cancels it in its next turn.
    world.watch = lambda entries: loop.call_soon_threadsafe(running.cancel) if entries == moment else None
    how = "Succeeded"
    try:
        await running
    except asyncio.CancelledError:
        how = "Cancelled"
    except (Exception, Halt):
        how = "Failed"
    world.watch = lambda entries: None
    return how, len(asyncio.all_tasks()) - 1


def run_cancelled(engine: Engine, world: World, program: Any, moment: int) -> tuple[str, int, list[str]]:
    """Also return what is in the log at the end of the run; it must not grow after that, which the caller looks at."""

    async def run() -> tuple[str, int, list[str]]:
        how, left = await cancelled(engine, world, program, moment)
        entries = list(world.log)
        for _ in range(5):
            await asyncio.sleep(0)
        return how, left, entries

    world.enter(fresh=True)
    with patience(0):
        return asyncio.run(run())


def resources_in(log: list[str], sign: str) -> list[str]:
    return [entry.split()[0][1:] for entry in log if entry.startswith(sign)]


def is_nested(log: list[str]) -> bool:
    """Whether what was set up last was always torn down first."""
    open_now: list[str] = []
    for entry in log:
        name = entry.split()[0][1:]
        if entry[0] == "+":
            open_now.append(name)
        elif open_now.pop() != name:
            return False
    return not open_now


@searching(50)
@given(program=programs, moment=st.integers(1, 12), hot=st.booleans())
def test_a_cancelled_run_leaves_nothing_behind(program: Any, moment: int, hot: bool) -> None:
    """Teardowns are done in reverse order, siblings awaited, the end told, and the engine runs the program as ever."""
    world, engine = World(), new_engine(hot=hot)
    finished = watch(engine, RunFinished)
    how, left, log = run_cancelled(engine, world, program, moment)
    is_async, threads = world.is_async or world.maps, world.threads

    assert left == 0
    assert [one.status for one in finished] == [how]  # type: ignore[attr-defined]
    assert threads or world.log == log
    assert Counter(resources_in(log, "+")) == Counter(resources_in(log, "-"))
    if not is_async:
        for scope in (("config", "db", "bad_down"), ("conn", "bad_step")):
            assert is_nested([entry for entry in log if entry[0] in "+-" and entry.split()[0][1:] in scope])

    world.enter(fresh=True)
    with patience(UNHURRIED):
        agree(play(program), Record(engine.run, program, world))

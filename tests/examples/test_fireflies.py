"""``examples/fireflies.py`` with few fireflies."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from examples import fireflies
from examples.fireflies import command, firefly, picture, swarm, tick_step, watch


def test_they_fall_into_step() -> None:
    """Thirty agents run concurrently, each beat is a step of each, and order grows from little to what is wanted."""
    evening = asyncio.run(watch(swarm(30, 1.5, seed=3), wanted=0.97, patience=60))

    assert evening.in_step
    assert evening.order[0] < 0.5
    assert evening.order[-1] >= 0.97
    assert all(order < 0.97 for order in evening.order[:-1])
    assert evening.steps >= 30 * (len(evening.order) - 1)


def test_nothing_is_left_when_they_are_in_step() -> None:
    """All agents have been cancelled and awaited when ``watch`` returns."""

    async def evening() -> set[asyncio.Task[object]]:
        await watch(swarm(10, 2.0, seed=1), wanted=0.9, patience=60)
        return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type,operator]

    assert asyncio.run(evening()) == set()


def test_patience_ends() -> None:
    """Fireflies that do not pull each other go on for ever; then the run is ended from outside."""
    evening = asyncio.run(watch(swarm(5, 0.0, seed=1), wanted=1.1, patience=0.05))

    assert not evening.in_step
    assert evening.order


def test_an_error_of_an_agent_arrives() -> None:
    """A firefly that cannot live ends the evening with its error, not with a wait for ever."""
    with pytest.raises(TypeError):
        asyncio.run(watch([firefly(0, "no phase", 1.0, 1.0), *swarm(3, 1.0, seed=1)], 0.9, patience=60))


def test_agents_run_hot() -> None:
    """An agent is the kind of loop that the hot tier is for."""
    assert cs.explain(firefly(0, 0.0, 1.0, 1.0)).tier == "hot"


def test_the_program_draws_what_it_saw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, the order parameter on the screen and its curve in the picture, two dials with all fireflies."""
    out = tmp_path / "evening.svg"
    code = command(["--count", "25", "--out", str(out)])
    shown = capsys.readouterr().out
    root = ET.parse(out).getroot()
    space = "{http://www.w3.org/2000/svg}"
    [line] = root.iter(f"{space}polyline")
    points = (line.get("points") or "").split()

    assert code == 0
    assert "order 0." in shown
    assert "25 fireflies in step" in shown
    assert len(points) > 20
    assert len(list(root.iter(f"{space}circle"))) == 2 * (25 + 1)


def test_a_picture_of_one_beat_can_be_drawn() -> None:
    """Two fireflies that begin in step end at once: a curve of one point."""
    evening = asyncio.run(watch([firefly(i, 0.0, 1.0, 1.0) for i in range(2)], wanted=0.9, patience=60))

    assert len(evening.order) == 1
    ET.fromstring(picture(evening))


@pytest.mark.parametrize("beats", [1, 10, 171, 3000])
def test_ticks_are_few(beats: int) -> None:
    """However long it takes, the axis of time has at most seven ticks."""
    assert 1 <= len(range(0, beats, tick_step(beats))) <= 7


def test_cascade_run_has_fireflies_to_run() -> None:
    """The fireflies of ``main`` live in the meadow of the file until they are cancelled."""

    async def live() -> int:
        engine = cs.Engine(NativeSolver(), LocalExecutor(), cs.MessageBus())
        engine.register(fireflies.meadow)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(engine.run(fireflies.main()), 0.5)
        return engine.stats.steps

    assert asyncio.run(live()) > fireflies.COUNT

"""Does ``growth.py`` measure, judge and draw as it says?"""

from __future__ import annotations

import mmap
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import growth, lengths
from benchmarks.growth import ALLOWED, too_costly, too_long, too_much
from benchmarks.lengths import LOOPS, Length, length_of, steps_of
from benchmarks.measure import need_compiled
from benchmarks.sizes import PLAIN, SHAPES, TASKS, Cost, evaluate
from benchmarks.workloads import run
from cascade._kernel import trace

compiled_only = pytest.mark.skipif(bool(need_compiled()), reason="measures the compiled kernel, which is not loaded")

COST = Cost(write=1.0, run=5.0, free=0.5, alone=6.0, plain=10.0, plain_alone=8.0)
SHORT = Length(steps=100_000, cost=2.0, late=2.0, resident=(1_000_000,) * 10)
LONG = Length(steps=10_000_000, cost=2.0, late=2.0, resident=(1_000_000,) * 100)


@compiled_only
def test_it_measures_and_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A quick run prints a row for each size of each shape and each length of each loop, and draws two pictures."""
    pytest.importorskip("matplotlib")

    assert growth.main(["--quick", "--pictures", str(tmp_path / "new")]) == 0

    words = [row.split()[0] for row in capsys.readouterr().out.splitlines()]
    assert [word for word in words if word in LOOPS | SHAPES] == [*LOOPS, *(name for name in SHAPES for _ in range(3))]
    assert all((tmp_path / "new" / name).read_bytes().startswith(b"\x89PNG") for name in ("nodes.png", "steps.png"))


@compiled_only
def test_drawing_needs_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without matplotlib nothing is measured: the message says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(SystemExit, match=r"pip install cascade-hot\[plot\]"):
        growth.main(["--quick", "--pictures", str(tmp_path)])


@compiled_only
@pytest.mark.parametrize("wrong, status, tries", [([], 0, 1), (["too dear"], 1, growth.TRIES)])
def test_it_judges(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wrong: list[str], status: int, tries: int
) -> None:
    """With ``--check`` what is wrong counts when it is wrong each time, and matplotlib is not needed."""
    measured = []

    def measure(name: str, options: Any) -> tuple[Any, list[str]]:
        measured.append(name)
        return {}, wrong

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(growth, "measure_nodes", measure)
    monkeypatch.setattr(growth, "measure_steps", lambda name, options: ([], []))

    assert growth.main(["--check"]) == status
    assert measured == [name for name in SHAPES for _ in range(tries)]
    assert capsys.readouterr().err.splitlines() == [f"growth: {name}: {text}" for name in SHAPES for text in wrong]


@pytest.mark.parametrize(
    "large, told",
    [
        (COST, 0),
        (replace(COST, run=7.4, plain=14.0), 0),
        (replace(COST, run=7.6, plain=14.0), 1),
        (replace(COST, write=1.1), 1),
        (replace(COST, write=1.1, plain=10.2), 0),
        (replace(COST, write=5.0, plain=17.0), 0),
        (replace(COST, alone=8.9), 0),
        (replace(COST, alone=9.1), 1),
        (replace(COST, alone=9.1, plain_alone=8.2), 0),
        (replace(COST, run=20.0, alone=20.0), 3),
    ],
)
def test_dear_nodes_are_told(large: Cost, told: int) -> None:
    """A node that costs more than half as much again in the largest expression is told, and in plain Python's units."""
    assert len(too_costly({10: replace(COST, run=99.0), 1_000: COST, 1_000_000: large})) == told


@pytest.mark.parametrize(
    "last, told",
    [(LONG, 0), (replace(LONG, cost=2.09), 0), (replace(LONG, cost=2.11), 1), (replace(LONG, late=2.11), 1)],
)
def test_dear_steps_are_told(last: Length, told: int) -> None:
    """A step that costs over 5% more in the longest loop, or in its last tenth, is told."""
    begin = replace(SHORT, steps=1_000, cost=9.0)

    assert len(too_long([begin, SHORT, replace(SHORT, steps=1_000_000, cost=5.0), last])) == told


@pytest.mark.parametrize("each, told", [(0, 0), (ALLOWED // 100, 0), (ALLOWED // 80, 1), (-ALLOWED, 0)])
def test_a_leak_is_told(each: int, told: int) -> None:
    """Memory that grows after the first tenth of the longest loop is told; what the first tenth took is not."""
    grown = (*range(0, 10 * ALLOWED, ALLOWED), *(10 * ALLOWED + each * i for i in range(90)))

    assert len(too_much([SHORT, replace(LONG, resident=grown)])) == told


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_makes_its_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each period has as many steps as it says, and one more that ends it."""
    loop, engines = replace(LOOPS[name], period=50), []
    made = lengths.engine
    monkeypatch.setattr(lengths, "engine", lambda: engines.append(made()) or engines[-1])

    length = length_of(loop, 200)

    items = 4 * 49 * 3 if name == "map" else 0  # the last step of a period calls the watch instead
    assert len(length.resident) == 4
    assert engines[0].stats.steps == 200 + 4 + items


def test_a_loop_that_leaks_is_found() -> None:
    """What each step keeps shows in the resident size."""
    kept: list[mmap.mmap] = []

    def leaking(watch: Any, period: int) -> Any:
        return LOOPS["simple"].begin(_Leaking(watch, kept), period)

    length = length_of(replace(LOOPS["simple"], begin=leaking, period=50), 2_000)

    assert too_much([length])


class _Leaking:
    """A watch that keeps four kilobytes for each step."""

    def __init__(self, watch: Any, kept: list[mmap.mmap]) -> None:
        self.watch = watch
        self.kept = kept

    def goes_on(self) -> bool:
        pages = mmap.mmap(-1, 4_096 * 50)  # what the heap has to spare would not show
        pages.write(b"x" * 4_096 * 50)
        self.kept.append(pages)
        return bool(self.watch.goes_on())


def test_lengths_end_at_the_limit() -> None:
    """Powers of ten, and the limit if it is none."""
    assert steps_of(LOOPS["map"], 200_000) == [1_000, 10_000, 100_000, 200_000]
    assert steps_of(LOOPS["simple"], 10_000) == [1_000, 10_000]


@pytest.mark.parametrize("size", [10, 100, 1_000])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes_have_their_size(name: str, size: int) -> None:
    """An expression has about as many calls as asked for, and the value that plain Python finds."""
    target = SHAPES[name](size, TASKS)

    assert len(trace(target).operations) == pytest.approx(size, rel=0.1)
    assert run(target) == evaluate(SHAPES[name](size, PLAIN))

"""The search for differences: which seeds it draws from, and what it says of a failure."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cascade import _kernel
from ci import fuzz
from tests.differential import cases, judge
from tests.differential.shrink import replayed, row_of, smallest
from tests.differential.story import Story

COMMAND = "python ci/fuzz.py" if _kernel.kernel_name == "compiled" else "python ci/on_kernel.py pure ci/fuzz.py"


def test_every_case_has_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Case k of seed S is case 0 of seed S + k, whatever the portions."""
    seen: list[Any] = []
    monkeypatch.setattr(cases, "verdict", lambda case: seen.append(case))
    monkeypatch.setattr(fuzz, "PORTION", 10)
    assert fuzz.main(["--programs", "25", "--seed", "7"]) == 0
    assert fuzz.main(["--programs", "1", "--seed", "30"]) == 0

    assert len(seen) == 26
    assert seen[:25] == [cases.of_seed(seed) for seed in range(7, 32)]
    assert seen[25] == seen[23]
    assert "25 drawn programs, seed 7" in capsys.readouterr().out


def test_a_difference_is_made_small_and_shown_with_the_command_that_finds_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status says that there is one; the command draws that case alone."""

    def verdict(case: Any) -> None:
        if "'fails'" in repr(case):
            raise AssertionError(f"hot says 1, cold says 2 of {case}")

    monkeypatch.setattr(cases, "verdict", verdict)
    assert fuzz.main(["--programs", "400", "--seed", "7"]) == 1

    told = capsys.readouterr().err
    again = re.search(r"again: (.*) --programs 1 --seed (\d+)\n", told)
    assert again is not None
    assert again[1] == COMMAND
    assert "'fails'" in repr(cases.of_seed(int(again[2])))
    shown = told.split("\n\n")[1]
    assert "'fails'" in shown
    assert len(shown) < len(repr(cases.of_seed(int(again[2]))))


def test_a_case_that_fails_only_once_is_shown_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be made small is no less a difference."""
    raised: list[int] = []

    def verdict(case: Any) -> None:
        if not raised:
            raised.append(1)
            raise AssertionError("once")

    monkeypatch.setattr(cases, "verdict", verdict)
    assert fuzz.main(["--programs", "3", "--seed", "7"]) == 1
    assert "does not fail when it is judged again" in capsys.readouterr().err


def test_portions_are_judged_on_both_kernels_and_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each process judges the same seeds; where what they tell is not the same, that is a difference."""
    asked: list[tuple[str, int, int]] = []

    class Worker:
        def __init__(self, kernel: str) -> None:
            self.kernel = kernel

        def judge(self, first: int, count: int) -> list[str]:
            asked.append((self.kernel, first, count))
            return [f"{seed}{self.kernel if seed == 261 else ''}" for seed in range(first, first + count)]

        def close(self) -> None:
            asked.append((self.kernel, 0, 0))

    monkeypatch.setattr(fuzz, "Worker", Worker)
    assert fuzz.main(["--programs", "260", "--seed", "1", "--kernels", "both"]) == 0
    assert asked == [
        *(("compiled", 1, 250), ("pure", 1, 250), ("compiled", 251, 10), ("pure", 251, 10)),
        *(("compiled", 0, 0), ("pure", 0, 0)),
    ]

    assert fuzz.main(["--programs", "300", "--seed", "1", "--kernels", "both", "--jobs", "2"]) == 1
    assert "The kernels differ.\n\nagain: python ci/fuzz.py --kernels both --programs 1 --seed 261\n" in (
        capsys.readouterr().err
    )


def test_other_processes_judge_what_this_one_would(capsys: pytest.CaptureFixture[str]) -> None:
    """A process answers with what ``judge`` returns here, and tells of a difference."""
    kernel = "compiled" if _kernel.kernel_name == "compiled" else "pure"
    worker = fuzz.Worker(kernel)
    try:
        assert worker.judge(100, 5) == fuzz.judge(100, 5)
    finally:
        worker.close()

    assert fuzz.main(["--programs", "8", "--seed", "100", "--jobs", "2"]) == 0
    assert "8 drawn programs, seed 100" in capsys.readouterr().out


def test_rows_of_numbers_stand_for_what_was_drawn_from_them() -> None:
    """A row draws its case again, and shrinks to the smallest that is still asked for."""
    row = row_of(31, cases.case)
    assert cases.case(replayed(row)) == cases.of_seed(31)

    assert smallest([9, 8, 40, 7, 3], lambda row: any(number > 20 for number in row)) == [21]


def test_the_search_draws_every_manner_stories_and_storms() -> None:
    """Among a thousand cases there is each of them, and each thing that can happen in a story."""
    drawn = [cases.of_seed(seed) for seed in range(2000)]

    assert {case[1] for case in drawn if case[0] == "program"} == set(judge.MANNERS)
    assert {case[0] for case in drawn} == {"program", "story", "storm"}
    happened = {step[0] for case in drawn if case[0] == "story" for step in case[1]}
    possible = {name for name, method in vars(Story).items() if callable(method) and name[0] != "_"}
    assert happened == possible - {"happen"}


@pytest.mark.parametrize("option", ["--programs", "--jobs"])
def test_a_number_is_positive(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fuzz.main([option, "0"])
    assert "positive" in capsys.readouterr().err

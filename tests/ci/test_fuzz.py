"""The search for differences: which seeds it draws from, and what it says of a failure."""

from __future__ import annotations

import pytest

from cascade import _kernel
from ci import fuzz


def test_portions_have_seeds_of_their_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    drawn: list[tuple[int, int]] = []
    monkeypatch.setattr(fuzz, "judge", lambda count, number: drawn.append((count, number)))

    assert fuzz.main(["--programs", "1200", "--seed", "7"]) == 0

    assert drawn == [(500, 7), (500, 8), (200, 9)]
    assert "1,200 drawn programs, seed 7: all tiers agree" in capsys.readouterr().out


def test_a_difference_is_shown_with_the_command_that_finds_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def differs(count: int, number: int) -> None:
        if number == 8:
            raise AssertionError("hot says 1, cold says 2")

    monkeypatch.setattr(fuzz, "judge", differs)
    with pytest.raises(AssertionError, match="cold says 2"):
        fuzz.main(["--programs", "1500", "--seed", "7"])

    command = "" if _kernel.kernel_name == "compiled" else "ci/on_kernel.py pure "
    assert f"again: python {command}ci/fuzz.py --programs 500 --seed 8\n" in capsys.readouterr().err


def test_equal_seeds_draw_equal_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Noting:
        class hypothesis:
            @staticmethod
            def inner_test(program: object) -> None:
                seen.append(repr(program))

    monkeypatch.setattr(fuzz, "judged", Noting)
    for number in (5, 5, 6):
        fuzz.judge(10, number)

    assert seen[:10] == seen[10:20]
    assert seen[:10] != seen[20:]


def test_a_number_of_programs_is_positive(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fuzz.main(["--programs", "0"])
    assert "positive" in capsys.readouterr().err

"""Do other names, arities and argument types work, and does the program ``variety.py`` judge them as it says?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks import variety
from benchmarks.measure import need_compiled
from benchmarks.varieties import BARS, VARIETIES, Variety
from benchmarks.workloads import Workload

compiled_only = pytest.mark.skipif(bool(need_compiled()), reason="measures the compiled kernel, which is not loaded")


@pytest.mark.benchmark(group="variety")
@pytest.mark.parametrize("row", VARIETIES.values(), ids=VARIETIES.keys())
def test_variety(measure: Callable[[Workload], None], row: Variety) -> None:
    """It runs to its answer, as its yardstick does; divide the time by ``units``."""
    measure(row)

    row.yardstick(10)


def test_every_family_has_rows() -> None:
    """No bar is without a row, and none of the rows without a bar."""
    assert {row.family for row in VARIETIES.values()} == BARS.keys()


def busy(n: int) -> int:
    return sum(0 for _ in range(10 * n)) + n


def idle(n: int) -> int:
    return n


@compiled_only
@pytest.mark.parametrize("work, status, word", [(idle, 0, "ok"), (busy, 1, "SHORT")])
def test_rows_are_judged(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[int], int],
    status: int,
    word: str,
) -> None:
    """A row that does ten times what its yardstick does falls short, one that does next to nothing does not."""
    row = replace(VARIETIES["poll"], work=work, yardstick=lambda n: sum(0 for _ in range(n)) + n, small=1_000)
    monkeypatch.setattr(variety, "VARIETIES", {"poll": row})

    assert variety.main(["--small", "--rounds", "3"]) == status
    assert capsys.readouterr().out.startswith(word)

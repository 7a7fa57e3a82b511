"""What a row allows, and how that is learnt."""

from __future__ import annotations

import math

import pytest

from cascade.tools.gate.verdicts import Kind, Row, Verdict, learn

#: Speed that is left after the slowdown which the gate is there for.
SLOWED = 1 / 1.5


@pytest.mark.parametrize(
    "value, word, passed",
    [(100, "ok", True), (81, "ok", True), (79, "SLOWER", False), (119, "ok", True), (121, "faster", True)],
)
def test_of_a_ratio_more_is_better(value: float, word: str, passed: bool) -> None:
    """Losing less than the tolerance passes, losing more fails, gaining more is told."""
    verdict = Verdict(Kind.TIME, "x", value, Row(100, 0.2))

    assert (verdict.word, verdict.passed) == (word, passed)


@pytest.mark.parametrize(
    "value, word, passed",
    [(100, "ok", True), (103, "ok", True), (104, "MORE", False), (97.5, "ok", True), (96, "fewer", True)],
)
def test_of_instructions_fewer_are_better(value: float, word: str, passed: bool) -> None:
    """A count is judged by its inverse."""
    verdict = Verdict(Kind.INSTRUCTIONS, "x", value, Row(100, 0.03))

    assert (verdict.word, verdict.passed) == (word, passed)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_what_is_no_measurement_fails(kind: Kind, value: float) -> None:
    """Nothing passes because of a number that says nothing."""
    assert not Verdict(kind, "x", value, Row(100, 0.2)).passed


@pytest.mark.parametrize(
    "ratios, ratio, tolerance",
    [
        ([0.5] * 5, 0.5, Kind.TIME.least),
        ([0.44, 0.5, 0.5, 0.5, 0.52], 0.5, 0.24),  # twice the largest deviation
        ([0.1, 0.5, 0.9], 0.5, Kind.TIME.most),  # whatever was seen
    ],
)
def test_tolerance_is_learnt(ratios: list[float], ratio: float, tolerance: float) -> None:
    """A row is the median of repeated measurements and may lose twice the largest deviation among them."""
    row, deviation = learn(Kind.TIME, ratios)

    assert row == Row(ratio, tolerance)
    assert deviation == pytest.approx(max(abs(r / 0.5 - 1) for r in ratios))


def test_no_tolerance_lets_the_slowdown_pass() -> None:
    """Even if everything looks a tenth faster than when it was recorded, 1.5 times as slow is too slow."""
    row, _ = learn(Kind.TIME, [1.0, 10.0, 100.0])

    assert not Verdict(Kind.TIME, "x", 1.1 * SLOWED * row.value, row).passed
    assert Kind.INSTRUCTIONS.most < Kind.TIME.most

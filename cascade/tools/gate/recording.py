"""Measures subjects again and again, and learns a baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cascade.tools.gate.baseline import Baseline
from cascade.tools.gate.errors import OtherPlace
from cascade.tools.gate.place import here
from cascade.tools.gate.subjects import Gate
from cascade.tools.gate.verdicts import Kind, Row, learn

__all__ = ["REPEATS", "record"]

#: How often everything is measured: once here, then in other processes if the gate can start any: where one of them has
#: its memory shall not decide.
REPEATS = 5
#: How often instructions are counted, which hardly differ.
_COUNTS = 2

Tell = Callable[[str], object]


def record(gate: Gate, reason: str, old: Baseline | None, tell: Tell) -> Baseline:
    """Return a baseline with a row learnt for each subject; rows of ``old`` that others have stay.

    Raises:
        OtherPlace: rows would stay that were recorded elsewhere.
        CountingFailed: instructions could not be counted.
        MeasuringFailed: another process was to measure, and did not.
        Exception: whatever a subject raised.
    """
    place, staying = here(), _staying(gate, old)
    if old is not None and old.place != place and any(staying.values()):
        raise OtherPlace("other rows of this baseline were recorded elsewhere; record all of them anew")
    times, counts = _times(gate, tell), _counts(gate, tell)
    fresh = {Kind.TIME: times, Kind.INSTRUCTIONS: counts}
    return Baseline(reason, place, {kind: {**staying[kind], **fresh[kind]} for kind in Kind})


def _staying(gate: Gate, old: Baseline | None) -> dict[Kind, dict[str, Row]]:
    if old is None or gate.is_complete:
        return {kind: {} for kind in Kind}
    return {kind: {n: row for n, row in old.rows[kind].items() if n not in gate.subjects} for kind in Kind}


def _times(gate: Gate, tell: Tell) -> dict[str, Row]:
    ratios: dict[str, list[float]] = {name: [] for name in gate.subjects}
    measures = [gate.ratios, *[gate.elsewhere or gate.ratios] * (REPEATS - 1)]
    for repeat, measure in enumerate(measures):
        for name, ratio in measure(list(gate.subjects)).items():
            ratios[name].append(ratio)
        tell(f"measured {repeat + 1} of {REPEATS} times")
    return {name: _row(Kind.TIME, name, ratios[name], one.calls, tell) for name, one in gate.subjects.items()}


def _counts(gate: Gate, tell: Tell) -> dict[str, Row]:
    if not gate.counter.names:
        return {}
    if gate.counter.why_not:
        tell(f"instructions were not counted, and have no rows: {gate.counter.why_not}")
        return {}
    counts = []
    for repeat in range(_COUNTS):
        counts.append(gate.counter.count())
        tell(f"counted instructions {repeat + 1} of {_COUNTS} times")
    return {n: _row(Kind.INSTRUCTIONS, n, [one[n] for one in counts], None, tell) for n in gate.counter.names}


def _row(kind: Kind, name: str, values: Sequence[float], calls: int | None, tell: Tell) -> Row:
    row, deviation = learn(kind, values, calls)
    tell(f"{kind.title:<12} {name:<12} {row.value:<9.4g} deviated by {deviation:.1%}, may lose {row.tolerance:.0%}")
    if deviation > kind.most:
        tell(
            f"{name} is restless, and may fail unchanged: no row may lose more than {kind.most:.0%}, or a slowdown "
            "could pass. Let a run of it do more, or give it more --rounds"
        )
    return row

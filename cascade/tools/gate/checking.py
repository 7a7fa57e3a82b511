"""Measures subjects and judges them by a baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cascade.tools.gate.baseline import Baseline
from cascade.tools.gate.errors import OtherPlace, RowsDiffer
from cascade.tools.gate.place import here
from cascade.tools.gate.subjects import Gate
from cascade.tools.gate.verdicts import Kind, Verdict

__all__ = ["PROCESSES", "TRIES", "Report", "check"]

#: How often a row may try to reach its limit: a regression is there every time, a busy neighbour is not.
TRIES = 3
#: How many of the tries, the last ones, other processes make, if the gate can start any: where a process has its memory
#: counts in all that it measures.
PROCESSES = 2
#: The part by which the calls of a run may differ without a word: a poller makes now one more, now one less.
_OTHER = 0.1


@dataclass
class Report:
    """What a check found, and what the reader should know beside."""

    baseline: Baseline
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Verdict]:
        """Those that the gate stops."""
        return [verdict for verdict in self.verdicts if not verdict.passed]


def check(gate: Gate, baseline: Baseline, found: Callable[[Verdict], object]) -> Report:
    """Measure everything, judge it, and tell ``found`` each verdict as soon as it is there.

    Raises:
        OtherPlace: the baseline means nothing here.
        RowsDiffer: a subject has no row, or a row no subject.
        CountingFailed: instructions could not be counted.
        MeasuringFailed: another process was to measure, and did not.
        Exception: whatever a subject raised.
    """
    report = Report(baseline)
    report.notes += _doubts(baseline)
    reason = _why_no_counts(gate, baseline)
    if reason:
        report.notes.append(f"instructions are not compared: {reason}")
    _demand_rows(gate, baseline, counted=gate.counter.names if not reason else ())
    timed = _timed(gate, baseline, found)
    report.verdicts += [timed[name] for name in gate.subjects]
    for verdict in _counted(gate, baseline) if not reason else ():
        report.verdicts.append(verdict)
        found(verdict)
    report.notes += _other_calls(gate, baseline)
    return report


def _doubts(baseline: Baseline) -> list[str]:
    place = here()
    strange = place.strange(baseline.place)
    if strange:
        raise OtherPlace(
            f"the baseline was recorded elsewhere ({'; '.join(strange)}): measure there, or record another one with "
            "--baseline PATH --update --reason TEXT"
        )
    doubtful = place.doubtful(baseline.place)
    return [f"the baseline was recorded elsewhere, so ratios may differ: {'; '.join(doubtful)}"] if doubtful else []


def _why_no_counts(gate: Gate, baseline: Baseline) -> str:
    if not gate.counter.names:
        return ""
    if gate.counter.why_not:
        return gate.counter.why_not
    different = here().uncountable(baseline.place)
    return f"the baseline was recorded elsewhere ({'; '.join(different)})" if different else ""


def _demand_rows(gate: Gate, baseline: Baseline, counted: Iterable[str]) -> None:
    for kind, names in ((Kind.TIME, gate.subjects), (Kind.INSTRUCTIONS, counted)):
        lacking = [name for name in names if name not in baseline.rows[kind]]
        if lacking:
            raise RowsDiffer(f"the baseline has no {kind.title} of {', '.join(lacking)}; {_RECORD}")
    known = {name for kind in Kind for name in baseline.rows[kind]}
    forgotten = sorted(known - gate.subjects.keys()) if gate.is_complete else []
    if forgotten:
        raise RowsDiffer(f"the baseline has {', '.join(forgotten)}, but nothing of that name is measured; {_RECORD}")


_RECORD = "record it anew with --update --reason TEXT"


def _counted(gate: Gate, baseline: Baseline) -> list[Verdict]:
    if not gate.counter.names:
        return []
    rows, counts = baseline.rows[Kind.INSTRUCTIONS], gate.counter.count()
    return [Verdict(Kind.INSTRUCTIONS, n, c, rows[n], gate.subjects[n].counts) for n, c in counts.items()]


def _other_calls(gate: Gate, baseline: Baseline) -> list[str]:
    rows = baseline.rows[Kind.TIME]
    pairs = [(name, subject.calls, rows[name].calls) for name, subject in gate.subjects.items()]
    return [
        f"a run of {name} makes {now} calls; when it was recorded, {then}"
        for name, now, then in pairs
        if now and then and abs(now - then) > _OTHER * then
    ]


def _timed(gate: Gate, baseline: Baseline, found: Callable[[Verdict], object]) -> dict[str, Verdict]:
    """Measure all, then those again that fell short, and so on: what disturbs a row for seconds is over by then."""
    best: dict[str, Verdict] = {}
    waiting = list(gate.subjects)
    others = [gate.elsewhere] * PROCESSES if gate.elsewhere is not None else []
    measures = [gate.ratios] * (TRIES - len(others)) + others
    for left, measure in zip(reversed(range(len(measures))), measures, strict=True):
        short = []
        for name in waiting:
            row, subject = baseline.rows[Kind.TIME][name], gate.subjects[name]
            now = Verdict(Kind.TIME, name, measure([name])[name], row, subject.counts)
            best[name] = max(best.get(name, now), now, key=lambda verdict: verdict.share)
            if now.passed or not left:
                found(best[name])
            else:
                short.append(name)
        waiting = short
    return best

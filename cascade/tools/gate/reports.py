"""What a check found, as lines of a table and as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from cascade.tools.gate.checking import Report
from cascade.tools.gate.place import here
from cascade.tools.gate.verdicts import Kind, Verdict

__all__ = ["as_json", "heading", "line", "reproach", "summary"]

_UNITS = {Kind.TIME: "of the yardstick", Kind.INSTRUCTIONS: "instructions"}


def heading() -> str:
    """Return the first line of the table."""
    return f"{'':<7} {'':<12} {'now':>10} {'baseline':>10} {'speed':>6} {'limit':>6}"


def line(verdict: Verdict) -> str:
    """Return a row of the table."""
    numbers = f"{verdict.value:>10.4g} {verdict.row.value:>10.4g} {verdict.share:>6.0%} {verdict.limit:>6.0%}"
    return f"{verdict.word:<7} {verdict.name:<12} {numbers}  {_UNITS[verdict.kind]}, {verdict.counts}"


def reproach(verdict: Verdict) -> str:
    """Return why a verdict stops the gate."""
    if verdict.kind is Kind.INSTRUCTIONS:
        more, most = verdict.value / verdict.row.value - 1, 1 / verdict.limit - 1
        return f"{verdict.name} takes {more:.1%} more instructions than recorded; {most:.1%} are tolerated"
    return f"{verdict.name} fell to {verdict.share:.0%} of its recorded speed, at best"


def summary(report: Report) -> str:
    """Return the last line."""
    failed, rows = len(report.failed), len(report.verdicts)
    if failed:
        return f"{failed} of {rows} rows beyond {'its limit' if failed == 1 else 'their limits'}"
    return f"{rows} rows within their limits" if rows > 1 else f"{rows} row within its limit"


def as_json(report: Report, picture: str | None) -> str:
    """Return the report as one JSON object."""
    content: dict[str, Any] = {
        "passed": not report.failed,
        "rows": [_facts(verdict) for verdict in report.verdicts],
        "notes": report.notes,
        "picture": picture,
        "here": dataclasses.asdict(here()),
        "recorded": dataclasses.asdict(report.baseline.place),
        "reason": report.baseline.reason,
    }
    return json.dumps(content, indent=2)


def _facts(verdict: Verdict) -> dict[str, Any]:
    return {
        "kind": verdict.kind.title,
        "name": verdict.name,
        "counts": verdict.counts,
        "now": verdict.value,
        "baseline": verdict.row.value,
        "share": verdict.share,
        "limit": verdict.limit,
        "verdict": verdict.word,
        "passed": verdict.passed,
    }

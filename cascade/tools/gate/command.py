"""What ``cascade gate`` and ``ci/gate.py`` share: options, and the way from a gate to an exit code.

Exit codes: 0 everything is within its limits, or a baseline was recorded; 1 something is beyond; 2 nothing could be
judged (see ``errors``), or the usage is wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascade.tools.gate.baseline import Baseline
    from cascade.tools.gate.checking import Report
    from cascade.tools.gate.subjects import Gate
    from cascade.tools.gate.verdicts import Verdict

__all__ = ["FAILED", "IMPOSSIBLE", "add_options", "check", "check_options", "update"]

FAILED, IMPOSSIBLE = 1, 2

Tell = Callable[[str], object]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options; this module imports nothing that parsing does not need."""
    parser.add_argument("--baseline", metavar="PATH", type=Path, help="the file that the baseline is kept in")
    parser.add_argument("--update", action="store_true", help="record a new baseline")
    parser.add_argument("--reason", metavar="TEXT", help="why the baseline changes; needed with --update")
    parser.add_argument("--rounds", metavar="N", type=_positive, help="of measuring; more is slower and surer")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--picture", metavar="PATH", type=Path, help="draw bars into this .png, .svg or .pdf file")
    parser.add_argument(
        "--instructions",
        action=argparse.BooleanOptionalAction,
        help="count instructions too, with valgrind; by default if the baseline has such rows",
    )
    # For the gate itself, which measures again in another process what fell short in this one.
    parser.add_argument("--tell-ratios", action="store_true", help=argparse.SUPPRESS)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Stop with a usage error where options do not go together."""
    if options.update and not (options.reason or "").strip():
        parser.error("--update needs --reason TEXT: the baseline keeps why it was changed")
    if options.reason is not None and not options.update:
        parser.error("--reason goes with --update")
    if options.update and (options.json or options.picture):
        parser.error("--json and --picture show a check; --update makes none")


def check(gate: Gate, baseline: Baseline, options: argparse.Namespace, tell: Tell, draw_to: Path | None = None) -> int:
    """Judge, print what was found, draw it, and return the exit code.

    ``tell`` gets what goes beside the table. ``draw_to`` is where to draw unless the options say; there a missing
    library is told and no error.

    Raises:
        GateError: nothing could be judged.
        Exception: whatever a subject raised.
    """
    from cascade.tools.gate import checking, picture, reports

    if options.picture:
        picture.check_path(options.picture)
    report = checking.check(gate, baseline, (lambda verdict: None) if options.json else _table())
    drawn = _draw(report, options.picture, draw_to)
    for note in report.notes:
        tell(note)
    for verdict in report.failed:
        tell(reports.reproach(verdict))
    print(reports.as_json(report, str(drawn) if drawn else None) if options.json else _close(report, drawn))
    return FAILED if report.failed else 0


def _table() -> Callable[[Verdict], None]:
    """Return what prints a row at a time, and the heading before the first."""
    from cascade.tools.gate import reports

    headings = [reports.heading()]

    def show(verdict: Verdict) -> None:
        while headings:
            print(headings.pop())
        print(reports.line(verdict), flush=True)

    return show


def _draw(report: Report, asked: Path | None, otherwise: Path | None) -> Path | None:
    from cascade.tools.gate import picture

    path = asked or otherwise
    if path is None:
        return None
    reason = "" if asked else picture.why_not()
    if reason:
        report.notes.append(f"no picture was drawn: {reason}")
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.draw(report, path)
    return path


def _close(report: Report, drawn: Path | None) -> str:
    from cascade.tools.gate import reports

    return "\n".join([reports.summary(report), *([f"picture: {drawn}"] if drawn else [])])


def update(gate: Gate, old: Baseline | None, path: Path, reason: str, tell: Tell) -> int:
    """Learn a baseline, write it to ``path``, and return the exit code.

    Raises:
        GateError: nothing could be learnt or written.
        Exception: whatever a subject raised.
    """
    from cascade.tools.gate import baseline, recording

    baseline.write(path, recording.record(gate, reason, old, tell))
    tell(f"recorded {path}")
    return 0

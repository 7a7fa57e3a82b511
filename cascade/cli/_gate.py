"""``cascade gate``: the regression gate for workflows of a user's file.

    FILE, NAMEs -> Workflows -> measured once: how long a run takes, how many calls it makes -> Gate -> check or update
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cascade.cli._counted import RUNS
from cascade.cli._errors import CommandError
from cascade.cli._interrupts import Interrupts
from cascade.cli._load import check_file, split
from cascade.cli._subjects import Workflow, subject_of, workflows
from cascade.tools.gate import command, instructions
from cascade.tools.gate.baseline import Baseline, read
from cascade.tools.gate.errors import BaselineBroken, BaselineMissing, GateError
from cascade.tools.gate.measuring import ROUNDS
from cascade.tools.gate.processes import measured_by, tell_ratios
from cascade.tools.gate.subjects import Counter, Gate
from cascade.tools.gate.verdicts import Kind

__all__ = ["run_gate"]

#: Seconds that counting may take, by what a run takes without.
_MOST_COUNTING = 120.0


def run_gate(options: argparse.Namespace, interrupts: Interrupts) -> int:
    """Do what the command's options ask, and return the exit code.

    Raises:
        CommandError: nothing could be judged.
        KeyboardInterrupt: the user has interrupted.
        Exception: whatever the file or a task raised.
    """
    path, name = split(options.file)
    check_file(path)
    asked = [*([name] if name else []), *options.names]
    file = options.baseline or Path(f"{os.path.splitext(path)[0]}.gate.json")
    try:
        old = _old(file, options)
        names = list(dict.fromkeys(asked or _recorded(old) or ["main"]))
        found = _workflows(path, names, options, interrupts, is_recorded=not asked and old is not None)
        gate = _gate(path, found, old, options, is_complete=not asked)
        if options.tell_ratios:
            return tell_ratios(gate)
        if old is None or options.update:
            return command.update(gate, old, file, options.reason, _tell)
        return command.check(gate, old, options, _tell)
    except GateError as error:
        raise CommandError(str(error)) from error
    except SystemExit as error:  # its code would be taken for the gate's
        raise CommandError(f"the workflow or its file has ended the process (SystemExit: {error.code})") from error


def _old(file: Path, options: argparse.Namespace) -> Baseline | None:
    try:
        return read(file)
    except (BaselineMissing, BaselineBroken) as error:
        if not options.update:
            raise
        if isinstance(error, BaselineBroken):
            _tell(f"nothing is taken over: {error}")
        return None


def _recorded(old: Baseline | None) -> list[str]:
    return list(old.rows[Kind.TIME]) if old is not None else []


def _workflows(
    path: str, names: Sequence[str], options: argparse.Namespace, interrupts: Interrupts, *, is_recorded: bool
) -> dict[str, Workflow]:
    try:
        return workflows(path, names, options.param, interrupts)
    except CommandError as error:
        if not is_recorded:
            raise
        remedy = "the baseline names it; to record others instead, give their names with --update --reason TEXT"
        raise CommandError(f"{error} ({remedy})") from error


def _gate(
    path: str, found: dict[str, Workflow], old: Baseline | None, options: argparse.Namespace, *, is_complete: bool
) -> Gate:
    rounds = {name: workflow.calibrate() for name, workflow in found.items()}
    rows = old.rows[Kind.TIME] if old is not None and not options.update else {}
    calls = {name: rows[name].calls if name in rows else None for name in found}
    subjects = {name: subject_of(workflow, rounds[name][0], calls[name]) for name, workflow in found.items()}
    counted = [name for name in found if _is_counted(name, old, options)]
    counter = _counter(path, counted, sum(rounds[name][1] for name in counted), options.param)
    again = measured_by(lambda names: [sys.executable, "-m", "cascade", "gate", *_again(path, names, options)])
    return Gate(subjects, counter, options.rounds or ROUNDS, is_complete, again)


def _again(path: str, names: Sequence[str], options: argparse.Namespace) -> list[str]:
    """Return the arguments with which another process measures these workflows as this one does."""
    given = [option for name, value in options.param for option in ("--param", f"{name}={value}")]
    baseline = ["--baseline", str(options.baseline)] if options.baseline else []
    rounds = ["--rounds", str(options.rounds or ROUNDS)]
    kind = ["--update", "--reason", options.reason] if options.update else []
    return [path, *names, "--tell-ratios", "--no-instructions", *kind, *rounds, *baseline, *given]


def _is_counted(name: str, baseline: Baseline | None, options: argparse.Namespace) -> bool:
    if options.instructions is None:
        return baseline is not None and name in baseline.rows[Kind.INSTRUCTIONS]
    return bool(options.instructions)


def _counter(path: str, names: Sequence[str], seconds: float, given: Sequence[tuple[str, str]]) -> Counter:
    if not names:
        return Counter()
    taken = seconds * RUNS * instructions.SLOWDOWN
    if taken > _MOST_COUNTING:
        reason = f"that would take some {taken / 60:.0f} minutes; name shorter workflows, or give --no-instructions"
        return Counter(names, why_not=reason)
    program = [sys.executable, "-m", "cascade.cli._counted", path, json.dumps(given), *names]
    return Counter(names, lambda: instructions.count(program), instructions.why_not())


def _tell(line: str) -> None:
    print(f"cascade: {line}", file=sys.stderr, flush=True)

"""Instructions per unit, counted by valgrind's callgrind: what no neighbour, clock or cache can change.

A fresh process with a fixed hash seed runs each subject at two sizes; the difference is what the additional units
cost, start and end of a run not counted. Both sizes run once before, so that nothing is done for the first time. Each
subject has a fork of the process to itself: what ran before would change its count by some percent.

    count: valgrind COMMAND PATH    record(subjects, PATH), called by COMMAND, forks for each subject:
    dump 1 = all before the first mark      mark, work(short), mark, .. mark, work(long), mark
    dump 2 = work(short), dump 3 = between, dump 4 = work(long)

A mark is a call of ``os.getloadavg``, a function of the C library that nothing else has a reason to call: callgrind is
told to write a dump whenever that function is entered. Under valgrind everything takes some fifty times as long.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cascade.runtime.strategies import _runs
from cascade.tools.gate.errors import CountingFailed

__all__ = ["SLOWDOWN", "Counted", "count", "record", "why_not"]

_MARK = "getloadavg"
#: How much longer things take under callgrind, about.
SLOWDOWN = 50
#: Seconds after which a count is given up.
_PATIENCE = 900
#: Dumps of a subject: before the short work, the short work, between, the long work.
_DUMPS = 4


@dataclass(frozen=True)
class Counted:
    """What is counted: ``work(size)`` returns the units done; both sizes are to be small."""

    name: str
    work: Callable[[int], int]
    short: int
    long: int


def why_not() -> str:
    """Return why nothing can be counted here, and an empty text where it can."""
    if not hasattr(os, _MARK):
        return f"this system has no {_MARK}"
    return "" if shutil.which("valgrind") else "valgrind is not installed"


def record(subjects: Iterable[Counted], told: Path) -> None:
    """Do the work that is counted, in the process that runs under callgrind, and write how many units were done."""
    # A quantum is by the clock, which runs SLOWDOWN times as fast here: without this a step would pay for that.
    _runs._SHARED_QUANTUM *= 4 * SLOWDOWN
    gc.collect()
    gc.freeze()  # so that collections cost what the subject makes, not what was imported
    units = [(one.name, *_in_a_fork(number, one, told.parent)) for number, one in enumerate(subjects)]
    told.write_text(json.dumps(units), encoding="utf-8")


def _in_a_fork(number: int, one: Counted, folder: Path) -> tuple[int, int]:
    """Count one subject; its dumps are renamed, as those of the next fork begin with the same number."""
    answer = folder / f"units.{number}"
    child = os.fork()
    if child == 0:
        _answer(one, answer)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        sys.exit(1)
    for dump in folder.glob("dump.*"):
        dump.rename(folder / f"{number}-{dump.name}")
    short, long = json.loads(answer.read_text(encoding="utf-8"))
    return short, long


def _answer(one: Counted, answer: Path) -> NoReturn:
    """Write the units done, and end the process without a word of what it shares with its parent."""
    status = 1
    try:
        one.work(one.short), one.work(one.long)
        answer.write_text(json.dumps((_piece(one, one.short), _piece(one, one.long))), encoding="utf-8")
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _piece(one: Counted, size: int) -> int:
    gc.collect()
    os.getloadavg()
    units = one.work(size)
    os.getloadavg()
    return units


def count(command: Sequence[str]) -> dict[str, float]:
    """Run a command, given one more argument for ``record``, under callgrind; return instructions per unit by name.

    Raises:
        CountingFailed: it failed, took too long, or did not leave the dumps that it should.
    """
    with tempfile.TemporaryDirectory(prefix="cascade_gate_") as folder:
        told, out = Path(folder, "units.json"), Path(folder, "dump")
        _run(["valgrind", "--tool=callgrind", f"--dump-before={_MARK}", f"--callgrind-out-file={out}"], command, told)
        units = json.loads(told.read_text(encoding="utf-8"))
        costs = [_costs(Path(folder), number) for number in range(len(units))]
    return {name: (cost[3] - cost[1]) / (long - short) for (name, short, long), cost in zip(units, costs, strict=True)}


def _costs(folder: Path, number: int) -> list[int]:
    """Return the totals of a subject's dumps, in order."""
    dumps = sorted(folder.glob(f"{number}-dump.*"), key=lambda path: int(path.suffix[1:]))
    if len(dumps) != _DUMPS:
        raise CountingFailed(
            f"callgrind wrote {len(dumps)} dumps, not {_DUMPS}: does the workflow call os.{_MARK}, or start processes? "
            "Count another one"
        )
    return [_total(dump) for dump in dumps]


def _run(valgrind: list[str], command: Sequence[str], told: Path) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(
            [*valgrind, *command, str(told)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CountingFailed(f"the count took longer than {_PATIENCE} s; count a shorter workflow") from error
    except OSError as error:
        raise CountingFailed(f"valgrind does not start ({error.strerror or error})") from error
    if done.returncode != 0 or not told.exists():
        raise CountingFailed(f"the count ended with status {done.returncode}: {_last_words(done.stderr)}")


def _last_words(text: bytes) -> str:
    lines = [line for line in text.decode(errors="replace").splitlines() if line.strip() and not line.startswith("==")]
    return lines[-1].strip() if lines else "nothing was said"


def _total(dump: Path) -> int:
    """Return the instructions of a dump; its line of totals stands at the end."""
    found = re.findall(rb"^totals: (\d+)", dump.read_bytes(), re.MULTILINE)
    if not found:
        raise CountingFailed(f"callgrind's dump {dump.name} has no totals")
    return int(found[-1])

"""The program that valgrind runs for ``cascade gate --instructions``.

    python -m cascade.cli._counted FILE '[["k", "v"], ..]' NAME.. PATH
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cascade.cli._interrupts import Interrupts
from cascade.cli._subjects import workflows
from cascade.tools.gate.instructions import Counted, record

__all__ = ["RUNS", "main"]

#: Runs of a workflow in the short and in the long work, each of which is done twice.
_SHORT, _LONG = 1, 3
RUNS = 2 * (_SHORT + _LONG)


def main(arguments: list[str]) -> None:
    """Do the work that is counted."""
    file, params, *names, path = arguments
    given = [(key, value) for key, value in json.loads(params)]
    found = workflows(file, names, given, Interrupts())
    record([Counted(name, one.run, _SHORT, _LONG) for name, one in found.items()], Path(path))


if __name__ == "__main__":
    main(sys.argv[1:])

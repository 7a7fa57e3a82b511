"""The workloads whose instructions the regression gate counts, and the program that valgrind runs for that.

    python benchmarks/instructions.py NAME.. PATH    see cascade.tools.gate.instructions
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.workloads import WORKLOADS
from cascade.tools.gate.instructions import Counted, record

__all__ = ["COUNTED"]

#: Two sizes of each: the difference is what is counted. One workload for each part of the engine, as it all takes time.
SIZES = {
    "simple": (200, 1_200),
    "bigstate": (100, 600),
    "heavy": (20, 100),
    "fib": (100, 600),
    "tree": (8, 12),
    "async": (100, 600),
    "jump": (100, 600),
    "vm": (100, 600),
    "loops": (2, 8),
    "map": (50, 300),
    "warm": (1, 3),
    "cold": (2, 6),
}
COUNTED = {name: Counted(name, WORKLOADS[name].work, *sizes) for name, sizes in SIZES.items()}

if __name__ == "__main__":
    *names, path = sys.argv[1:]
    record([COUNTED[name] for name in names], Path(path))

"""Busy processes beside a measurement: the same surroundings on a quiet machine and on a busy one.

What others do on the remaining cores takes cache and clock rate from a measurement, and from a plain loop less than
from an engine with more code and data: ratios differ by up to a quarter. As nobody can make a machine quiet, it is
made busy, when a baseline is recorded and whenever something is compared with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["busy_neighbours"]

#: More would say nothing new.
_MOST = 16
#: Steps back from a core that somebody else wants. Ends when its standard input does, so at the latest with its parent.
_SPIN = """
import os, sys, threading
getattr(os, "nice", int)(19)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    [(i, str(i)) for i in range(1000)]
"""


@contextmanager
def busy_neighbours() -> Iterator[None]:
    """Keep every core busy while the block runs."""
    command = [sys.executable, "-I", "-c", _SPIN]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for _ in range(min(_cores(), _MOST))
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate()


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

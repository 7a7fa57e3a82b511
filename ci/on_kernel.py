"""Runs Python on one kernel, after making sure that this kernel is the one that loads.

    python ci/on_kernel.py compiled -m pytest tests/kernel
    python ci/on_kernel.py pure ci/smoke.py

Takes the place of ``CASCADE_PURE=1 python ...``, which would pass as well if the variable were ignored, and works in
every shell.
"""

from __future__ import annotations

import os
import subprocess
import sys

PROBE = "import cascade._kernel as kernel; print(kernel.hot.__name__)"
MODULES = {"compiled": "cascade._hot", "pure": "cascade._hot_py"}


def main(kernel: str, *command: str) -> int:
    """Returns the exit status of the command, or 1 if another kernel than the one asked for is loaded."""
    environment = {name: value for name, value in os.environ.items() if name != "CASCADE_PURE"}
    if kernel == "pure":
        environment["CASCADE_PURE"] = "1"
    probe = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=False)
    loaded = probe.stdout.strip()
    if loaded != MODULES[kernel]:
        print(f"Asked for {MODULES[kernel]}, but {loaded or 'nothing'} was loaded. {probe.stderr}", file=sys.stderr)
        return 1
    return subprocess.run([sys.executable, *command], env=environment, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in MODULES:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))

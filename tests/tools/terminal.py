"""Running a program in a pseudo-terminal, as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cascade

__all__ = ["run_in_terminal"]


def run_in_terminal(*arguments: str) -> tuple[int, str]:
    """Run Python with these arguments in a terminal of its own; return its exit code and what the terminal shows."""
    import pty

    ours, theirs = pty.openpty()
    settings = {"PYTHONPATH": str(Path(cascade.__file__).parents[1]), "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **settings})
    os.close(theirs)
    shown = bytearray()
    try:
        while part := os.read(ours, 65_536):
            shown += part
    except OSError:  # Linux says so when the last process has left the terminal
        pass
    finally:
        os.close(ours)
    return process.wait(60), shown.decode().replace("\r\n", "\n")

"""A second process, which judges the same cases on the other kernel.

    test --- case ---> python -m tests.differential.twin --- what ``verdict`` tells ---> test

The process ends with its input. If it dies, or takes longer than ``LIMIT`` seconds for a program, the question fails
with what the process wrote to stderr (every stack, if it took too long), and the next question starts another process.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from cascade import _kernel
from tests.differential.cases import verdict

__all__ = ["Twin"]

LIMIT = 60.0  # seconds
ROOT = Path(__file__).parents[2]


class Twin:
    """The other process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.kernel = ""

    def ask(self, case: Any) -> Any:
        """Return what ``verdict`` (see ``tests.differential.cases``) returns there.

        Raises:
            AssertionError: the process did not answer.
        """
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError):  # if it is gone, the answer says so
            pickle.dump(case, self._process.stdin)
            self._process.stdin.flush()
        return self._answer()

    def _start(self) -> None:
        pure = _kernel.hot.__name__ == "cascade._hot_py"
        environment = os.environ | {"CASCADE_PURE": "0" if pure else "1"}
        # A pipe that nobody reads would fill up.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        command = [sys.executable, "-m", "tests.differential.twin"]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self.kernel = self._answer()

    def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError, OSError) as error:
            self._process.kill()
            status = self._process.wait()
            self._errors.seek(0)
            text = self._errors.read().decode(errors="replace")
            self.close()
            raise AssertionError(f"the process with the other kernel ended with status {status}:\n{text}") from error

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):  # what it was still to be told no longer matters
            process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._errors.close()


def main() -> None:
    """Answer questions until there are no more."""
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever prints does not answer

    def answer(value: Any) -> None:
        pickle.dump(value, answers)
        answers.flush()

    answer(_kernel.hot.__name__)
    while True:
        try:
            case = pickle.load(questions)
        except EOFError:
            return
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        answer(verdict(case))
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()

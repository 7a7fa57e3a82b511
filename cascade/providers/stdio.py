"""Standard input and output without holding the event loop."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import Future
from functools import partial
from typing import TextIO

from cascade.adapters.executors._threads import ThreadPool
from cascade.providers.registry import LazyFactory, Provider
from cascade.spec.task import task

__all__ = ["StdInReadLineProvider", "StdOutWriteProvider"]

#: One thread, so that texts appear whole and in the order in which they were written.
_output = ThreadPool("cascade_stdout", 1)


@task(name="stdout_write")
async def _stdout_write_task(text: str) -> None:
    """Print a text and a newline on standard output."""
    await asyncio.wrap_future(_output.submit(partial(_print, f"{text}\n")))


def _print(line: str) -> None:
    if sys.stdout is not None:
        sys.stdout.write(line)
        sys.stdout.flush()


class _Lines:
    """Reads the lines of a stream in a thread of its own.

    A thread that reads cannot be stopped. So the line that it was to read for somebody who was cancelled meanwhile
    goes to whoever asks next; none is lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._thread = ThreadPool("cascade_stdin", 1)
        #: Reads that have begun, for nobody.
        self._unclaimed: list[Future[str]] = []

    async def next(self) -> str:
        """Return the next line, with its end; an empty text at the end of the stream."""
        read = self._unclaimed.pop(0) if self._unclaimed else self._thread.submit(self.stream.readline)
        try:
            return await asyncio.wrap_future(read)
        except asyncio.CancelledError:
            if not read.cancelled():
                self._unclaimed.append(read)
            raise


_lines: _Lines | None = None


@task(name="stdin_read_line")
async def _stdin_read_line_task(*_args: object) -> str:
    """Return one line of standard input, stripped; an empty text at its end.

    The arguments serve to wait for them.
    """
    global _lines
    if sys.stdin is None:
        raise RuntimeError("io.stdin.read_line: this process has no standard input")
    if _lines is None or _lines.stream is not sys.stdin:
        _lines = _Lines(sys.stdin)
    return (await _lines.next()).strip()


class StdOutWriteProvider(Provider):
    """``cascade.io.stdout.write``."""

    name = "io.stdout.write"

    def create_factory(self) -> LazyFactory:
        return _stdout_write_task


class StdInReadLineProvider(Provider):
    """``cascade.io.stdin.read_line``."""

    name = "io.stdin.read_line"

    def create_factory(self) -> LazyFactory:
        return _stdin_read_line_task

"""A poller that never grows: it asks a server, notes what has changed, and calls itself.

The server is started here and is a bad one: it fails every few requests. A failed request is tried again, each time
after a longer delay; a constraint on the engine, or a pause, limits how often a poll may begin; Ctrl-C ends it all.

    python examples/poller.py [--polls N] [--rate N/s]
    cascade run examples/poller.py [--param polls=N] [--param pause=SECONDS]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.runtime.events import TaskRetrying
from cascade.spec.constraint import GlobalConstraint

Tell = Callable[[str], None]


class Unavailable(Exception):
    """The server is there but has no answer now."""


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    body: str


@cs.task
async def fetch(host: str, port: int, pause: float = 0.0) -> str:
    """Ask the server once, after a pause in seconds."""
    await asyncio.sleep(pause)
    answer = await asked(host, port)
    if answer.status != 200:
        raise Unavailable(f"the server said {answer.status}")
    return answer.body


async def asked(host: str, port: int) -> Answer:
    """Send a request and return the answer."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        await writer.drain()
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()
    return Answer(int(head.split()[1]), body)


@cs.task
def poll(
    left: int | None, last: str | None, news: str, port: int, pause: float, journal: Any = cs.inject("journal")
) -> str:
    """Note what is new, then poll again; ``left`` counts the polls to come, None stands for no end."""
    if news != last:
        journal(f"{last or 'nothing'} -> {news}")
    if left == 0:
        return news
    return poll(None if left is None else left - 1, news, careful_fetch(port, pause), port, pause)


def careful_fetch(port: int, pause: float) -> str:
    """Return the lazy fetch, with up to five further attempts, each after twice the delay."""
    fetching: Any = fetch("127.0.0.1", port, pause)
    return fetching.with_retry(5, delay=0.02, backoff=2.0)  # type: ignore[no-any-return]


def polling(polls: int | None, port: int, pause: float = 0.0) -> str:
    """Return the lazy poller."""
    return poll(None if polls is None else polls - 1, None, careful_fetch(port, pause), port, pause)


@dataclass
class Server:
    """Serves a number that grows with every third request; every fourth request it does not answer."""

    requests: int = 0
    port: int = 0
    _sockets: asyncio.Server | None = None

    async def open(self) -> None:
        """Serve on a free port of this machine until it is closed."""
        self._sockets = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._sockets.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Serve no more."""
        if self._sockets is not None:
            self._sockets.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        status = "503 Busy" if self.requests % 4 == 0 else "200 OK"
        writer.write(f"HTTP/1.0 {status}\r\n\r\nversion {self.requests // 3}".encode())
        await writer.drain()
        writer.close()


def journal_on(tell: Tell) -> Any:
    """Return the resource that polls note their news with."""

    @cs.resource(name="journal")
    def opened() -> Iterator[Tell]:
        lines = 0

        def note(line: str) -> None:
            nonlocal lines
            lines += 1
            tell(line)

        try:
            yield note
        finally:
            tell(f"journal closed after {lines} lines")

    return opened


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


# What ``cascade run`` needs: the resources of the module, and what to run.

journal = journal_on(say)


@cs.resource
def server() -> Iterator[Server]:
    """A server for as long as a run lasts."""
    with closing(Server()) as one:
        yield one


@cs.task
async def start(polls: int, pause: float, at: Any = cs.inject("server")) -> str:
    """Open the server of the run, and poll it."""
    await at.open()
    return polling(polls or None, at.port, pause)


def main() -> str:
    """Return the lazy poller of a server of its own."""
    polls: Any = cs.Param("polls", default=0, type=int, description="stop after so many answers; 0: never")
    pause: Any = cs.Param("pause", default=0.1, type=float, description="seconds between two polls")
    return start(polls, pause)


# What the script needs beyond that: an engine with a rate limit, which tells of retries.


def engine_for(rate: str, tell: Tell) -> cs.Engine:
    """Return an engine that limits fetches, tells of retries, and has the journal as a resource."""
    bus = cs.MessageBus()
    bus.subscribe(TaskRetrying, lambda event: tell(f"{event.error}; again in {event.delay:.2f} s"))
    engine = cs.Engine(NativeSolver(), LocalExecutor(), bus)
    engine.register(journal_on(tell))
    # The step that holds a constrained call gets full processing; nothing but speed depends on that.
    limit = GlobalConstraint("fetch-rate", "task:fetch", "rate_limit", {"rate": rate, "capacity": 1})
    engine.constraint_manager.update_constraint(limit)
    return engine


async def run(polls: int | None, rate: str, tell: Tell) -> str:
    """Start the server, poll it, and return the last version seen."""
    engine = engine_for(rate, tell)
    with closing(Server()) as one:
        await one.open()
        try:
            return str(await engine.run(polling(polls, one.port)))
        finally:
            tell(f"{one.requests} requests, {engine.stats.steps} steps")


def command(argv: Sequence[str] | None = None) -> int:
    """Poll until told to stop, and return the exit code."""
    parser = argparse.ArgumentParser(description="A recursive poller with retry, back-off and a rate limit.")
    parser.add_argument("--polls", type=int, help="stop after so many answers (default: poll until Ctrl-C)")
    parser.add_argument("--rate", default="10/s", help="most polls in a time (default: 10/s)")
    arguments = parser.parse_args(argv)
    if arguments.polls is not None and arguments.polls < 1:
        parser.error("--polls must be at least 1")
    try:
        last = asyncio.run(run(arguments.polls, arguments.rate, say))
    except KeyboardInterrupt:
        print("Stopped by Ctrl-C.")
        return 130
    print(f"Last answer: {last}")
    return 0


if __name__ == "__main__":
    sys.exit(command())

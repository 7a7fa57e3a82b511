"""Unix socket files of one user, several of which may want the same path.

    cascade.sock              the first process that asks
    cascade.sock.4711-1       the next ones: process id and a number

Whoever sends looks for all of them, so no process takes another one's place. What a crashed process has left is cleared
away by the next that claims the path; a lock on the directory keeps two of them from doing that at once.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count

from cascade.adapters.executors._threads import ThreadPool

__all__ = ["Claim", "claim", "claimed", "siblings"]

#: Seconds to wait for another process that claims a path in the directory; then claim without clearing away.
LOCK_WAIT = 0.5

_threads = ThreadPool("cascade_claim", 4)


@dataclass(frozen=True)
class Claim:
    """A bound socket, its file, and which file that was when it was made."""

    socket: socket.socket
    path: str
    identity: tuple[int, int]

    def release(self) -> None:
        """Remove the file, unless another one stands in its place, and close the socket."""
        with suppress(OSError):
            if _identity(self.path) == self.identity:
                os.unlink(self.path)
        self.socket.close()


def claim(path: str, kind: socket.SocketKind) -> Claim:
    """Bind a socket that only this user can reach, at ``path`` or, where another process has that, beside it.

    Raises:
        OSError: the directory is not there or not writable, or the path is too long.
    """
    with _directory_locked(os.path.dirname(path) or ".") as is_locked:
        if is_locked:
            _clear_away(path, kind)
        names = _names(path)
        while True:
            name = next(names)
            try:
                return _bound(name, kind)
            except OSError:
                if not os.path.lexists(name):
                    raise


async def claimed(path: str, kind: socket.SocketKind) -> Claim:
    """Do what :func:`claim` does in a thread; a claim whose caller is cancelled meanwhile is given back."""
    job = _threads.submit(partial(claim, path, kind))
    claiming = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(claiming)
    except asyncio.CancelledError:
        job.add_done_callback(_give_back)
        if not job.cancel():  # a thread has begun
            await asyncio.wait([claiming])
        raise


def _give_back(job: Future[Claim]) -> None:
    if not job.cancelled() and job.exception() is None:
        job.result().release()


def siblings(path: str) -> list[str]:
    """Return the sockets of this user at ``path`` and beside it."""
    folder, base = os.path.split(path)
    pattern = re.compile(re.escape(base) + r"(\.\d+-\d+)?")
    try:
        names = sorted(name for name in os.listdir(folder or ".") if pattern.fullmatch(name))
    except OSError:
        return []
    return [found for name in names if _is_own_socket(found := os.path.join(folder, name))]


def _names(path: str) -> Iterator[str]:
    yield path
    for number in count(1):
        yield f"{path}.{os.getpid()}-{number}"


def _bound(path: str, kind: socket.SocketKind) -> Claim:
    bound = socket.socket(socket.AF_UNIX, kind)
    try:
        with suppress(OSError):
            os.fchmod(bound.fileno(), 0o600)  # Linux gives the file this mode as it makes it
        bound.bind(path)
        os.chmod(path, 0o600)  # other systems do not
        if kind == socket.SOCK_STREAM:
            bound.listen(100)  # at once, because who does not listen counts as dead
        bound.setblocking(False)
        return Claim(bound, path, _identity(path))
    except BaseException:
        bound.close()
        raise


def _clear_away(path: str, kind: socket.SocketKind) -> None:
    for name in siblings(path):
        if not _is_alive(name, kind):
            with suppress(OSError):
                os.unlink(name)


def _is_alive(path: str, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # busy, or of another kind: somebody is there
            return True
    return True


def _is_own_socket(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid()


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


@contextmanager
def _directory_locked(folder: str) -> Iterator[bool]:
    """Hold a lock on a directory; yields False where somebody else does not let go of it."""
    import fcntl

    directory = os.open(folder, os.O_RDONLY)
    try:
        yield _flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(directory)


def _flock(directory: int, operation: int) -> bool:
    import fcntl

    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(directory, operation)
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        else:
            return True

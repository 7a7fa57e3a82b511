"""Socket files that several processes of one user want at the same path."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cascade.connectors.local import _sockets
from cascade.connectors.local._sockets import claim, siblings

KINDS = pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["datagram", "stream"])


@pytest.fixture
def path(tmp_path):
    """A path for a socket."""
    return str(tmp_path / "c.sock")


@KINDS
def test_a_socket_is_private_to_its_user(kind, path):
    """Nobody else may connect, whatever the umask says; the file goes with the claim."""
    before = os.umask(0)
    try:
        claimed = claim(path, kind)
    finally:
        os.umask(before)

    assert claimed.path == path
    assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600
    claimed.release()
    assert not os.path.exists(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems give the file its mode afterwards")
@KINDS
def test_a_socket_is_private_from_the_moment_it_is_there(kind, path, monkeypatch):
    """Nobody has time to connect before the mode is set."""
    monkeypatch.setattr(os, "chmod", lambda *args: None)
    claimed = claim(path, kind)

    assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600
    claimed.release()


@KINDS
def test_a_second_claim_is_beside_the_first(kind, path):
    """Neither takes the other one's place, and each removes its own file only."""
    first, second, third = (claim(path, kind) for _ in range(3))

    assert [one.path for one in (first, second, third)] == [path, f"{path}.{os.getpid()}-1", f"{path}.{os.getpid()}-2"]
    assert siblings(path) == sorted(one.path for one in (first, second, third))
    first.release()
    assert siblings(path) == [second.path, third.path]
    second.release()
    third.release()
    assert siblings(path) == []


@KINDS
def test_what_a_crash_has_left_is_cleared_away(kind, path):
    """The next claim gets the path itself, and removes all files that nobody serves any more."""
    program = (
        "import socket, sys; from cascade.connectors.local._sockets import claim\n"
        f"kept = [claim(sys.argv[1], {int(kind)}) for _ in range(2)]\n"
        f"import os; os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True)
    assert len(siblings(path)) == 2
    claimed = claim(path, kind)

    assert claimed.path == path
    assert siblings(path) == [path]
    claimed.release()


def test_a_file_that_stands_in_the_way_is_left_alone(path):
    """It is no socket, so nobody knows whose it is."""
    with open(path, "w") as file:
        file.write("mine")
    claimed = claim(path, socket.SOCK_DGRAM)

    assert claimed.path == f"{path}.{os.getpid()}-1"
    claimed.release()
    with open(path) as file:
        assert file.read() == "mine"


def test_a_release_leaves_what_has_taken_its_place(path):
    """Somebody else has made another file there."""
    claimed = claim(path, socket.SOCK_DGRAM)
    os.unlink(path)
    other = claim(path, socket.SOCK_DGRAM)
    claimed.release()

    assert siblings(path) == [path]
    other.release()


def test_claims_at_the_same_time_are_all_different(path):
    """Many that find the same dead file do not remove each other's."""
    dead = claim(path, socket.SOCK_DGRAM)
    dead.socket.close()
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: claim(path, socket.SOCK_DGRAM), range(16)))

    assert sorted(one.path for one in claims) == siblings(path)
    assert len(siblings(path)) == 16
    for one in claims:
        one.release()


def test_a_directory_that_somebody_keeps_locked_holds_up_nobody(path, tmp_path, monkeypatch):
    """Then nothing is cleared away, and the claim is beside the dead file."""
    monkeypatch.setattr(_sockets, "LOCK_WAIT", 0.01)
    dead = claim(path, socket.SOCK_DGRAM)
    dead.socket.close()
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    claimed = claim(path, socket.SOCK_DGRAM)
    os.close(holder)

    assert claimed.path == f"{path}.{os.getpid()}-1"
    claimed.release()


@pytest.mark.parametrize("where", ["missing", "too long"])
def test_where_no_socket_can_be_made_an_error_says_so(where, tmp_path):
    """An OSError, and nothing stays open."""
    path = tmp_path / "no" / "c.sock" if where == "missing" else tmp_path / ("x" * 200)
    with pytest.raises(OSError):
        claim(str(path), socket.SOCK_DGRAM)


def test_only_sockets_of_this_user_count(path, monkeypatch):
    """Who else may write to the directory cannot have telemetry or wake-ups come to them."""
    claimed = claim(path, socket.SOCK_DGRAM)
    for name in (f"{path}.1-1", f"{path}.x", f"{path}x"):
        open(name, "w").close()
    assert siblings(path) == [path]
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    assert siblings(path) == []
    assert siblings("/nowhere/c.sock") == []
    claimed.release()


@pytest.mark.parametrize("cancellations", [1, 2])
def test_a_claim_that_nobody_waits_for_any_more_is_given_back(monkeypatch, tmp_path, cancellations):
    """However often its caller is cancelled while the thread is still about it."""
    path, begun, goes_on, given_back = str(tmp_path / "a.sock"), *(threading.Event() for _ in range(3))
    bound, release = _sockets._bound, _sockets.Claim.release

    def slow(*args):
        begun.set()
        goes_on.wait(30)
        return bound(*args)

    def noted(claim):
        release(claim)
        given_back.set()

    monkeypatch.setattr(_sockets, "_bound", slow)
    monkeypatch.setattr(_sockets.Claim, "release", noted)

    async def main():
        claiming = asyncio.create_task(_sockets.claimed(path, socket.SOCK_STREAM))
        await asyncio.to_thread(begun.wait, 30)
        for _ in range(cancellations):
            claiming.cancel()
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(goes_on.set)
        with pytest.raises(asyncio.CancelledError):
            await claiming

    asyncio.run(main())

    assert given_back.wait(30)
    assert os.listdir(tmp_path) == []

"""Real servers for tests: each is started when the first test asks for it, on a free port, and stopped at the end.

Programs come from the distribution's packages (redis-server, mosquitto, postgresql) or from PyPI (moto's S3 server).
Where one is not installed, the tests that need it are skipped, and the reason says how to get it. ``ci/servers``
installs what Debian has.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["Broker", "broker", "postgres_url", "redis_url", "s3_endpoint"]

#: Seconds in which a server must answer.
_PATIENCE = 30.0
#: Where Debian puts programs that are not on every PATH.
_ELSEWHERE = ("/usr/sbin", "/usr/local/sbin")


def _program(name: str, package: str) -> str:
    """Returns the path of a program, or skips the test."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_ELSEWHERE))
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {package}, or ci/servers")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Returns when something listens at the port."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(f"{process.args!r} ended with status {process.returncode} instead of serving")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)  # nothing tells when another process listens
    pytest.fail(f"{process.args!r} did not listen at port {port} within {_PATIENCE:g} s")


def _start(command: list[str], port: int) -> subprocess.Popen[bytes]:
    """Starts a server that ends with this process, where the system can see to that, and returns when it serves."""
    setpriv = shutil.which("setpriv")
    mortal = [setpriv, "--pdeathsig=KILL", "--"] if setpriv else []
    process = subprocess.Popen([*mortal, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _await_port(port, process)
    return process


def _stop(process: subprocess.Popen[bytes], how: int = signal.SIGTERM) -> None:
    process.send_signal(how)
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a Redis server that keeps nothing on disk. Tests share it: use keys of your own."""
    port = _free_port()
    program = _program("redis-server", "redis-server")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        server = _start([program, *options], port)
        yield f"redis://127.0.0.1:{port}/0"
        _stop(server)


class Broker:
    """A Mosquitto that can be killed and started again at the same port; what it retains survives an orderly stop."""

    def __init__(self, folder: Path) -> None:
        self.host = "127.0.0.1"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        config = folder / "mosquitto.conf"
        lines = (
            f"listener {self.port} {self.host}",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 0",
            *(["user root"] if os.geteuid() == 0 else []),
        )
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._command = [_program("mosquitto", "mosquitto"), "-c", str(config)]

    def start(self) -> None:
        """Starts it, if it does not run, and returns when it takes connections."""
        if self._process is None:
            self._process = _start(self._command, self.port)

    def stop(self) -> None:
        """Ends it in order: sessions and retained messages are written to disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, how: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            _stop(process, how)


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A Mosquitto of the test's own, running."""
    with tempfile.TemporaryDirectory() as folder:
        server = Broker(Path(folder))
        server.start()
        yield server
        server.kill()


def _as_ordinary_user(folder: Path) -> list[str]:
    """Returns what comes before a command that refuses to be run by root, and gives the folder to that user."""
    if os.geteuid() != 0:
        return []
    name = "postgres" if any(user.pw_name == "postgres" for user in pwd.getpwall()) else "nobody"
    shutil.chown(folder, name)
    return [_program("setpriv", "util-linux"), f"--reuid={name}", "--clear-groups", "--"]


def _await_postgres(program: str, port: int) -> None:
    """Returns when the server takes connections; it listens before that, and refuses them."""
    end = time.monotonic() + _PATIENCE
    while subprocess.run([program, "-q", "-h", "127.0.0.1", "-p", str(port)], check=False).returncode != 0:
        if time.monotonic() > end:
            pytest.fail(f"PostgreSQL took no connections at port {port} within {_PATIENCE:g} s")
        time.sleep(0.01)  # nothing tells when another process is ready


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The SQLAlchemy URL of an empty database on a PostgreSQL server. Tests share it: use tables of your own."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    program = str(homes[-1]) if homes else _program("postgres", "postgresql")
    port = _free_port()
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent) / "data"
        folder.mkdir()
        user = _as_ordinary_user(folder)
        initdb = [str(Path(program).with_name("initdb")), "--auth=trust", "--username=tester", "--no-sync"]
        subprocess.run([*user, *initdb, "-D", str(folder)], check=True, capture_output=True)
        options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
        server = _start([*user, program, "-D", str(folder), "-F", *options], port)
        _await_postgres(str(Path(program).with_name("pg_isready")), port)
        yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
        _stop(server, signal.SIGINT)


@pytest.fixture
def s3_endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty S3 server; the environment names it, and credentials that it takes."""
    server_module = pytest.importorskip("moto.server", reason="needs moto: pip install 'moto[s3]' flask-cors")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # moto keeps what it was given for the whole process
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield f"http://{host}:{port}"
    server.stop()

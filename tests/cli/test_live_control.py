"""Commands against running engines: a real broker, a real database with its sockets, real processes and terminals.

this process: an engine with a connector  <--  broker, or database and sockets  <--  a process: cs-controller, ..
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.cli.controller import app as controller
from cascade.connectors.local import LocalConnector
from cascade.connectors.mqtt import MqttConnector
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.runtime.events import TaskBlocked
from cascade.runtime.subscribers import TelemetrySubscriber
from cascade.spec.protocols import Connector
from tests.cli.consoles import PATIENCE, MessagesThatAreNoted, environment, lines_until, started, terminal
from tests.servers import Broker

for library in ("aiomqtt", "typer", "rich"):
    pytest.importorskip(library, reason=f"needs {library}: pip install 'cascade-hot[mqtt,cli]'")

pytestmark = pytest.mark.slow

CONTROLLER, OBSERVER = "cascade.cli.controller.app", "cascade.cli.observer.app"
#: Each backend, and each way to a command: the program of its own, and ``cascade``. Other tests show that both ways
#: lead to the same functions, so that not every pair is needed here.
CONTROL = pytest.mark.parametrize(
    "place, control",
    [
        pytest.param("mqtt", [CONTROLLER], id="mqtt, cs-controller"),
        pytest.param("local", ["cascade", "control"], id="local, cascade control"),
    ],
    indirect=["place"],
)
OBSERVE = pytest.mark.parametrize(
    "place, observe",
    [
        pytest.param("mqtt", ["cascade"], id="mqtt, cascade"),
        pytest.param("local", [OBSERVER], id="local, cs-observer"),
    ],
    indirect=["place"],
)


@dataclass
class Place:
    """A backend: how a command finds it, and how an engine of this process does."""

    options: list[str]
    make: Callable[[], Connector]
    home: Path

    @property
    def is_local(self) -> bool:
        return "local" in self.options

    @property
    def is_ready(self) -> str:
        """What ``watch`` says when an engine may start. A socket is there with the engine only."""
        return "Watching" if self.is_local else "Connected"


@pytest.fixture(params=["mqtt", "local"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each backend, for this test alone."""
    if request.param == "local":
        if not hasattr(asyncio, "open_unix_connection"):
            pytest.skip("needs Unix sockets")
        return Place(["--backend", "local"], lambda: local_connector(tmp_path), tmp_path)
    broker = request.getfixturevalue("broker")
    options = ["--host", broker.host, "--port", str(broker.port)]
    return Place(options, lambda: MqttConnector(broker.host, broker.port), tmp_path)


def no_connector() -> Connector:
    """Stands where no engine is needed."""
    raise NotImplementedError


def local_connector(home: Path) -> LocalConnector:
    """Returns what a process whose files are below ``home`` gets by default."""
    return LocalConnector(
        db_path=str(home / ".cascade" / "control.db"),
        uds_path=str(home / "cascade.sock"),
        telemetry_uds_path=str(home / "cascade-telemetry.sock"),
    )


async def command(place: Place, *arguments: str) -> str:
    """Runs a command, sees that it succeeds and prints nothing on standard output, and returns what it said."""
    code, out, err = await outcome(place, *arguments)

    assert code == 0, err
    assert out == ""
    return err


async def outcome(place: Place, *arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        *place.options,
        env=environment(place.home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode, out.decode(), err.decode()


# -------------------------------------------------------------------------------------------------- an engine that runs


@dataclass
class Life:
    """A loop of tasks that counts its steps until it is told to stop."""

    engine: Engine
    steps: int = 0
    is_over: bool = False
    blocked: asyncio.Event = field(default_factory=asyncio.Event)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_blocked(self) -> int:
        """Waits until the engine holds a step back; returns how many there were."""
        await asyncio.wait_for(self.blocked.wait(), PATIENCE)
        self.blocked.clear()
        return self.steps

    async def until_moved(self) -> None:
        """Waits until there is another step."""
        self.moved.clear()
        await asyncio.wait_for(self.moved.wait(), PATIENCE)


def engine_with(connector: Connector, **options: Any) -> Engine:
    bus = MessageBus()
    engine = Engine(NativeSolver(), LocalExecutor(), bus, connector=connector, **options)
    engine.add_subscriber(TelemetrySubscriber(bus, connector))
    return engine


@contextlib.asynccontextmanager
async def life(connector: Connector) -> AsyncIterator[Life]:
    """An engine that runs ``tick``, step after step, until the end of the block."""
    one = Life(engine_with(connector))
    one.engine.bus.subscribe(TaskBlocked, lambda event: one.blocked.set())

    @cs.task
    async def tick(number: int) -> Any:
        await asyncio.sleep(0)
        one.steps = number
        one.moved.set()
        return number if one.is_over else tick(number + 1)

    run = asyncio.create_task(one.engine.run(tick(0)))
    try:
        yield one
        one.is_over = True
        assert await asyncio.wait_for(run, PATIENCE) == one.steps
    finally:
        run.cancel()
        await asyncio.wait([run])


@CONTROL
def test_pause_stops_a_running_engine_and_resume_lets_it_go_on(place: Place, control: list[str]) -> None:
    """No step begins between the two, and status lists the pause meanwhile."""

    async def scenario() -> None:
        async with life(place.make()) as one:
            await one.until_moved()
            said = await command(place, *control, "pause")
            paused_at = await one.until_blocked()
            listed = await command(place, OBSERVER, "status")
            still_at = one.steps
            await command(place, *control, "resume")
            await one.until_moved()
            empty = await command(place, OBSERVER, "status")

            assert said.splitlines()[-1] == "✅ Pause published"
            assert still_at == paused_at
            assert listed.splitlines()[-1].split() == ["global", "pause", "{}", "Never"]
            assert empty == "No active constraints found.\n"

    asyncio.run(scenario())


def test_a_pause_with_a_time_to_live_ends_by_itself(place: Place) -> None:
    """Nobody resumes, and the engine goes on when the time is over."""

    async def scenario() -> None:
        async with life(place.make()) as one:
            await one.until_moved()
            began = time.time()
            await command(place, CONTROLLER, "pause", "task:tick", "--ttl", "2")
            await one.until_blocked()
            await one.until_moved()

            assert time.time() - began >= 2.0

    asyncio.run(scenario())


def test_a_pause_concerns_its_scope_only(place: Place) -> None:
    """Tasks of another name go on."""

    async def scenario() -> None:
        async with life(place.make()) as one:
            await one.until_moved()
            await command(place, CONTROLLER, "pause", "task:tock*")
            constraints = one.engine.constraint_manager._constraints
            while not constraints:  # until the engine has heard of it
                await one.until_moved()
            await one.until_moved()

            assert not one.blocked.is_set()
            assert [constraint.scope for constraint in constraints.values()] == ["task:tock*"]

    asyncio.run(scenario())


@CONTROL
def test_limits_of_both_kinds_hold_for_a_later_engine(place: Place, control: list[str]) -> None:
    """Neither hides the other: of five tasks one runs at a time, those beyond the rate wait; resume lifts both."""

    async def work(engine: Engine) -> tuple[int, int]:
        running = most = blocked = 0

        @cs.task
        async def job(number: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(20):
                await asyncio.sleep(0)
            running -= 1
            return number

        def count(event: TaskBlocked) -> None:
            nonlocal blocked
            blocked += event.reason == "ConstraintViolation"

        engine.bus.subscribe(TaskBlocked, count)
        assert await asyncio.wait_for(engine.run([job(number) for number in range(5)]), PATIENCE) == list(range(5))
        return most, blocked

    async def scenario() -> None:
        limits = ["set-limit", "--scope", "task:job", "--concurrency", "1", "--rate", "2/s"]
        said = await command(place, *control, *limits)
        listed = await command(place, OBSERVER, "status")
        limited = await work(engine_with(place.make()))
        await command(place, *control, "resume", "task:job")
        free = await work(engine_with(place.make()))

        assert said.splitlines()[-1] == "✅ Limit published"
        assert [line.split()[:2] for line in listed.splitlines() if "task:job" in line] == [
            ["task:job", "concurrency"],
            ["task:job", "rate_limit"],
        ]
        assert limited[0] == 1
        assert limited[1] >= 1
        assert free[0] > 1
        assert free[1] == 0

    asyncio.run(scenario())


# ---------------------------------------------------------------------------------------------------------------- watch


@contextlib.contextmanager
def watching(place: Place, observe: list[str], **options: Any) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Starts ``watch`` on a terminal of its own; yields the process and our end of the terminal."""
    with (
        terminal() as (ours, theirs),
        started(
            *observe,
            "watch",
            *place.options,
            home=place.home,
            stdin=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: become_controlling(theirs),
            **options,
        ) as process,
    ):
        os.close(theirs)
        yield process, ours


def become_controlling(descriptor: int) -> None:
    """Makes a terminal that of the process, so that Ctrl-C on it is an interrupt."""
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


class Gate:
    """Holds a run until the observer is there."""

    def __init__(self) -> None:
        self.is_open = threading.Event()

    def target(self) -> Any:
        """Returns a call that fails with ``ValueError`` after others that do not: one of them until the gate opens."""

        @cs.task
        async def gate(number: int) -> Any:
            await asyncio.sleep(0.02)  # not to flood the observer
            return 1 if self.is_open.is_set() else gate(number + 1)

        @cs.task
        def fine(number: int) -> int:
            return number

        @cs.task
        def broken(number: int) -> int:
            raise ValueError(f"no {number}")

        return broken(fine(gate(0)))


@contextlib.contextmanager
def running(place: Place) -> Iterator[Gate]:
    """Runs ``Gate.target`` in a thread, on an engine that tells of each step."""
    gate = Gate()

    def run() -> None:
        with pytest.raises(ValueError, match="no 1"):
            asyncio.run(engine_with(place.make(), observe="steps").run(gate.target()))

    with ThreadPoolExecutor(1) as threads:
        run_of_it = threads.submit(run)
        try:
            yield gate
        finally:
            gate.is_open.set()
        run_of_it.result(PATIENCE)


CTRL_C = b"\x03"
#: With which a broker takes a connection (MQTT 3.1.1): type, length, no session, accepted.
CONNACK = b"\x20\x02\x00\x00"
STATES = ("✅ gate", "✅ fine", "❌ broken", "Engine stopped")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
@OBSERVE
def test_watch_shows_a_live_run_until_ctrl_c(place: Place, observe: list[str]) -> None:
    """A rule, each task's states, the end; in colour. Ctrl-C on the terminal says goodbye, with exit code 0."""
    with watching(place, observe) as (process, ours):
        shown = lines_until(ours, lambda text: place.is_ready in text)
        with running(place) as gate:
            shown += lines_until(ours, lambda text: STATES[0] in text)  # now it is there
            gate.is_open.set()
            shown += lines_until(ours, lambda text: "Engine stopped" in text)
        os.write(ours, CTRL_C)
        shown += lines_until(ours, lambda text: "Stopped watching" in text)
        out, _ = process.communicate(timeout=PATIENCE)
    places = [shown.index(text) for text in ("Run ", *STATES)]

    assert process.returncode == 0
    assert out == ""
    assert places == sorted(places)
    assert "ValueError: no 1" in shown
    assert "\x1b[31m❌ broken" in shown
    assert shown.count("Run ") == 1
    assert "Traceback" not in shown


@OBSERVE
def test_watch_elsewhere_than_on_a_terminal_is_plain_text(place: Place, observe: list[str]) -> None:
    """No control character in a log file; an interrupt ends it as Ctrl-C does."""
    with started(*observe, "watch", *place.options, home=place.home) as process:
        assert process.stderr is not None
        descriptor = process.stderr.fileno()
        shown = lines_until(descriptor, lambda text: place.is_ready in text)
        with running(place) as gate:
            shown += lines_until(descriptor, lambda text: STATES[0] in text)  # now it is there
            gate.is_open.set()
            shown += lines_until(descriptor, lambda text: "Engine stopped" in text)
        process.send_signal(signal.SIGINT)
        shown += lines_until(descriptor, lambda text: "Stopped watching" in text)
        out, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert out == ""
    assert all(text in shown for text in STATES)
    assert "\x1b" not in shown


def test_a_reader_who_leaves_ends_the_watch(place: Place) -> None:
    """``watch 2>&1 | head -1`` is over with the next message."""
    ours, theirs = os.pipe()
    with started(OBSERVER, "watch", *place.options, home=place.home, stderr=theirs) as process:
        os.close(theirs)
        lines_until(ours, lambda text: place.is_ready in text)
        with running(place):
            lines_until(ours, lambda text: STATES[0] in text)
            os.close(ours)
            process.wait(PATIENCE)
        out, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert out == ""


@OBSERVE
def test_a_reader_who_has_left_ends_status(place: Place, observe: list[str]) -> None:
    """With the same exit code, and without a traceback on standard output."""
    ours, theirs = os.pipe()
    os.close(ours)
    with started(*observe, "status", *place.options, home=place.home, stderr=theirs) as process:
        os.close(theirs)
        out, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert out == ""


# --------------------------------------------------------------------------------------------- brokers that come and go


def test_a_broker_that_is_not_there_is_said(broker: Broker, tmp_path: Path) -> None:
    """By every command: one line with its place, exit code 1."""
    broker.stop()
    there = Place(["--host", broker.host, "--port", str(broker.port)], no_connector, tmp_path)

    async def scenario() -> None:
        for arguments in ((CONTROLLER, "pause"), ("cascade", "control", "resume")):
            code, out, err = await outcome(there, *arguments)

            assert (code, out) == (1, "")
            assert len(err.splitlines()) == 2
            assert err.splitlines()[0] == f"🔌 Connecting (mqtt, {broker.host}:{broker.port})"
            assert err.splitlines()[1].startswith("❌ ")
        for arguments in ((OBSERVER, "watch"), ("cascade", "status")):
            code, out, err = await outcome(there, *arguments)

            assert (code, out) == (1, "")
            assert err.splitlines()[-1].startswith(f"❌ Cannot watch {broker.host}:{broker.port}: ")
            assert "Traceback" not in err

    asyncio.run(scenario())


def test_credentials_open_a_broker_and_show_nowhere(tmp_path: Path) -> None:
    """A broker that wants a password gets it; with another one it refuses, which is said without repeating it."""
    program = shutil.which("mosquitto_passwd") or pytest.skip("mosquitto_passwd is not installed")
    guarded = Broker(tmp_path)
    config, passwords = tmp_path / "mosquitto.conf", tmp_path / "passwords"
    subprocess.run([program, "-b", "-c", str(passwords), "ann", "s:cret"], check=True, capture_output=True)
    text = config.read_text().replace("allow_anonymous true", f"allow_anonymous false\npassword_file {passwords}")
    config.write_text(text)

    async def scenario() -> None:
        right = Place(["--host", f"mqtt://ann:s%3Acret@{guarded.host}:{guarded.port}"], no_connector, tmp_path)
        wrong = Place(["--host", f"ann:wr0ng@{guarded.host}", "--port", str(guarded.port)], no_connector, tmp_path)
        said = await command(right, CONTROLLER, "pause")
        listed = await command(right, "cascade", "status")
        code, out, refused = await outcome(wrong, "cascade", "control", "resume")

        assert "✅ Pause published" in said
        assert listed.splitlines()[-1].split() == ["global", "pause", "{}", "Never"]
        assert (code, out) == (1, "")
        assert "❌" in refused
        assert not any(secret in said + listed + refused for secret in ("cret", "wr0ng", "ann"))

    guarded.start()
    try:
        asyncio.run(scenario())
    finally:
        guarded.kill()


def test_watch_outlives_its_broker(broker: Broker, tmp_path: Path) -> None:
    """Killed and started again: runs that begin later are shown."""
    there = Place(
        ["--host", broker.host, "--port", str(broker.port)],
        lambda: MqttConnector(broker.host, broker.port),
        tmp_path,
    )
    with started(OBSERVER, "watch", *there.options, home=there.home) as process:
        assert process.stderr is not None
        descriptor = process.stderr.fileno()
        lines_until(descriptor, lambda text: "Connected" in text)
        broker.kill()
        shown = lines_until(descriptor, lambda text: "lost the connection" in text)
        broker.start()
        while "Engine stopped" not in shown:  # nothing tells when it has subscribed again
            with running(there) as gate:
                gate.is_open.set()
            if select.select([descriptor], [], [], 0.5)[0]:
                shown += os.read(descriptor, 65536).decode(errors="replace")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert all(text in shown for text in STATES)


def test_a_broker_that_dies_before_it_confirms_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is told of success may rely on it: no success, one error message, the failure is returned."""
    messages = MessagesThatAreNoted()
    monkeypatch.setattr(controller, "bus", messages)
    monkeypatch.setattr(controller, "_PATIENCE", 0.5)

    async def scenario() -> None:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(CONNACK)
            await writer.drain()
            await reader.readexactly(50)
            server.close()  # nobody answers any more
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        published = await controller._publish_pause("global", None, "mqtt", "127.0.0.1", port)

        assert published is False
        assert messages.ids[-2:] == ["controller.publishing", "controller.error"]
        assert messages.seen[-1][2]["error"].startswith(f"the MQTT broker at 127.0.0.1:{port} has not taken 1")

    asyncio.run(scenario())


# -------------------------------------------------------------------------------------------- files that cannot be used


def local(home: Path) -> Place:
    return Place(["--backend", "local"], lambda: local_connector(home), home)


@pytest.mark.parametrize("arguments", [(CONTROLLER, "pause"), (CONTROLLER, "resume"), ("cascade", "control", "pause")])
def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """One line with its path and exit code 1."""
    (tmp_path / ".cascade").write_text("a file where a folder should be")
    code, out, err = asyncio.run(outcome(local(tmp_path), *arguments))

    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("❌ ")
    assert str(tmp_path / ".cascade") in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [(CONTROLLER, "pause"), (OBSERVER, "status"), ("cascade", "status")])
def test_a_database_of_a_newer_version_is_said(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """One line that names the file and what to do, exit code 1; the file stays as it is."""
    (tmp_path / ".cascade").mkdir()
    path = tmp_path / ".cascade" / "control.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 999")
        database.execute("CREATE TABLE other (x)")
    before = path.read_bytes()
    code, out, err = asyncio.run(outcome(local(tmp_path), *arguments))

    assert (code, out) == (1, "")
    assert "newer version" in err.splitlines()[-1]
    assert str(path) in err
    assert "Traceback" not in err
    assert path.read_bytes() == before

"""The command ``cs-observer``, with a connector that only notes: what it shows and returns."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from unittest import mock
from urllib.parse import quote

import pytest

from cascade.cli.observer import app as observer
from cascade.spec.constraint import GlobalConstraint
from tests.cli.consoles import PATIENCE, ConnectorThatNotes, MessagesThatAreNoted

typer_testing = pytest.importorskip("typer.testing", reason="needs typer: pip install 'cascade-hot[cli]'")


def invoke(*arguments: str):
    return typer_testing.CliRunner().invoke(observer.app, arguments)


@pytest.fixture
def messages(monkeypatch):
    """The message bus of the command; no run has been seen."""
    noted = MessagesThatAreNoted()
    monkeypatch.setattr(observer, "bus", noted)
    observer.seen_run_ids.clear()
    return noted


# ----------------------------------------------------------------------------------------------- arguments to callables


@pytest.mark.row(
    "08-tools-cli-testing", "Command line tools (entry points cs-controller, cs-observer)", "cs-observer watch"
)
@pytest.mark.parametrize(
    "arguments, name, expected",
    [
        ([], "_run_mqtt_watcher", {"project": "default", "hostname": "localhost", "port": 1883}),
        (
            ["--project", "p", "--host", "h", "--port", "9"],
            "_run_mqtt_watcher",
            {"project": "p", "hostname": "h", "port": 9},
        ),
        (["--project", "+"], "_run_mqtt_watcher", {"project": "+", "hostname": "localhost", "port": 1883}),
        (["--backend", "local"], "_run_uds_watcher", {}),
    ],
)
def test_watch_calls_the_watcher_of_its_backend(monkeypatch, arguments, name, expected):
    """Project and place arrive as given or by default."""
    callee = mock.AsyncMock()
    monkeypatch.setattr(observer, name, callee)
    result = invoke("watch", *arguments)

    assert result.exit_code == 0, result.output
    callee.assert_awaited_once_with(**expected)


@pytest.mark.row(
    "08-tools-cli-testing", "Command line tools (entry points cs-controller, cs-observer)", "cs-observer status"
)
@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], {"backend": "mqtt", "hostname": "localhost", "port": 1883}),
        (
            ["--backend", "local", "--hostname", "h", "--port", "9"],
            {"backend": "local", "hostname": "h", "port": 9},
        ),
        (["--host", "h"], {"backend": "mqtt", "hostname": "h", "port": 1883}),
    ],
)
def test_status_calls_its_callable(monkeypatch, arguments, expected):
    """Backend and place arrive as given or by default; ``--host`` is understood as well."""
    callee = mock.AsyncMock()
    monkeypatch.setattr(observer, "_get_status", callee)
    result = invoke("status", *arguments)

    assert result.exit_code == 0, result.output
    callee.assert_awaited_once_with(**expected)


@pytest.mark.parametrize("command", ["watch", "status"])
def test_an_unknown_backend_is_refused(messages, command):
    """With its own message and exit code 1."""
    result = invoke(command, "--backend", "carrier-pigeon")

    assert result.exit_code == 1
    assert messages.seen == [("error", "observer.error_invalid_backend", {"backend": "carrier-pigeon"})]
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["watch", "--project", ""], "--project"),
        (["watch", "--project", "a/b"], "--project"),
        (["watch", "--project", "#"], "--project"),
        (["watch", "--project", "a+"], "--project"),
        (["watch", "--project", "\x00"], "--project"),
        (["watch", "--port", "0"], "--port"),
        (["watch", "--port", "x"], "--port"),
        (["watch", "--host", ""], "--host"),
        (["status", "--port", "70000"], "--port"),
        (["status", "--host", "ann:secret@"], "--host"),
    ],
)
def test_bad_input_is_refused_before_anything_is_done(messages, monkeypatch, arguments, named):
    """Exit code 2, a line that names what is wrong and repeats no password, no connection."""
    connector = ConnectorThatNotes()
    monkeypatch.setattr(observer, "MqttConnector", connector)
    result = invoke(*arguments)

    assert result.exit_code == 2
    assert named in result.stderr
    assert "secret" not in result.output
    assert connector.done == []
    assert messages.seen == []


# ----------------------------------------------------------------------------------------------------------- on_message


def message(body, run_id="run-1"):
    return {"v": "1.0", "ts": "2026-01-01T00:00:00+00:00", "run_id": run_id, "org_id": "local", "body": body}


def shown(messages, *payloads):
    for payload in payloads:
        asyncio.run(observer.on_message("cascade/telemetry/local/default/run-1/events", payload))
    return messages.seen


HEADER = ("info", "observer.telemetry.run_header", {"run_id": "run-1"})


@pytest.mark.parametrize("event", ["ENGINE_STARTED", "ENGINE_STOPPED"])
def test_lifecycle_events_are_shown(messages, event):
    """Each under an id of its own."""
    assert shown(messages, message({"type": "LifecycleEvent", "event": event})) == [
        HEADER,
        ("info", f"observer.telemetry.lifecycle.{event}", {}),
    ]


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETED", "FAILED", "SKIPPED", "BLOCKED"])
def test_task_states_are_shown(messages, state):
    """Each under an id of its own, with name, duration and error."""
    body = {
        "type": "TaskStateEvent",
        "task_id": "t1",
        "task_name": "load",
        "state": state,
        "duration_ms": 1.5,
        "error": "E: x",
    }

    assert shown(messages, message(body))[1:] == [
        (
            "info",
            f"observer.telemetry.task_state.{state}",
            {"task_name": "load", "duration_ms": 1.5, "error": "E: x"},
        )
    ]


def test_what_a_task_state_lacks_has_defaults(messages):
    """N/A, 0 and no error."""
    assert shown(messages, message({"type": "TaskStateEvent", "state": "RUNNING"}))[1] == (
        "info",
        "observer.telemetry.task_state.RUNNING",
        {"task_name": "N/A", "duration_ms": 0, "error": ""},
    )


def test_other_events_are_named(messages):
    """A newer engine may send more than this observer knows."""
    assert shown(messages, message({"type": "WeatherEvent"}))[1] == (
        "info",
        "observer.telemetry.unknown_event",
        {"type": "WeatherEvent"},
    )


def test_a_run_has_its_header_once(messages):
    """Before its first message; the runs that were seen are in ``seen_run_ids``."""
    body = {"type": "LifecycleEvent", "event": "ENGINE_STARTED"}
    shown(messages, message(body), message(body), message(body, run_id="run-2"), message(body))

    assert messages.ids.count("observer.telemetry.run_header") == 2
    assert observer.seen_run_ids == {"run-1", "run-2"}


def test_runs_are_forgotten_before_they_fill_the_memory(messages, monkeypatch):
    """An observer may watch for years."""
    monkeypatch.setattr(observer, "_MOST_RUNS", 3)
    body = {"type": "LifecycleEvent", "event": "ENGINE_STARTED"}
    shown(messages, *(message(body, run_id=str(number)) for number in range(100)))

    assert len(observer.seen_run_ids) <= 3
    assert messages.ids.count("observer.telemetry.run_header") == 100


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"run_id": "r"},
        {"body": {"type": "LifecycleEvent"}},
        {"run_id": "", "body": {"type": "LifecycleEvent"}},
        {"run_id": "r", "body": {}},
        {"run_id": ["r"], "body": {"type": "LifecycleEvent"}},
        {"run_id": "r", "body": "text"},
        [],
        "text",
        None,
    ],
)
def test_what_is_no_telemetry_is_ignored(messages, payload):
    """Anybody may publish to the topic."""
    assert shown(messages, payload) == []
    assert observer.seen_run_ids == set()


# -------------------------------------------------------------------------------------------------------- watch by MQTT


def watched(monkeypatch, connector, *arguments):
    monkeypatch.setattr(observer, "MqttConnector", connector)
    return invoke("watch", *arguments)


def test_watch_subscribes_to_the_runs_of_a_project(messages, monkeypatch):
    """Of every owner; messages in order; Ctrl-C says goodbye, disconnects and is the ordinary end: exit code 0."""
    connector = ConnectorThatNotes()
    connector.retained = [("topic", message({"type": "LifecycleEvent", "event": "ENGINE_STARTED"}))]
    monkeypatch.setattr("asyncio.Event.wait", mock.Mock(side_effect=KeyboardInterrupt))  # when all is ready
    result = watched(monkeypatch, connector, "--project", "demo", "--host", "h", "--port", "7")

    assert result.exit_code == 0
    assert connector.done == ["connect", ("subscribe", "cascade/telemetry/+/demo/+/events"), "disconnect"]
    assert connector.made_with == {"hostname": "h", "port": 7}
    assert messages.seen == [
        ("info", "observer.startup.watching", {"project": "demo", "hostname": "h", "port": 7}),
        HEADER,
        ("info", "observer.telemetry.lifecycle.ENGINE_STARTED", {}),
        ("info", "observer.startup.connected", {}),
        ("info", "observer.shutdown", {}),
    ]


@pytest.mark.parametrize("where", ["connect", "subscribe", "disconnect"])
def test_a_broker_that_cannot_be_watched_is_said(messages, monkeypatch, where):
    """One error message that names host, port and cause; exit code 1; the connector is disconnected."""
    connector = ConnectorThatNotes(
        **({"subscribe": OSError("no")} if where == "disconnect" else {}), **{where: OSError("no")}
    )
    result = watched(monkeypatch, connector, "--host", "ann:secret@h")

    assert result.exit_code == 1
    assert messages.seen[-1] == ("error", "observer.startup.error", {"hostname": "h", "port": 1883, "error": "no"})
    assert connector.made_with == {"hostname": "h", "port": 1883, "username": "ann", "password": "secret"}
    assert connector.done[-1] == "disconnect"
    assert "secret" not in repr(messages.seen) + result.output


# ------------------------------------------------------------------------------------------------------ watch by socket


@pytest.fixture
def socket_path(tmp_path, monkeypatch):
    """Where the telemetry socket of the machine is."""
    path = str(tmp_path / "telemetry.sock")
    monkeypatch.setattr(observer, "DEFAULT_TELEMETRY_UDS_PATH", path)
    return path


REAL_SLEEP = asyncio.sleep


class Rounds:
    """Stands for sleeping between looks: acts between them, and interrupts after the last."""

    def __init__(self, *acts):
        self.acts = list(acts)
        self.slept = []

    async def __call__(self, seconds):
        self.slept.append(seconds)
        if not self.acts:
            raise KeyboardInterrupt
        await self.acts.pop(0)()


def watch_locally(monkeypatch, *acts):
    rounds = Rounds(*acts)
    monkeypatch.setattr("asyncio.sleep", rounds)
    return invoke("watch", "--backend", "local"), rounds


class Server:
    """An engine's socket: sends these lines to whoever comes, and then closes, or stays until it is stopped."""

    def __init__(self, path, *lines, stays=False):
        self.path = path
        self.lines = lines
        self.stays = stays

    async def start(self):
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self):
        self.server.close()
        os.unlink(self.path)

    async def _serve(self, reader, writer):
        try:
            writer.writelines(self.lines)
            await writer.drain()
            if self.stays:
                await reader.read()
        finally:
            writer.close()


async def nothing():
    """A round in which nothing happens."""


def until(messages, msg_id, times=1, then=nothing):
    """Returns an act that waits for a message to have come so often, and does something."""

    async def wait():
        end = time.monotonic() + PATIENCE
        while messages.ids.count(msg_id) < times:
            assert time.monotonic() < end, messages.ids
            await REAL_SLEEP(0)
        await then()

    return wait


LINE = b'{"run_id": "run-1", "body": {"type": "LifecycleEvent", "event": "ENGINE_STARTED"}}\n'
unix = pytest.mark.skipif(not hasattr(asyncio, "start_unix_server"), reason="needs Unix sockets")


@unix
def test_lines_of_the_socket_are_shown(messages, monkeypatch, socket_path):
    """An engine may start later and stop; the attempts are two seconds apart; broken lines disturb nothing."""
    closed = "observer.shutdown_uds_disconnected"
    server = Server(socket_path, b"{broken\n", b"\n", b"[1]\n", LINE)
    acts = [server.start, until(messages, closed), until(messages, closed, times=2, then=server.stop)]
    result, rounds = watch_locally(monkeypatch, *acts)

    assert result.exit_code == 0
    assert rounds.slept == [2.0] * 4
    assert messages.ids == [
        "observer.startup.watching_uds",
        "observer.startup.uds_not_found",
        "observer.startup.connected_uds",
        "observer.error_uds",
        "observer.error_uds",
        "observer.telemetry.run_header",
        "observer.telemetry.lifecycle.ENGINE_STARTED",
        "observer.shutdown_uds_disconnected",
        "observer.startup.connected_uds",
        "observer.error_uds",
        "observer.error_uds",
        "observer.telemetry.lifecycle.ENGINE_STARTED",
        "observer.shutdown_uds_disconnected",
        "observer.startup.uds_not_found",
        "observer.shutdown",
    ]
    assert messages.seen[0][2] == messages.seen[1][2] == {"path": socket_path}


@unix
def test_a_long_line_is_read(messages, monkeypatch, socket_path):
    """The text of an error may be longer than what a stream reads by default."""
    long = LINE.replace(b"run-1", b"r" * 1_000_000)
    server = Server(socket_path, long)
    closed = until(messages, "observer.shutdown_uds_disconnected", then=server.stop)
    watch_locally(monkeypatch, server.start, closed)

    assert ("info", "observer.telemetry.run_header", {"run_id": "r" * 1_000_000}) in messages.seen


@unix
def test_what_is_wrong_with_the_socket_is_said_once(messages, monkeypatch, socket_path):
    """Not at each attempt; but again when it has changed."""
    import socket

    async def abandoned():
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(socket_path)

    watch_locally(monkeypatch, nothing, nothing, abandoned, nothing)

    assert messages.ids == [
        "observer.startup.watching_uds",
        "observer.startup.uds_not_found",
        "observer.startup.uds_conn_refused",
        "observer.shutdown",
    ]
    assert messages.seen[2] == ("error", "observer.startup.uds_conn_refused", {"path": socket_path})


@unix
def test_an_engine_that_has_come_and_gone_is_missed_again(messages, monkeypatch, socket_path):
    """What was said before it came is news once more."""
    server = Server(socket_path, LINE)
    closed = until(messages, "observer.shutdown_uds_disconnected", then=server.stop)
    watch_locally(monkeypatch, server.start, closed, nothing)

    assert messages.ids.count("observer.startup.uds_not_found") == 2


@unix
def test_engines_of_one_machine_are_watched_together(messages, monkeypatch, socket_path):
    """Each has a socket of its own beside the first one's; one that comes later is found while another is read."""
    first = Server(socket_path, LINE, stays=True)
    second = Server(f"{socket_path}.4711-1", LINE, stays=True)
    shown = "observer.telemetry.lifecycle.ENGINE_STARTED"

    async def stop():
        await first.stop()
        await second.stop()

    acts = [first.start, until(messages, shown, then=second.start), until(messages, shown, times=2, then=stop)]
    result, _ = watch_locally(monkeypatch, *acts)

    assert result.exit_code == 0
    assert messages.ids.count("observer.startup.connected_uds") == 2
    assert messages.ids.count(shown) == 2


@unix
def test_another_error_of_the_socket_is_said(messages, monkeypatch, socket_path):
    """With its text; the watch goes on."""
    monkeypatch.setattr(observer, "DEFAULT_TELEMETRY_UDS_PATH", "/" + "x" * 300)
    result, _ = watch_locally(monkeypatch, nothing)

    assert result.exit_code == 0
    assert messages.ids[1:] == ["observer.error_uds", "observer.shutdown"]
    assert messages.seen[1][2]["error"]


def test_a_platform_without_unix_sockets_is_told_so(messages, monkeypatch):
    """Exit code 1: there is nothing to wait for."""
    monkeypatch.delattr("asyncio.open_unix_connection", raising=False)
    result = invoke("watch", "--backend", "local")

    assert result.exit_code == 1
    assert messages.seen == [("error", "observer.error_uds_unsupported", {})]


# --------------------------------------------------------------------------------------------------------------- status


def constraint(scope="global", kind="pause", **fields):
    return {"id": f"{kind}-{scope}", "scope": scope, "type": kind, "params": {}, "expires_at": None, **fields}


@pytest.fixture
def table(monkeypatch):
    """What is to be shown as a table."""
    shown = mock.Mock()
    monkeypatch.setattr(observer, "_render_constraints_table", shown)
    monkeypatch.setattr(observer, "_QUIET", 0.01)
    return shown


def listed(monkeypatch, *retained):
    connector = ConnectorThatNotes()
    connector.retained = list(retained)
    monkeypatch.setattr(observer, "MqttConnector", connector)
    return invoke("status", "--host", "h", "--port", "7"), connector


def test_status_collects_what_the_broker_retains(messages, table, monkeypatch):
    """All types of a scope; an empty message lifts what came before for its scope."""
    result, connector = listed(
        monkeypatch,
        ("cascade/constraints/global", constraint()),
        ("cascade/constraints/global", constraint(kind="rate_limit", params={"rate": "1/s"})),
        ("cascade/constraints/task/b", constraint("task:b", expires_at=5)),
        ("cascade/constraints/task/a", constraint("task:a")),
        ("cascade/constraints/task/a", {}),
    )
    [constraints] = table.call_args.args

    assert result.exit_code == 0
    assert connector.done == ["connect", ("subscribe", "cascade/constraints/#"), "disconnect"]
    assert connector.made_with == {"hostname": "h", "port": 7}
    assert constraints == [
        GlobalConstraint("pause-global", "global", "pause", {}),
        GlobalConstraint("rate_limit-global", "global", "rate_limit", {"rate": "1/s"}),
        GlobalConstraint("pause-task:b", "task:b", "pause", {}, 5.0),
    ]
    assert messages.seen == []


@pytest.mark.parametrize(
    "payload",
    [
        {"id": "x"},
        [1],
        "text",
        5,
        constraint(expires_at="soon"),
        constraint(expires_at=10**400),
        constraint(params=None),
        constraint(scope=5),
        constraint(kind=["x"]),
    ],
)
def test_what_is_no_constraint_is_reported_and_left_out(messages, table, monkeypatch, payload):
    """Once, with its topic; the others are shown."""
    result, _ = listed(monkeypatch, ("cascade/constraints/x", payload), ("cascade/constraints/global", constraint()))

    assert result.exit_code == 0
    assert messages.ids == ["observer.status.malformed"]
    assert messages.seen[0][2]["topic"] == "cascade/constraints/x"
    assert [one.scope for one in table.call_args.args[0]] == ["global"]


@pytest.mark.parametrize("where", ["connect", "subscribe", "disconnect"])
def test_a_broker_that_does_not_answer_is_said(messages, table, monkeypatch, where):
    """No table, an error message, exit code 1."""
    monkeypatch.setattr(observer, "MqttConnector", ConnectorThatNotes(**{where: OSError("no")}))
    result = invoke("status")

    assert result.exit_code == 1
    assert messages.seen == [
        ("error", "observer.startup.error", {"hostname": "localhost", "port": 1883, "error": "no"})
    ]
    table.assert_not_called()


@pytest.fixture
def database(tmp_path, monkeypatch):
    """The path of the database of the machine."""
    path = tmp_path / "control #1?.db"
    monkeypatch.setattr(observer, "DEFAULT_DB_PATH", str(path))
    return path


def test_status_reads_the_database(messages, table, database):
    """Every row, as it is; the file is not changed."""
    with sqlite3.connect(database) as made:
        made.execute(
            "CREATE TABLE constraints"
            " (id TEXT PRIMARY KEY, scope TEXT, type TEXT, params TEXT, expires_at REAL, updated_at REAL)"
        )
        made.execute("INSERT INTO constraints VALUES ('c', 'task:a', 'concurrency', '{\"limit\": 3}', 5.5, 1.0)")
    made.close()
    before = database.read_bytes()
    result = invoke("status", "--backend", "local")

    assert result.exit_code == 0
    table.assert_called_once_with([GlobalConstraint("c", "task:a", "concurrency", {"limit": 3}, 5.5)])
    assert database.read_bytes() == before


def test_status_opens_the_database_to_read_only(messages, table, database, monkeypatch):
    """So it cannot even finish what another process has left half-done."""
    database.touch()
    connect = mock.Mock(side_effect=sqlite3.OperationalError("stop"))
    monkeypatch.setattr("sqlite3.connect", connect)
    invoke("status", "--backend", "local")

    assert connect.call_args == mock.call(f"file:{quote(str(database))}?mode=ro", uri=True)


def test_a_database_of_a_newer_version_is_refused(messages, table, database):
    """Its table may mean something else."""
    with contextlib.closing(sqlite3.connect(database)) as made:
        made.execute("CREATE TABLE constraints (id, scope, type, params, expires_at)")
        made.execute("PRAGMA user_version = 999")
    result = invoke("status", "--backend", "local")

    assert result.exit_code == 1
    assert "newer version" in messages.seen[0][2]["error"]
    table.assert_not_called()


def test_status_makes_no_database(messages, table, database):
    """Where nobody has set a constraint there is none."""
    result = invoke("status", "--backend", "local")

    assert result.exit_code == 0
    table.assert_called_once_with([])
    assert not database.exists()


def test_rows_that_are_no_constraints_are_reported(messages, table, database):
    """The others are shown."""
    with contextlib.closing(sqlite3.connect(database)) as made:
        made.execute("CREATE TABLE constraints (id, scope, type, params, expires_at)")
        made.execute("INSERT INTO constraints VALUES ('a', 'task:a', 'pause', '{broken', NULL)")
        made.execute("INSERT INTO constraints VALUES ('b', 'task:b', 'pause', '{}', 'soon')")
        made.execute("INSERT INTO constraints VALUES ('c', 'task:c', 'pause', '{}', '5')")
        made.execute("INSERT INTO constraints VALUES (NULL, 5, x'00', NULL, NULL)")
        made.commit()
    result = invoke("status", "--backend", "local")

    assert result.exit_code == 0
    assert [data["topic"] for _, _, data in messages.seen] == [
        "cascade/constraints/task/a",
        "cascade/constraints/task/b",
        "cascade/constraints/5",
    ]
    assert messages.ids == ["observer.status.malformed"] * 3
    assert [one.scope for one in table.call_args.args[0]] == ["task:c"]


@pytest.mark.parametrize("content", [b"no database at all", b""])
def test_a_database_that_cannot_be_read_is_said(messages, table, database, content):
    """One error message that names the file; exit code 1."""
    database.write_bytes(content)
    result = invoke("status", "--backend", "local")

    assert result.exit_code == 1
    assert messages.ids == ["observer.status.database_error"]
    assert messages.seen[0][2]["path"] == str(database)
    table.assert_not_called()


# ---------------------------------------------------------------------------------------------------------- the process


def test_main_without_a_library_says_how_to_get_it(monkeypatch, capsys):
    """One line that names typer or rich and the remedy; exit code 1."""
    from cascade.cli.observer import rendering

    with monkeypatch.context() as patch:
        patch.setattr(observer, "app", None)
        first = observer.main()
    monkeypatch.setattr(rendering, "rich", None)
    second = observer.main()
    lines = capsys.readouterr().err.splitlines()

    assert (first, second) == (1, 1)
    assert lines == [
        "cs-observer: needs the 'typer' library: pip install 'cascade-hot[cli]'",
        "cs-observer: RichCliRenderer needs the 'rich' library: pip install 'cascade-hot[cli]'",
    ]

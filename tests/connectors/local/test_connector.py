"""The connector for one machine: a table, Unix sockets, and topics within the process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sqlite3
import stat
import subprocess
import sys
import time

import pytest

from cascade.connectors.errors import ControlDatabaseError
from cascade.connectors.local import LocalConnector
from cascade.connectors.local import connector as module
from cascade.connectors.local.connector import UDSServerProtocol
from tests.connectors.inbox import Inbox, constraint, open_files, other_tasks, until

ALL = "cascade/constraints/#"
PAUSE = constraint("global", "pause")
LIMIT = constraint("global", "concurrency", limit=2)
API = constraint("task:api_*", "rate_limit", expires_at=4e9, rate="5/s")
GLOBAL, TASK = "cascade/constraints/global", "cascade/constraints/task/api_*"


@pytest.fixture
def make(tmp_path):
    """Makes connectors with the same settings, as engines and controllers of one machine have."""
    return lambda: LocalConnector(str(tmp_path / "c.db"), str(tmp_path / "c.sock"), str(tmp_path / "t.sock"))


def stored(connector):
    with sqlite3.connect(connector.db_path) as other:
        found = other.execute("SELECT id, scope, type, params, expires_at FROM constraints ORDER BY id").fetchall()
    other.close()
    return found


# ------------------------------------------------------------------------------------------------------------ control


def test_defaults_lie_in_the_home_and_the_shared_temporary_directory(monkeypatch, tmp_path):
    """Making a connector touches nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    connector = LocalConnector()

    assert str(connector.db_path) == str(tmp_path / ".cascade" / "control.db")
    assert os.path.basename(connector.uds_path) == "cascade.sock"
    assert os.path.basename(connector.telemetry_uds_path) == "cascade-telemetry.sock"
    assert (connector.uds_path, connector.telemetry_uds_path) == (
        module.DEFAULT_UDS_PATH,
        module.DEFAULT_TELEMETRY_UDS_PATH,
    )
    assert (connector._conn, connector._telemetry_server, connector._is_connected) == (None, None, False)
    assert module.POLL_INTERVAL == 0.2
    assert os.listdir(tmp_path) == []


def test_scopes_and_topics_convert_both_ways(make):
    """``task:a`` is ``…/task/a``."""
    assert make()._scope_to_topic("task:api_*") == TASK
    assert make()._topic_to_scope(TASK) == "task:api_*"


@pytest.mark.row(
    "07-connectors-and-telemetry",
    'LocalConnector(db_path="~/.cascade/control.db", uds_path=…, telemetry_uds_path=…)',
    "publish to cascade/constraints/…, payload",
)
@pytest.mark.row("07-connectors-and-telemetry", "Protocol", "cascade/constraints/<scope, ':' → '/'>")
def test_a_published_constraint_is_stored_by_its_id_and_listeners_are_told(make):
    """Another engine hears of it through the file, in every field."""

    async def main():
        async with make() as engine, make() as controller:
            inbox = Inbox()
            await engine.subscribe(ALL, inbox)
            await controller.publish(TASK, API, qos=1, retain=True)
            await inbox.wait_for(1)
            await controller.publish(TASK, {**API, "params": {"rate": "1/s"}}, retain=True)
            await inbox.wait_for(2)
            return inbox.seen, stored(engine)

    seen, rows = asyncio.run(main())

    assert seen == [(TASK, API), (TASK, {**API, "params": {"rate": "1/s"}})]
    assert rows == [("rate_limit-task:api_*", "task:api_*", "rate_limit", '{"rate": "1/s"}', 4e9)]


@pytest.mark.row(
    "07-connectors-and-telemetry",
    'LocalConnector(db_path="~/.cascade/control.db", uds_path=…, telemetry_uds_path=…)',
    "same, empty payload",
)
@pytest.mark.parametrize("empty", [{}, ""])
def test_an_empty_payload_deletes_the_scope(make, empty):
    """All types of it; listeners get ``{}`` once; other scopes stay."""

    async def main():
        async with make() as engine, make() as controller:
            for topic, payload in ((GLOBAL, PAUSE), (GLOBAL, LIMIT), (TASK, API)):
                await controller.publish(topic, payload)
            inbox = Inbox()
            await engine.subscribe(ALL, inbox)
            await controller.publish(GLOBAL, empty, retain=True)
            await inbox.wait_for(4)
            return inbox.seen[3:], stored(engine)

    seen, rows = asyncio.run(main())

    assert seen == [(GLOBAL, {})]
    assert [row[0] for row in rows] == ["rate_limit-task:api_*"]


@pytest.mark.row(
    "07-connectors-and-telemetry",
    'LocalConnector(db_path="~/.cascade/control.db", uds_path=…, telemetry_uds_path=…)',
    "subscribe",
)
def test_stored_constraints_are_delivered_first(make):
    """To every subscriber all that match, before ``subscribe`` returns; then changes and deletions."""

    async def main():
        async with make() as connector:
            for topic, payload in ((GLOBAL, PAUSE), (GLOBAL, LIMIT), (TASK, API)):
                await connector.publish(topic, payload)
            inboxes = [Inbox() for _ in range(5)]
            for filter_, inbox in zip([ALL, ALL, GLOBAL, "+/+/task/#", "signals/#"], inboxes, strict=True):
                await connector.subscribe(filter_, inbox)
            first = [list(inbox.seen) for inbox in inboxes]
            await connector.publish(GLOBAL, {})
            await connector.publish(TASK, {})
            for inbox, number in zip(inboxes, (5, 5, 3, 2, 0), strict=True):
                await inbox.wait_for(number)
            return first, [inbox.seen for inbox in inboxes]

    first, then = asyncio.run(main())
    everything = [(GLOBAL, PAUSE), (GLOBAL, LIMIT), (TASK, API)]

    assert first == [everything, everything, everything[:2], everything[2:], []]
    assert sorted(then[0][3:]) == [(GLOBAL, {}), (TASK, {})]
    assert then[2][2:] == [(GLOBAL, {})]
    assert then[3][1:] == [(TASK, {})]
    assert then[4] == []


def test_a_scope_that_loses_one_constraint_is_told_again(make):
    """Somebody else deletes one row: what remains comes after the ``{}`` that lifts all."""

    async def main():
        async with make() as connector:
            await connector.publish(GLOBAL, PAUSE)
            await connector.publish(GLOBAL, LIMIT)
            inbox = Inbox()
            await connector.subscribe(ALL, inbox)
            connector._conn.execute("DELETE FROM constraints WHERE type = 'pause'")
            await connector._sync_and_notify(inbox)
            return inbox.seen[2:]

    assert asyncio.run(main()) == [(GLOBAL, {}), (GLOBAL, LIMIT)]


def test_the_table_can_be_told_to_anybody(make):
    """A callback that has not subscribed gets all there is."""

    async def main():
        async with make() as connector:
            await connector.publish(GLOBAL, PAUSE)
            inbox = Inbox()
            await connector._sync_and_notify(inbox)
            return inbox.seen

    assert asyncio.run(main()) == [(GLOBAL, PAUSE)]


def test_changes_arrive_well_before_the_polling_interval(make):
    """The socket wakes, so what polling takes does not matter."""

    async def main():
        async with make() as engine, make() as controller:
            inbox = Inbox()
            await engine.subscribe(ALL, inbox)
            begin = time.monotonic()
            await controller.publish(GLOBAL, PAUSE)
            await inbox.wait_for(1)
            return time.monotonic() - begin, engine._use_polling

    duration, polls = asyncio.run(main())

    assert duration < module.POLL_INTERVAL
    assert polls is False


def test_without_unix_sockets_the_table_is_polled(make, monkeypatch):
    """Changes arrive all the same, and no socket is made."""
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.01)

    async def main():
        monkeypatch.delattr(socket, "AF_UNIX")
        async with make() as engine, make() as controller:
            inbox = Inbox()
            await engine.subscribe(ALL, inbox)
            await controller.publish(GLOBAL, PAUSE)
            await controller.publish("cascade/telemetry/o/p/r/events", {})
            await inbox.wait_for(1)
            return engine._use_polling, engine._telemetry_server, sorted(os.listdir(engine.db_path.parent))

    assert asyncio.run(main()) == (True, None, ["c.db", "c.db-shm", "c.db-wal"])


def test_a_writer_that_wakes_nobody_is_noticed(make, monkeypatch):
    """Somebody has opened the file with a tool of their own."""
    monkeypatch.setattr(module, "SAFETY_INTERVAL", 0.01)

    async def main():
        async with make() as engine:
            inbox = Inbox()
            await engine.subscribe(ALL, inbox)
            with sqlite3.connect(engine.db_path) as other:
                other.execute("INSERT INTO constraints VALUES ('p', 'global', 'pause', '{}', NULL, 1.0)")
            other.close()
            return await inbox.wait_for(1)

    assert asyncio.run(main()) == [(GLOBAL, {**PAUSE, "id": "p"})]


def test_signals_come_from_datagrams_whatever_they_say():
    """The protocol sets the event it was given."""
    event = asyncio.Event()
    UDSServerProtocol(event).datagram_received(b"anything", None)

    assert event.is_set()


# ---------------------------------------------------------------------------------------------------- telemetry, rest


@pytest.mark.row(
    "07-connectors-and-telemetry",
    'LocalConnector(db_path="~/.cascade/control.db", uds_path=…, telemetry_uds_path=…)',
    "publish to cascade/telemetry/…",
)
def test_telemetry_goes_to_observers(make):
    """A line of JSON for each; dropped where nobody observes; subscribers are no observers."""

    async def main():
        connector = await make().connect()
        inbox = Inbox()
        await connector.subscribe("#", inbox)
        await connector.publish("cascade/telemetry/o/p/r/events", {"n": 0})
        reader, writer = await asyncio.open_unix_connection(connector.telemetry_uds_path)
        await until(lambda: connector._telemetry_server._observers)
        await connector.publish("cascade/telemetry/o/p/r/events", {"n": 1})
        await connector.disconnect()
        text = await reader.read()
        writer.close()
        return text, inbox.seen

    text, seen = asyncio.run(main())

    assert [json.loads(line) for line in text.splitlines()] == [{"n": 1}]
    assert seen == []


@pytest.mark.row(
    "07-connectors-and-telemetry",
    'LocalConnector(db_path="~/.cascade/control.db", uds_path=…, telemetry_uds_path=…)',
    "publish elsewhere",
)
@pytest.mark.row("07-connectors-and-telemetry", "Protocol", "any other")
def test_other_topics_reach_the_subscribers_of_this_process(make, tmp_path):
    """Those that match, of every connector at the same file; none at another one."""

    async def main():
        stranger = LocalConnector(str(tmp_path / "d.db"), str(tmp_path / "c.sock"), str(tmp_path / "t.sock"))
        async with make() as sender, make() as receiver, stranger:
            inboxes = [Inbox() for _ in range(4)]
            await sender.subscribe("signals/+", inboxes[0])
            handle = await receiver.subscribe("signals/go", inboxes[1])
            await receiver.subscribe("signals/stop", inboxes[2])
            await stranger.subscribe("#", inboxes[3])
            await sender.publish("signals/go", {"n": 1}, retain=True)
            await inboxes[0].wait_for(1)
            await inboxes[1].wait_for(1)
            late = Inbox()
            await receiver.subscribe("signals/#", late)
            await handle.unsubscribe()
            await sender.publish("signals/go", {"n": 2})
            await inboxes[0].wait_for(2)
            return [inbox.seen for inbox in (*inboxes, late)]

    one, two = ("signals/go", {"n": 1}), ("signals/go", {"n": 2})

    assert asyncio.run(main()) == [[one, two], [one], [], [], [one, two]]


# ------------------------------------------------------------------------------------------------------------ sharing


def test_two_engines_do_not_steal_each_other_s_sockets(make):
    """Both hear of every change, before and after one of them has gone, and each serves its observers."""

    async def main():
        first, second, controller = [await make().connect() for _ in range(3)]
        inboxes = Inbox(), Inbox()
        await first.subscribe(ALL, inboxes[0])
        await second.subscribe(ALL, inboxes[1])
        await controller.publish(GLOBAL, PAUSE)
        for inbox in inboxes:
            await inbox.wait_for(1)
        sockets = [name for name in os.listdir(first.db_path.parent) if ".sock" in name]
        modes = {stat.S_IMODE(os.lstat(first.db_path.parent / name).st_mode) for name in sockets}
        await first.disconnect()
        begin = time.monotonic()
        await controller.publish(GLOBAL, {})
        await inboxes[1].wait_for(2)
        duration = time.monotonic() - begin
        await second.disconnect()
        await controller.disconnect()
        return sockets, modes, duration, os.listdir(first.db_path.parent)

    sockets, modes, duration, left = asyncio.run(main())

    assert len(sockets) == 5  # three for telemetry, and two that listen: a controller needs none
    assert modes == {0o600}
    assert duration < module.POLL_INTERVAL
    assert left == ["c.db"]


def test_a_controller_in_another_process_is_heard(make, tmp_path):
    """That is what the file and the socket are for."""
    program = (
        "import asyncio, sys\n"
        "from cascade.connectors.local import LocalConnector\n"
        "async def main():\n"
        "    async with LocalConnector(*sys.argv[1:4]) as controller:\n"
        f"        await controller.publish({GLOBAL!r}, {PAUSE!r}, retain=True)\n"
        "asyncio.run(main())\n"
    )

    async def main():
        async with make() as engine:
            inbox = Inbox()
            await engine.subscribe(ALL, inbox)
            paths = [str(engine.db_path), engine.uds_path, engine.telemetry_uds_path]
            await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, *paths], check=True)
            return await inbox.wait_for(1)

    assert asyncio.run(main()) == [(GLOBAL, PAUSE)]


def test_connecting_and_disconnecting_leaves_nothing_behind(make):
    """Again and again, in one loop after the other; no task, no file, no socket stays."""
    connector = make()

    async def main():
        assert await connector.connect() is connector
        assert await connector.connect() is connector
        inbox = Inbox()
        await connector.subscribe(ALL, inbox)
        await connector.subscribe("#", inbox)
        await connector.publish(GLOBAL, PAUSE)
        await inbox.wait_for(1)
        await connector.disconnect()
        await connector.disconnect()
        await asyncio.sleep(0)
        return other_tasks(), connector._conn, connector._telemetry_server

    before = open_files()
    for _ in range(3):
        assert asyncio.run(main()) == (set(), None, None)

    assert open_files() == before
    assert os.listdir(connector.db_path.parent) == ["c.db"]


def test_unsubscribing_ends_the_deliveries(make):
    """One callback of two; also from within the callback."""

    async def main():
        async with make() as connector:
            leaving, staying, seen = Inbox(), Inbox(), []
            handle = await connector.subscribe(ALL, leaving)
            await connector.subscribe(ALL, staying)

            async def once(topic, payload):
                seen.append(payload)
                await own.unsubscribe()

            own = await connector.subscribe(ALL, once)
            await connector.publish(GLOBAL, PAUSE)
            await leaving.wait_for(1)
            await until(lambda: own.is_over)
            await handle.unsubscribe()
            await connector.publish(GLOBAL, LIMIT)
            await staying.wait_for(2)
            await until(lambda: len(other_tasks()) == 2)  # the watcher and the listener of who stays
            return leaving.seen, seen

    assert asyncio.run(main()) == ([(GLOBAL, PAUSE)], [PAUSE])


def test_one_that_is_not_connected_says_so(make):
    """Before ``connect`` and after ``disconnect``."""

    async def main():
        connector = make()
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"not connected: call connect\(\) before publish"):
                await connector.publish(GLOBAL, PAUSE)
            with pytest.raises(RuntimeError, match=r"not connected: call connect\(\) before subscribe"):
                await connector.subscribe(ALL, Inbox())
            await connector.connect()
            await connector.disconnect()

    asyncio.run(main())


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("where", ["missing", "too long"])
def test_a_socket_directory_that_cannot_be_written_is_reported_once(where, tmp_path, monkeypatch, caplog):
    """One line that says what follows; the table is polled."""
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.01)
    folder = tmp_path / ("missing" if where == "missing" else "x" * 150)
    paths = [str(tmp_path / "c.db"), str(folder / "c.sock"), str(folder / "t.sock")]

    async def main():
        async with LocalConnector(*paths) as engine, LocalConnector(*paths) as controller:
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                await engine.disconnect()
                await engine.connect()
                inbox = Inbox()
                await engine.subscribe(ALL, inbox)
                await engine.publish("cascade/telemetry/o/p/r/events", {})
                await controller.publish(GLOBAL, PAUSE)
                await inbox.wait_for(1)
            return engine._use_polling

    with caplog.at_level(logging.WARNING):
        connector = LocalConnector(*paths)
        asyncio.run(connector.connect())
        asyncio.run(connector.disconnect())

    (record,) = caplog.records
    assert paths[2] in record.getMessage()
    assert "telemetry_uds_path in a directory that you may write to" in record.getMessage()
    assert asyncio.run(main()) is True
    assert caplog.records == []


def test_a_control_socket_that_cannot_be_made_is_reported(tmp_path, monkeypatch, caplog):
    """Where only that one fails, telemetry is served."""
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.01)

    async def main():
        paths = [str(tmp_path / "c.db"), str(tmp_path / "missing" / "c.sock"), str(tmp_path / "t.sock")]
        async with LocalConnector(*paths) as engine:
            inbox = Inbox()
            await engine.subscribe(ALL, inbox)
            await engine.publish(GLOBAL, PAUSE)
            await inbox.wait_for(1)
            return engine._use_polling, engine._telemetry_server is not None

    assert asyncio.run(main()) == (True, True)
    assert ["c.sock" in record.getMessage() for record in caplog.records] == [True]


def test_a_database_of_a_newer_version_is_a_typed_error_and_nothing_stays_open(make, tmp_path):
    """Connecting fails with it; once the file is fit, the same connector connects."""
    connector = make()

    def set_version(number):
        with sqlite3.connect(connector.db_path) as other:
            other.execute(f"PRAGMA user_version = {number}")
        other.close()

    async def main():
        await connector.connect()
        await connector.disconnect()
        return other_tasks()

    set_version(999)
    before = open_files()
    with pytest.raises(ControlDatabaseError, match="newer version"):
        asyncio.run(main())
    assert open_files() == before
    set_version(1)

    assert asyncio.run(main()) == set()


def test_a_payload_that_is_no_constraint_is_the_publisher_s_error(make):
    """Subscribers hear nothing, and of the next one all."""

    async def main():
        async with make() as connector:
            inbox = Inbox()
            await connector.subscribe(ALL, inbox)
            with pytest.raises(ValueError, match="'type', 'params'"):
                await connector.publish(GLOBAL, {"id": "x", "scope": "global"})
            await connector.publish(GLOBAL, PAUSE)
            return await inbox.wait_for(1)

    assert asyncio.run(main()) == [(GLOBAL, PAUSE)]


def test_a_table_that_breaks_is_reported_once_and_watched_on(make, monkeypatch, caplog):
    """What is in force stays; when the table is there again, changes arrive."""
    monkeypatch.setattr(module, "SAFETY_INTERVAL", 0.001)

    async def main():
        async with make() as connector:
            inbox = Inbox()
            await connector.subscribe(ALL, inbox)
            connector._conn.execute("ALTER TABLE constraints RENAME TO away")
            await until(lambda: caplog.records)
            for _ in range(3):
                await asyncio.sleep(0.01)
            connector._conn.execute("ALTER TABLE away RENAME TO constraints")
            await connector.publish(GLOBAL, PAUSE)
            return await inbox.wait_for(1)

    assert asyncio.run(main()) == [(GLOBAL, PAUSE)]
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "constraints cannot be read, those in force stay"
    ]


def test_a_failing_callback_is_logged_and_gets_what_follows(make, caplog):
    """Neither publisher nor other subscribers notice."""

    async def main():
        async with make() as connector:
            inbox, seen = Inbox(), []

            async def fail(topic, payload):
                seen.append(topic)
                raise ValueError("no")

            await connector.publish(GLOBAL, PAUSE)
            await connector.subscribe("#", fail)
            await connector.subscribe("#", inbox)
            await connector.publish("signals/x", {})
            await inbox.wait_for(2)
            await until(lambda: len(seen) == 2)
            return seen

    assert asyncio.run(main()) == [GLOBAL, "signals/x"]
    assert [record.getMessage() for record in caplog.records] == [
        f"callback for {GLOBAL} failed: ValueError: no",
        "callback for signals/x failed: ValueError: no",
    ]

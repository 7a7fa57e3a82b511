"""Engines with connectors: control of what runs, telemetry of all of it, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time

import pytest

import cascade as cs
from cascade.connectors.local import LocalBusConnector, LocalConnector
from cascade.connectors.mqtt import MqttConnector
from cascade.runtime.events import RunFinished, TaskBlocked, TaskExecutionStarted
from cascade.runtime.subscribers import HumanReadableLogSubscriber, TelemetrySubscriber
from tests.connectors.inbox import Inbox, constraint, open_files, other_tasks, until
from tests.engines import make_engine, names_of, watch

TELEMETRY = "cascade/telemetry/#"


@pytest.fixture(autouse=True)
def empty_broker():
    """An empty broker before and after."""
    LocalBusConnector._reset_broker_state()
    yield
    LocalBusConnector._reset_broker_state()


@pytest.fixture(params=["bus", "local", "mqtt"])
def make(request, tmp_path):
    """Makes connectors that reach each other."""
    if request.param == "bus":
        return LocalBusConnector
    if request.param == "local":
        paths = [str(tmp_path / name) for name in ("c.db", "c.sock", "t.sock")]
        return lambda: LocalConnector(*paths)
    pytest.importorskip("aiomqtt", reason="needs aiomqtt: pip install 'cascade-hot[mqtt]'")
    broker = request.getfixturevalue("broker")
    return lambda: MqttConnector(broker.host, broker.port)


async def publish(make, *messages):
    """What a controller does: connects, publishes, disconnects."""
    controller = make()
    await controller.connect()
    for scope, payload in messages:
        await controller.publish("cascade/constraints/" + scope.replace(":", "/"), payload, retain=True)
    await controller.disconnect()


@cs.task
def countdown(n):
    """A loop that runs hot."""
    return countdown(n - 1) if n else "end"


@cs.task
def forever(n=0):
    """A loop that ends when somebody says so."""
    return "stopped" if stop.is_set() else forever(n + 1)


@cs.task
def work(n):
    """One of many."""
    return n


@cs.task
def total(numbers):
    """What many come to."""
    return sum(numbers)


stop = threading.Event()


@pytest.fixture(autouse=True)
def not_stopped():
    """Loops go on."""
    stop.clear()
    yield
    stop.set()


# ----------------------------------------------------------------------------------------------------------- control


def test_a_pause_stops_a_hot_loop_and_a_resume_lets_it_go_on(make):
    """While it runs, through the connector; it is announced once as blocked."""

    async def main():
        engine = make_engine(connector=make())
        blocked = watch(engine, TaskBlocked)
        running = asyncio.create_task(engine.run(forever()))
        await until(lambda: engine.stats.hot > 100)
        await publish(make, ("task:forever", constraint("task:forever", "pause")))
        await until(lambda: blocked)
        steps = engine.stats.nodes
        await asyncio.sleep(0.02)
        assert engine.stats.nodes == steps
        await publish(make, ("task:forever", {}))
        await until(lambda: engine.stats.nodes > steps + 100)
        stop.set()
        return await running, len(blocked), other_tasks()

    assert asyncio.run(main()) == ("stopped", 1, set())


def test_constraints_that_are_there_are_in_force_before_the_first_task(make):
    """Several types of one scope, published one after the other by controllers that have gone."""

    async def main():
        await publish(make, ("task:work", constraint("task:work", "concurrency", limit=1)))
        await publish(make, ("task:work", constraint("task:work", "rate_limit", rate="1000/s")))
        await publish(make, ("global", constraint("global", "pause", expires_at=time.time() + 0.5)))
        engine = make_engine(connector=make())
        seen = watch(engine, TaskBlocked, TaskExecutionStarted)
        running = asyncio.create_task(engine.run(total([work(n) for n in range(3)])))
        await until(lambda: seen)
        found = sorted((one.scope, one.type) for one in engine.constraint_manager._constraints.values())
        return await running, names_of(seen)[0], found

    value, first, found = asyncio.run(main())

    assert value == 3
    assert first == "TaskBlocked work"
    assert found == [("global", "pause"), ("task:work", "concurrency"), ("task:work", "rate_limit")]


def test_what_was_lifted_between_two_runs_is_not_in_force_in_the_second(make):
    """Nobody was there to hear of it; a run begins with what the connector says. What the program set stays."""

    async def main():
        engine = make_engine(connector=make())
        own = constraint("task:other", "pause")
        await engine._on_constraint_update("cascade/constraints/task/other", own)
        engine._told.clear()
        for scope in ("task:work", "task:b"):
            await publish(make, (scope, constraint(scope, "pause", expires_at=time.time() + 60)))
        assert await engine.run(countdown(3)) == "end"
        await publish(make, ("task:work", {}))
        assert await engine.run(total([work(1)])) == 1
        return sorted(engine.constraint_manager._constraints)

    assert asyncio.run(main()) == ["pause-task:b", "pause-task:other"]


def test_runs_of_one_engine_at_the_same_time_share_the_connector(make):
    """The one that ends first does not disconnect the other; each is told of the connection; the last disconnects."""

    async def main():
        connector = make()
        engine = make_engine(connector=connector)
        seen = watch(engine)
        long = asyncio.create_task(engine.run(forever()))
        await until(lambda: engine.stats.hot > 100)
        assert await engine.run(countdown(3)) == "end"
        await publish(make, ("task:forever", constraint("task:forever", "pause")))
        await until(lambda: "TaskBlocked forever" in names_of(seen))
        await publish(make, ("task:forever", {}))
        stop.set()
        await long
        names = names_of(seen)
        return names.count("ConnectorConnected"), names.count("ConnectorDisconnected"), engine._link, other_tasks()

    assert asyncio.run(main()) == (2, 2, None, set())


@pytest.mark.parametrize(
    "payload",
    [
        {"scope": "global", "type": "pause", "params": {}},
        {"id": "x", "scope": 7, "type": "pause", "params": {}},
        {"id": [], "scope": "global", "type": "pause", "params": {}},
        {"id": "x", "scope": "global", "type": "pause", "params": None},
        {"id": "x", "scope": "global", "type": "pause", "params": {}, "expires_at": "soon"},
        {"id": "x", "scope": "global", "type": "pause", "params": {}, "expires_at": float("nan")},
        {"id": "x", "scope": "global", "type": "concurrency", "params": {"limit": "many"}},
        [1, 2],
    ],
)
def test_a_malformed_constraint_is_reported_once_and_disturbs_nothing(payload, capsys):
    """One line on standard error; what is in force stays, and the run goes on to its end."""

    async def main():
        engine = make_engine(connector=LocalBusConnector())
        running = asyncio.create_task(engine.run(forever()))
        await until(lambda: engine.stats.hot > 100)
        await publish(LocalBusConnector, ("task:x", constraint("task:x", "pause")), ("global", payload))
        await until(lambda: "Error" in "".join(lines()))
        stop.set()
        return await running, list(engine.constraint_manager._constraints)

    printed = []

    def lines():
        printed.extend(capsys.readouterr().err.splitlines())
        return printed

    assert asyncio.run(main()) == ("stopped", ["pause-task:x"])
    assert [line.startswith("[Engine] Error processing constraint on topic") for line in lines()] == [True]


def test_an_unknown_scope_or_type_holds_up_nobody(make):
    """A project's constraint, and a type that nobody handles."""

    async def main():
        await publish(
            make,
            ("project:x", constraint("project:x", "pause")),
            ("global", constraint("global", "colour", is_it="red")),
        )
        return await make_engine(connector=make()).run(total([work(2), work(3)]))

    assert asyncio.run(main()) == 5


# --------------------------------------------------------------------------------------------------------- telemetry


@pytest.mark.row("07-connectors-and-telemetry", "Protocol", "cascade/telemetry/<org>/<project>/<run id>/events")
@pytest.mark.parametrize("kind", ["bus", "mqtt"])
def test_all_messages_of_a_run_arrive_in_order(kind, request, monkeypatch):
    """``ENGINE_STARTED`` first, ``ENGINE_STOPPED`` last, the states of every task between, under the run's topic."""
    monkeypatch.setenv("CASCADE_ORG_ID", "acme")
    monkeypatch.setenv("CASCADE_PROJECT_ID", "rockets")
    broker = request.getfixturevalue("broker") if kind == "mqtt" else None
    make = LocalBusConnector if broker is None else lambda: MqttConnector(broker.host, broker.port)

    async def main():
        observer, inbox = make(), Inbox()
        await observer.connect()
        await observer.subscribe(TELEMETRY, inbox)
        engine = make_engine(connector=make())
        ended = watch(engine, RunFinished)
        engine.add_subscriber(TelemetrySubscriber(engine.bus, engine.connector))
        assert await engine.run(total([work(n) for n in range(3)])) == 3
        await inbox.wait_for(10)
        await observer.disconnect()
        return inbox.seen, ended[0].run_id

    seen, run_id = asyncio.run(main())
    bodies = [payload["body"] for _, payload in seen]

    assert {topic for topic, _ in seen} == {f"cascade/telemetry/acme/rockets/{run_id}/events"}
    assert [body.get("event") or f"{body['task_name']} {body['state']}" for body in bodies] == [
        "ENGINE_STARTED",
        *["work RUNNING", "work COMPLETED"] * 3,
        *["total RUNNING", "total COMPLETED"],
        "ENGINE_STOPPED",
    ]


def test_local_observers_see_the_end_of_a_run(tmp_path):
    """All messages leave before the connector is closed."""

    async def main():
        connector = LocalConnector(*(str(tmp_path / name) for name in ("c.db", "c.sock", "t.sock")))
        await connector.connect()
        reader, writer = await asyncio.open_unix_connection(connector.telemetry_uds_path)
        await until(lambda: connector._telemetry_server._observers)
        engine = make_engine(connector=connector)
        engine.add_subscriber(TelemetrySubscriber(engine.bus, connector))
        await engine.run(total([work(n) for n in range(100)]))
        text = await reader.read()
        writer.close()
        return [json.loads(line)["body"] for line in text.splitlines()]

    bodies = asyncio.run(main())

    assert len(bodies) == 204
    assert (bodies[0].get("event"), bodies[-1].get("event")) == ("ENGINE_STARTED", "ENGINE_STOPPED")


def test_a_run_that_is_cancelled_twice_still_disconnects(make):
    """No task stays."""

    async def main():
        connector = make()
        engine = make_engine(connector=connector)
        engine.add_subscriber(TelemetrySubscriber(engine.bus, connector))
        running = asyncio.create_task(engine.run(forever()))
        await until(lambda: engine.stats.hot > 100)
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        await until(lambda: not other_tasks())
        return running.cancelled()

    before = open_files()
    assert asyncio.run(main()) is True
    assert open_files() == before


# -------------------------------------------------------------------------------------------------------------- leaks


def test_many_runs_leave_nothing_behind(make, caplog):
    """Connector, subscribers and resources: no task, no file descriptor, no thread more after some than after few."""

    @cs.resource
    def tool():
        yield 1

    @cs.task
    def use(x=cs.inject("tool")):
        return x

    async def main(number):
        for _ in range(number):
            connector = make()
            engine = make_engine(connector=connector, resources=[tool], system_resources={"slot": 1})
            HumanReadableLogSubscriber(engine.bus)
            engine.add_subscriber(TelemetrySubscriber(engine.bus, connector))
            await engine.run(total([use().with_constraints(slot=1), work(1), use()]))
        assert other_tasks() == set()
        gc.collect()
        return open_files(), threading.active_count()

    async def all_of_them():
        # a thread pool may still grow, and the first run opens what stays open
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(asyncio.to_thread(time.sleep, 0.02))
        return await main(2), await main(4)

    few, many = asyncio.run(all_of_them())

    assert many == few
    assert caplog.records == []

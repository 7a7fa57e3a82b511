"""Connectors at length: crashes of the broker, engines side by side, a thousand runs."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import statistics
import threading
import time

import pytest

import cascade as cs
from cascade.connectors.local import LocalBusConnector, LocalConnector
from cascade.connectors.mqtt import connector as mqtt
from cascade.runtime.subscribers import HumanReadableLogSubscriber, TelemetrySubscriber
from tests.connectors.inbox import constraint, open_files, other_tasks, until
from tests.engines import make_engine

pytestmark = pytest.mark.slow

#: At full length with CASCADE_STRESS=1, as in ci/full; otherwise a fifth of it, to see that it works.
AT_LENGTH = bool(os.environ.get("CASCADE_STRESS"))
RUNS, TASKS, CRASHES = (1_000, 1_000, 10) if AT_LENGTH else (200, 200, 2)


@cs.task
def work(n):
    """One of many."""
    return n


@cs.task
def total(numbers):
    """What many come to."""
    return sum(numbers)


# ------------------------------------------------------------------------------------------------------------ crashes


def test_a_run_of_many_tasks_outlives_crashes_of_its_broker(broker):
    """It ends right, all telemetry of its tasks arrives, and no task or socket stays."""
    pytest.importorskip("aiomqtt", reason="needs aiomqtt: pip install 'cascade-hot[mqtt]'")
    from tests.connectors.outages import run_through_outages

    before = open_files()

    async def main():
        value, observer = await run_through_outages(broker, TASKS, CRASHES)
        return value, observer, other_tasks()

    value, observer, tasks = asyncio.run(main())

    assert value == sum(range(TASKS))
    assert observer.tasks_in("RUNNING") == observer.tasks_in("COMPLETED") == TASKS + 1
    assert observer.lifecycle == {"ENGINE_STARTED", "ENGINE_STOPPED"}
    assert tasks == set()
    assert open_files() == before


# ------------------------------------------------------------------------------------------------------- side by side


class Host:
    """The settings that all engines of a machine have."""

    def __init__(self, folder):
        self.paths = [str(folder / name) for name in ("c.db", "c.sock", "t.sock")]

    def engine(self):
        connector = LocalConnector(*self.paths)
        engine = make_engine(connector=connector)
        engine.add_subscriber(TelemetrySubscriber(engine.bus, connector))
        return engine


class Silent:
    """An observer that connects to every engine's socket and never reads."""

    def __init__(self, engines):
        self.sockets = []
        for engine in engines:
            (path,) = [engine.connector._telemetry_server._claim.path]
            self.sockets.append(socket.socket(socket.AF_UNIX))
            self.sockets[-1].connect(path)

    def close(self):
        for one in self.sockets:
            one.close()


async def seconds_of_two(host, is_watched):
    """How long two engines take for 1,000 tasks each, at the same time."""
    engines = [host.engine(), host.engine()]
    for engine in engines:
        await engine.connector.connect()
    silent = Silent(engines) if is_watched else None
    if silent is not None:
        await until(lambda: all(engine.connector._telemetry_server._observers for engine in engines))
    begin = time.perf_counter()
    values = await asyncio.gather(*(engine.run(total([work(n) for n in range(1000)])) for engine in engines))
    duration = time.perf_counter() - begin
    if silent is not None:
        silent.close()
    assert values == [sum(range(1000))] * 2
    return duration


def test_an_observer_that_never_reads_costs_two_engines_nothing(tmp_path):
    """As fast as with nobody there, but for what it costs to write the messages down."""
    host = Host(tmp_path)

    async def main():
        pairs = []
        for _ in range(9):
            pairs.append([await seconds_of_two(host, is_watched) for is_watched in (False, True)])
        return pairs, other_tasks()

    pairs, tasks = asyncio.run(main())
    alone, watched = (statistics.median(column) for column in zip(*pairs, strict=True))

    assert watched < 1.5 * alone + 0.05
    assert tasks == set()
    assert [name for name in os.listdir(tmp_path) if "sock" in name] == []


def test_engines_on_one_host_obey_and_report_each_for_itself(tmp_path):
    """A pause reaches both, one that ends leaves the other in reach, and each one's observer gets all of its run."""
    host = Host(tmp_path)

    async def main():
        engines = [host.engine(), host.engine()]
        controller = LocalConnector(*host.paths)
        await controller.connect()
        for engine in engines:
            await engine.connector.connect()
        silent = Silent(engines)
        readers = []
        for engine in engines:
            path = engine.connector._telemetry_server._claim.path
            readers.append(await asyncio.open_unix_connection(path, limit=1 << 24))
            await until(lambda server=engine.connector._telemetry_server: len(server._observers) == 2)
        await controller.publish("cascade/constraints/task/work", constraint("task:work", "pause"))
        target = total([work(n) for n in range(1000)])
        runs = [asyncio.create_task(engine.run(target)) for engine in engines]
        texts = [asyncio.create_task(reader.read()) for reader, _ in readers]
        for engine in engines:
            await until(lambda manager=engine.constraint_manager: manager.has_constraint("task:work", "pause"))
        await controller.publish("cascade/constraints/task/work", {})
        values = [await one for one in runs]
        lines = [len((await text).splitlines()) for text in texts]
        for _, writer in readers:
            writer.close()
        silent.close()
        await controller.disconnect()
        return values, lines, other_tasks()

    values, lines, tasks = asyncio.run(main())

    assert values == [sum(range(1000))] * 2
    assert [number >= 2004 for number in lines] == [True, True]
    assert tasks == set()


# -------------------------------------------------------------------------------------------------------------- leaks


@cs.resource
def tool():
    """Set up in every run."""
    yield 1


@cs.task
def use(x=cs.inject("tool")):
    """Needs it."""
    return x


def resident():
    """Bytes of memory that the process has."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def state():
    """What must not grow: files, threads, objects; and memory."""
    gc.collect()
    return open_files(), threading.active_count(), len(gc.get_objects()), resident()


def equipped(connector):
    """An engine with all there is."""
    engine = make_engine(connector=connector, resources=[tool], system_resources={"slot": 1})
    HumanReadableLogSubscriber(engine.bus)
    engine.add_subscriber(TelemetrySubscriber(engine.bus, connector))
    return engine


def target():
    """A few calls with a resource and a constraint."""
    return total([use().with_constraints(slot=1), work(2), use()])


@pytest.mark.parametrize("kind", ["bus", "local", "mqtt"])
@pytest.mark.parametrize("is_shared", [True, False], ids=["one engine", "an engine a run"])
def test_many_runs_leave_nothing_behind(kind, is_shared, tmp_path, request, monkeypatch):
    """Tasks, file descriptors, threads, objects and memory are after them what they were after the first hundred."""
    make = LocalBusConnector
    if kind == "local":
        make = lambda: LocalConnector(*Host(tmp_path).paths)  # noqa: E731
    elif kind == "mqtt":
        pytest.importorskip("aiomqtt", reason="needs aiomqtt: pip install 'cascade-hot[mqtt]'")
        broker = request.getfixturevalue("broker")
        monkeypatch.setattr(mqtt, "RETAINED_WAIT", 0.001)
        make = lambda: mqtt.MqttConnector(broker.host, broker.port)  # noqa: E731

    async def several(number):
        engine = equipped(make())
        for _ in range(number):
            assert await engine.run(target()) == 4
            if not is_shared:
                engine = equipped(make())
        del engine
        assert other_tasks() == set()
        return state()

    async def main():
        async with asyncio.TaskGroup() as group:  # the thread pool has its size from the beginning
            for _ in range(40):
                group.create_task(asyncio.to_thread(time.sleep, 0.01))
        return await several(RUNS // 10), await several(RUNS)

    first, last = asyncio.run(main())

    assert last[:2] == first[:2]
    assert last[2] - first[2] < 200
    assert last[3] - first[3] < 2_000_000

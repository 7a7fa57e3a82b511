"""A run with telemetry and changing constraints, whose broker is killed again and again."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from typing import Any

import aiomqtt

import cascade as cs
from cascade.connectors.mqtt import MqttConnector
from cascade.runtime.events import TaskBlocked, TaskExecutionFinished, TaskExecutionStarted
from cascade.runtime.subscribers import TelemetrySubscriber
from tests.connectors.inbox import constraint, until
from tests.engines import make_engine, watch

__all__ = ["run_through_outages"]

SCOPE = "task:piece"
TOPIC = "cascade/constraints/task/piece"


class Observer:
    """Keeps all telemetry; connects again whenever the broker is back.

    It is two clients. One has a session, in which the broker keeps what comes while it is away. But it confirms each
    message, which a dead broker answers with a reset, and then all it has not read is gone. The other confirms nothing,
    so it reads to the end what a broker has sent before it died.
    """

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self._connected = {0: False, 1: False}
        #: How often each state of each task was told.
        self.states: Counter[tuple[str, str]] = Counter()
        self.lifecycle: set[str] = set()

    @property
    def is_there(self) -> bool:
        return all(self._connected.values())

    async def observe(self) -> None:
        await asyncio.gather(self._observe(0, clean_session=True), self._observe(1, clean_session=False))

    async def _observe(self, qos: int, **options: Any) -> None:
        while True:
            with suppress(aiomqtt.MqttError):
                host, port = self._broker.host, self._broker.port
                async with aiomqtt.Client(host, port, identifier=f"observer{qos}", **options) as client:
                    await client.subscribe("cascade/telemetry/#", qos=qos)
                    self._connected[qos] = True
                    async for message in client.messages:
                        self._note(json.loads(message.payload)["body"])
            self._connected[qos] = False
            await asyncio.sleep(0.01)

    def _note(self, body: dict[str, Any]) -> None:
        if body["type"] == "LifecycleEvent":
            self.lifecycle.add(body["event"])
        else:
            self.states[body["task_id"], body["state"]] += 1

    def tasks_in(self, state: str) -> int:
        return sum(1 for _, found in self.states if found == state)


class Work:
    """So many tasks, each of which takes a moment and waits until it may end."""

    def __init__(self, number: int) -> None:
        self.ended = 0
        #: As many may end for now.
        self.quota = 0

        @cs.task
        async def piece(n: int) -> int:
            await asyncio.sleep(0.001)
            await until(lambda: self.ended < self.quota, 600)
            self.ended += 1
            return n

        @cs.task
        def total(numbers: list[int]) -> int:
            return sum(numbers)

        self.target = total([piece(n) for n in range(number)])


async def prepare(broker: Any, observer: Observer) -> asyncio.Task[None]:
    """Has the broker know the observer's session even after a crash."""
    watching = asyncio.create_task(observer.observe())
    await until(lambda: observer.is_there)
    broker.stop()
    await until(lambda: not observer.is_there)
    broker.start()
    await until(lambda: observer.is_there)
    return watching


async def tell(broker: Any, *payloads: Any) -> None:
    """What an operator does."""
    controller = MqttConnector(broker.host, broker.port)
    await controller.connect()
    for payload in payloads:
        await controller.publish(TOPIC, payload, retain=True)
    await controller.disconnect()


async def run_through_outages(broker: Any, number: int, outages: int) -> tuple[Any, Observer]:
    """Returns the run's value and what the observer has seen.

    After each crash an operator pauses the tasks, lifts the pause, and sets another limit, whether or not the engine
    has found back to the broker by then. Messages are on their way to the broker as it crashes; what it has confirmed
    has reached the observer before, since what dies with a broker is not the engine's to keep.
    """
    observer, work = Observer(broker), Work(number)
    watching = await prepare(broker, observer)
    await tell(broker, constraint(SCOPE, "concurrency", limit=4))
    connector = MqttConnector(broker.host, broker.port)
    engine = make_engine(connector=connector)
    told = watch(engine, TaskExecutionStarted, TaskExecutionFinished, TaskBlocked)
    engine.add_subscriber(TelemetrySubscriber(engine.bus, connector))
    running = asyncio.create_task(engine.run(work.target))
    in_force = engine.constraint_manager.has_constraint

    def is_observed() -> bool:
        outbox = connector._outbox
        states = {(event.task_id, type(event)) for event in told}
        return len(observer.states) + len(outbox._waiting) + len(outbox._sending) >= len(states)

    for outage in range(outages):
        work.quota = (2 * outage + 1) * number // (2 * outages + 2)
        await until(lambda: work.ended == work.quota)
        await until(is_observed, pause=0.05)
        work.quota = (outage + 1) * number // (outages + 1)
        await until(lambda before=work.ended: work.ended > before)
        await asyncio.to_thread(broker.kill)
        await asyncio.sleep(0.01)
        await asyncio.to_thread(broker.start)
        await tell(broker, constraint(SCOPE, "pause"))
        if outage % 2:
            await until(lambda: in_force(SCOPE, "pause"))
        await tell(broker, {}, constraint(SCOPE, "concurrency", limit=2 + outage % 3))
        await until(lambda: observer.is_there and not in_force(SCOPE, "pause"))
    work.quota = number
    value = await running
    await until(lambda: "ENGINE_STOPPED" in observer.lifecycle)
    watching.cancel()
    await asyncio.wait([watching])
    return value, observer

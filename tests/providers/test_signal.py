"""Waiting for messages, with connectors of several characters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest

import cascade as cs
from cascade.connectors.local.bus import LocalBusConnector
from cascade.connectors.mqtt import MqttConnector
from cascade.providers.signal import _recv_task
from tests.engines import make_engine, run

Callback = Callable[[str, Any], Awaitable[None]]


class Handle:
    def __init__(self, post: Post, entry: tuple[str, Callback]) -> None:
        self.post, self.entry = post, entry

    async def unsubscribe(self) -> None:
        self.post.subscriptions.remove(self.entry)


class Post:
    """A connector in memory; what it delivers when somebody subscribes is given, and wildcards are those of a shell."""

    def __init__(self, retained: dict[str, Any] | None = None) -> None:
        self.retained = retained or {}
        self.subscriptions: list[tuple[str, Callback]] = []
        self.subscribed = asyncio.Event()

    async def connect(self) -> None: ...

    async def disconnect(self) -> None: ...

    async def publish(self, topic: str, payload: Any, qos: int = 0, retain: bool = False) -> None:
        for pattern, callback in list(self.subscriptions):
            if fnmatchcase(topic, pattern):
                await callback(topic, payload)

    async def subscribe(self, topic: str, callback: Callback) -> Any:
        entry = (topic, callback)
        self.subscriptions.append(entry)
        for known, payload in self.retained.items():
            if fnmatchcase(known, topic):
                await callback(known, payload)
        if not topic.startswith("cascade/"):  # the engine subscribes to its constraints first
            self.subscribed.set()
        return self.handle(entry)

    def handle(self, entry: tuple[str, Callback]) -> Any:
        return Handle(self, entry)

    @property
    def waiting(self) -> list[str]:
        return [topic for topic, _ in self.subscriptions if not topic.startswith("cascade/")]


class Careless(Post):
    """Returns no handle, as connectors of users do."""

    def handle(self, entry: tuple[str, Callback]) -> Any:
        return None


class Plain(Post):
    """Returns handles whose ``unsubscribe`` is no coroutine function, as mocks of connectors do."""

    def handle(self, entry: tuple[str, Callback]) -> Any:
        handle = Handle(self, entry)
        handle.unsubscribe = lambda: self.subscriptions.remove(entry)  # type: ignore[assignment, method-assign, return-value]
        return handle


async def receive(post: Post, *messages: tuple[str, Any], topic: str = "door", timeout: float | None = None) -> Any:
    """Runs ``recv`` and publishes messages once it has subscribed."""
    running = asyncio.create_task(make_engine(connector=post).run(cs.recv(topic, timeout=timeout)))
    await post.subscribed.wait()
    for message in messages:
        await post.publish(*message)
    return await running


@pytest.mark.row("06-providers", "Built-in providers", "recv")
@pytest.mark.parametrize("kind", [Post, Careless])
def test_first_message_is_the_result(kind: type[Post]) -> None:
    """Of several messages on the topic the first one counts, and others do not matter."""

    async def scenario() -> Any:
        return await receive(kind(), ("window", {"n": 0}), ("door", {"n": 1}), ("door", {"n": 2}))

    assert _recv_task.name == "recv"
    assert asyncio.run(scenario()) == {"n": 1}


def test_topic_may_have_wildcards() -> None:
    """What a topic matches is the connector's business."""

    async def scenario() -> Any:
        return await receive(Post(), ("house/door", {"n": 1}), topic="house/*")

    assert asyncio.run(scenario()) == {"n": 1}


def test_retained_message_counts() -> None:
    """A message that is delivered while subscribing is there in time, whatever the timeout."""

    async def scenario() -> Any:
        return await receive(Post({"door": {"open": True}}), timeout=0)

    assert asyncio.run(scenario()) == {"open": True}


@pytest.mark.parametrize("payload", [{}, None, [1], "text"])
def test_payload_is_passed_on_as_it_is(payload: Any) -> None:
    """An empty payload is a message too."""

    async def scenario() -> Any:
        return await receive(Post(), ("door", payload))

    assert asyncio.run(scenario()) == payload


@pytest.mark.row("06-providers", "Built-in providers", "recv")
def test_timeout_names_topic_and_time() -> None:
    """Without a message in time the task fails with a TimeoutError."""

    async def scenario() -> Any:
        return await receive(Post(), topic="front/door", timeout=0.01)

    with pytest.raises(asyncio.TimeoutError, match=r"'front/door'.*0\.01"):
        asyncio.run(scenario())


@pytest.mark.parametrize("ending", ["message", "timeout", "cancelled"])
def test_it_always_unsubscribes(ending: str) -> None:
    """However the task ends, its subscription does."""

    async def scenario() -> None:
        post = Post()
        target = cs.recv("door", 0.01 if ending == "timeout" else None)
        running = asyncio.create_task(make_engine(connector=post).run(target))
        await post.subscribed.wait()
        assert post.waiting == ["door"]
        if ending == "message":
            await post.publish("door", 1)
        if ending == "cancelled":
            running.cancel()
        await asyncio.wait([running])
        assert post.waiting == []

    asyncio.run(scenario())


@pytest.mark.row("06-providers", "Built-in providers", "recv")
def test_without_a_connector_the_error_says_what_to_give() -> None:
    """The run fails, and the text names ``connector``."""
    with pytest.raises(NameError, match=r"this run has no connector; give it one: cascade.run\(..., connector=...\)"):
        run(cs.recv("door"))


def test_signals_in_a_loop() -> None:
    """An agent that receives at each step gets each message once it listens; topic and timeout may be lazy."""

    @cs.task
    def listen(left: int, heard: list[Any]) -> Any:
        return listen(left - 1, append(heard, cs.recv(cs.format("door/{}", left), timeout=delay()))) if left else heard

    @cs.task
    def append(heard: list[Any], message: Any) -> list[Any]:
        return [*heard, message]

    @cs.task
    def delay() -> float:
        return 60.0

    async def scenario() -> Any:
        post = Post({f"door/{n}": n for n in range(10)})
        engine = make_engine(connector=post)
        value = await engine.run(listen(6, []))
        assert post.waiting == []
        return value, engine.stats.hot

    value, hot = asyncio.run(scenario())

    assert value == [6, 5, 4, 3, 2, 1]
    assert hot >= 4


# -------------------------------------------------------------------------------------- the connectors of the package


async def retained(publisher: Any, connector: Any) -> list[Any]:
    """Has one connector leave a message with its broker, and receives it through the other, by name and by wildcard."""
    await publisher.connect()
    await publisher.publish("house/front/door", {"open": True}, retain=True)
    await publisher.disconnect()
    engine = make_engine(connector=connector)
    topics = ["house/front/door", "house/+/door", "house/#"]

    return [await engine.run(cs.recv(topic, timeout=30)) for topic in topics]


def test_broker_within_the_process() -> None:
    """The local bus delivers what it retains, for exact topics and wildcards, and no subscription is left."""
    assert asyncio.run(retained(LocalBusConnector(), LocalBusConnector())) == [{"open": True}] * 3
    assert not LocalBusConnector._wildcard_subscriptions
    assert not any(topic.startswith("house") for topic in LocalBusConnector._exact_subscriptions)
    asyncio.run(LocalBusConnector().publish("house/front/door", {}, retain=True))


def test_broker_on_the_network(broker: Any) -> None:
    """So does a real MQTT broker, which runs one after the other may use."""
    pytest.importorskip("aiomqtt", reason="aiomqtt is not installed: the extra is called mqtt")
    one, other = (MqttConnector(broker.host, broker.port) for _ in range(2))

    assert asyncio.run(retained(one, other)) == [{"open": True}] * 3


def test_a_handle_that_has_not_to_be_awaited_is_enough() -> None:
    """It is called all the same."""

    async def main() -> None:
        post = Plain()
        assert await receive(post, ("door", 1)) == 1
        assert post.waiting == []

    asyncio.run(main())

"""The MQTT connector and the library beneath it, which is replaced here; test_broker.py has a real broker."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import socket
import sys
from unittest.mock import AsyncMock, MagicMock

import pytest

import cascade.connectors.mqtt.connector as module
from tests.connectors.inbox import Inbox, open_files, other_tasks, until


@pytest.fixture(autouse=True)
def restored():
    """The module as it is with the real library, after each test."""
    yield
    importlib.reload(module)


def replace(monkeypatch, library):
    """Swaps the library, and loads the module again."""
    monkeypatch.setitem(sys.modules, "aiomqtt", library)
    importlib.reload(module)
    monkeypatch.setattr(module, "RETAINED_WAIT", 0.001)


@pytest.fixture
def client():
    """The client that the library makes."""
    made = AsyncMock()
    made.__aenter__.return_value = made
    made.messages = Messages()
    return made


@pytest.fixture
def library(monkeypatch, client):
    """A library of mocks."""
    replaced = MagicMock()
    replaced.Client.return_value = client
    replace(monkeypatch, replaced)
    return replaced


class Messages:
    """What arrives: the messages given, then an end, or nothing for ever."""

    def __init__(self, *messages, ends=False):
        self.messages = list(messages)
        self.ends = ends

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.messages:
            return self.messages.pop(0)
        if self.ends:
            raise StopAsyncIteration
        await asyncio.Event().wait()


def message(topic, payload, retain=False):
    return MagicMock(topic=MagicMock(value=topic), payload=payload, retain=retain)


def test_the_library_is_needed_when_a_connector_is_made(monkeypatch):
    """Without it, the constructor says what to install; importing the module works."""
    replace(monkeypatch, None)

    assert module.aiomqtt is None
    with pytest.raises(ImportError, match=r"(?s)'aiomqtt' library is required.*pip install 'cascade-hot\[mqtt\]'"):
        module.MqttConnector("localhost")


@pytest.mark.row("07-connectors-and-telemetry", "Protocol", "cascade/status/<host>-<pid>")
def test_connect_enters_a_client_with_a_last_will(library, client):
    """Once, however often it is called; with the options given."""

    async def main():
        connector = module.MqttConnector("host", 1884, username="u")
        await connector.connect()
        await connector.connect()
        assert connector._client is client
        await connector.disconnect()
        return connector, other_tasks()

    connector, tasks = asyncio.run(main())
    source = f"{socket.gethostname()}-{os.getpid()}"

    assert (connector.hostname, connector.port, connector.client_kwargs) == ("host", 1884, {"username": "u"})
    assert connector._source_id == source
    library.Will.assert_called_once_with(f"cascade/status/{source}", '{"status": "offline"}')
    library.Client.assert_called_once_with(hostname="host", port=1884, will=library.Will.return_value, username="u")
    client.__aenter__.assert_awaited_once()
    client.__aexit__.assert_awaited_once_with(None, None, None)
    assert connector._client is None
    assert tasks == set()


def test_disconnecting_what_is_not_connected_does_nothing(library, client):
    """Nor does it twice."""

    async def main():
        connector = module.MqttConnector("host")
        await connector.disconnect()
        await connector.connect()
        await connector.disconnect()
        await connector.disconnect()

    asyncio.run(main())

    client.__aexit__.assert_awaited_once()


def test_connecting_that_fails_names_the_broker(library, client):
    """The library's own error comes out, and connecting can be tried again."""
    client.__aenter__.side_effect = [OSError("refused"), client]

    async def main():
        connector = module.MqttConnector("host", 1)
        with pytest.raises(OSError, match="refused") as caught:
            await connector.connect()
        assert connector._client is None
        await connector.connect()
        await connector.disconnect()
        return caught.value.__notes__

    assert asyncio.run(main()) == ["while connecting to the MQTT broker at host:1"]


@pytest.mark.parametrize(
    "payload, text",
    [
        ({"a": [1, "ü"]}, '{"a": [1, "\\u00fc"]}'),
        ("as it is", "as it is"),
        (b"bytes", b"bytes"),
        ([1], "[1]"),
        ({}, "{}"),
    ],
)
def test_publish_returns_at_once_and_sends_json_in_the_background(library, client, payload, text):
    """A dict as JSON, text unchanged; the client is called as soon as the loop turns."""
    gate = asyncio.Event()

    async def wait(*args, **options):
        await gate.wait()

    client.publish.side_effect = wait

    async def main():
        connector = module.MqttConnector("host")
        await connector.connect()
        await connector.publish("a/b", payload, qos=1)
        client.publish.assert_not_called()
        await asyncio.sleep(0)
        client.publish.assert_called_once_with("a/b", payload=text, qos=1, retain=False)
        gate.set()
        await connector.disconnect()

    asyncio.run(main())


@pytest.mark.parametrize(
    "topic, payload, text",
    [
        ("a", {}, ""),
        ("a", "", ""),
        ("cascade/constraints/global", {}, "{}"),
        ("cascade/constraints/global", "", "{}"),
    ],
)
def test_an_empty_retained_message_deletes(library, client, topic, payload, text):
    """No bytes delete what a broker retains; of constraints an empty one stays, for those who were away."""

    async def main():
        connector = module.MqttConnector("host")
        await connector.connect()
        await connector.publish(topic, payload, retain=True)
        await connector.disconnect()

    asyncio.run(main())

    client.publish.assert_awaited_once_with(topic, payload=text, qos=0, retain=True)


def test_messages_are_sent_before_disconnect_completes(library, client):
    """In order, also those whose sending takes a while."""
    sent = []

    async def send(topic, **options):
        await asyncio.sleep(0.002)
        sent.append(topic)

    client.publish.side_effect = send
    client.__aexit__.side_effect = lambda *args: sent.append("left")

    async def main():
        connector = module.MqttConnector("host")
        await connector.connect()
        for n in range(50):
            await connector.publish(str(n), {})
        await connector.disconnect()

    asyncio.run(main())

    assert sent == [*map(str, range(50)), "left"]


def test_a_message_that_is_handed_over_can_be_changed_later(library, client):
    """It was written down at once."""

    async def main():
        connector = module.MqttConnector("host")
        await connector.connect()
        payload = {"n": 1}
        await connector.publish("t", payload)
        payload["n"] = 2
        await connector.disconnect()

    asyncio.run(main())

    assert client.publish.await_args.kwargs["payload"] == '{"n": 1}'


def test_publishing_while_not_connected_warns_and_sends_nothing(library, client, caplog):
    """Before, and after."""

    async def main():
        connector = module.MqttConnector("host")
        await connector.publish("t", {})
        await connector.connect()
        await connector.disconnect()
        await connector.publish("t", {})

    asyncio.run(main())

    client.publish.assert_not_called()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "not connected to an MQTT broker: message to t is not sent")
    ] * 2


@pytest.mark.parametrize("fails", ["writing", "sending"])
def test_a_message_that_cannot_be_sent_is_logged_only(library, client, caplog, fails):
    """The next is sent."""
    client.publish.side_effect = [ValueError("no"), None] if fails == "sending" else None

    async def main():
        connector = module.MqttConnector("host")
        await connector.connect()
        await connector.publish("t", {"x": object()} if fails == "writing" else {})
        await connector.publish("u", {})
        await connector.disconnect()

    asyncio.run(main())

    assert client.publish.await_args.args == ("u",)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "message to t was not sent" in caplog.text


def test_subscribe_registers_the_callback_and_asks_the_broker(library, client):
    """What arrives is decoded: JSON, nothing as ``{}``; what is no JSON is logged and dropped."""
    arriving = [
        message("a/1", b'{"n": 1}'),
        message("b", b'{"n": 2}'),
        message("a/2", b""),
        message("a/3", b"no json"),
        message("a/4", b"\xff"),
        message("a/5", b"[" * 100_000),
        message("a/6", b"7"),
    ]

    async def main():
        connector = module.MqttConnector("host")
        await connector.connect()
        inbox = Inbox()
        handle = await connector.subscribe("a/+", inbox)
        assert list(connector._subscriptions) == ["a/+"]
        client.subscribe.assert_awaited_once_with("a/+")
        connector._client.messages = Messages(*arriving, ends=True)
        await connector._message_loop()
        await handle.unsubscribe()
        await connector.disconnect()
        return inbox.seen

    assert asyncio.run(main()) == [("a/1", {"n": 1}), ("a/2", {}), ("a/6", 7)]
    client.unsubscribe.assert_awaited_once_with("a/+")


def test_unreadable_messages_are_reported(library, client, caplog):
    """Each one; a retained one once, however often the broker repeats it."""
    arriving = [message("a", b"?"), message("a", b"?"), *[message("b", b"?", retain=True)] * 2]

    async def main():
        connector = module.MqttConnector("host")
        await connector.connect()
        connector._client.messages = Messages(*arriving, ends=True)
        await connector._message_loop()
        await connector.disconnect()

    asyncio.run(main())

    assert [record.getMessage() for record in caplog.records] == [
        f"message on {topic} is not JSON and was dropped: b'?'" for topic in "aab"
    ]


def test_several_callbacks_of_a_topic(library, client):
    """All are called; who unsubscribes is not, and the broker is told when the last has."""

    async def main():
        connector = module.MqttConnector("host")
        await connector.connect()
        inboxes = [Inbox(), Inbox(), Inbox()]
        handles = [await connector.subscribe("t", inboxes[0]), await connector.subscribe("t", inboxes[1])]
        await connector.subscribe("#", inboxes[2])
        for n in range(3):
            connector._client.messages = Messages(message("t", json.dumps({"n": n})), ends=True)
            await connector._message_loop()
            if n < 2:
                await handles[n].unsubscribe()
                assert client.unsubscribe.await_count == n
        await connector.disconnect()
        return [[payload["n"] for _, payload in inbox.seen] for inbox in inboxes]

    assert asyncio.run(main()) == [[0], [0, 1], [0, 1, 2]]


def test_a_failing_callback_is_logged(library, client, caplog):
    """It gets the next message, as do the others."""

    async def main():
        connector = module.MqttConnector("host")
        await connector.connect()
        inbox = Inbox()

        async def fail(topic, payload):
            raise ValueError("no")

        await connector.subscribe("t", fail)
        await connector.subscribe("t", inbox)
        connector._client.messages = Messages(message("t", b"1"), message("t", b"2"), ends=True)
        await connector._message_loop()
        await connector.disconnect()
        return inbox.seen

    assert asyncio.run(main()) == [("t", 1), ("t", 2)]
    assert [record.getMessage() for record in caplog.records] == ["callback for t failed: ValueError: no"] * 2


def test_a_subscription_that_the_client_refuses_is_the_caller_s_error(library, client):
    """Nothing stays registered."""
    client.subscribe.side_effect = ValueError("Invalid topic")

    async def main():
        connector = module.MqttConnector("host")
        with pytest.raises(RuntimeError, match="not connected"):
            await connector.subscribe("t", Inbox())
        await connector.connect()
        with pytest.raises(ValueError, match="Invalid topic"):
            await connector.subscribe("t", Inbox())
        assert connector._subscriptions == {}
        await connector.disconnect()
        return other_tasks()

    assert asyncio.run(main()) == set()


def test_subscribing_that_is_cancelled_leaves_nothing(library, client):
    """No registration, no task."""

    async def main():
        connector = module.MqttConnector("host")
        await connector.connect()
        module.RETAINED_WAIT = 60
        subscribing = asyncio.create_task(connector.subscribe("t", Inbox()))
        await asyncio.sleep(0.005)
        subscribing.cancel()
        await asyncio.wait([subscribing])
        assert connector._subscriptions == {}
        await connector.disconnect()
        return other_tasks()

    assert asyncio.run(main()) == set()


@pytest.mark.parametrize("cancels", [True, False], ids=["cancelled", "timed out"])
def test_connecting_in_vain_leaves_nothing_behind(cancels):
    """With a broker that takes the connection and then says nothing, neither tasks nor sockets stay in the loop."""
    importlib.reload(module)

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as silent:
            before = open_files()
            connector = module.MqttConnector("127.0.0.1", silent.getsockname()[1], timeout=0.2)
            connecting = asyncio.create_task(connector.connect())
            if cancels:
                await until(lambda: len(open_files()) > len(before))
                connecting.cancel()
            with pytest.raises(asyncio.CancelledError if cancels else module.aiomqtt.MqttError):
                await connecting
            await connector.disconnect()
            await until(lambda: not other_tasks())
            return before, open_files()

    before, after = asyncio.run(main())

    assert len(after) == len(before)

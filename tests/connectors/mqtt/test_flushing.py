"""Whether messages that were handed over have left."""

from __future__ import annotations

import asyncio

import pytest

from cascade.connectors.mqtt import MqttConnector
from tests.servers import Broker

pytest.importorskip("aiomqtt", reason="needs aiomqtt: pip install 'cascade-hot[mqtt]'")


def test_what_was_flushed_is_with_the_broker(broker: Broker) -> None:
    """Another client finds it there, although the first has not disconnected; flushing nothing is fine."""

    async def scenario() -> None:
        first, second = MqttConnector(broker.host, broker.port), MqttConnector(broker.host, broker.port)
        found: list[object] = []

        async def take(topic: str, payload: object) -> None:
            found.append(payload)

        await first.connect()
        await first.flush()
        for number in range(100):
            await first.publish(f"t/{number}", {"n": number}, qos=1, retain=True)
        await first.flush()
        await second.connect()
        await second.subscribe("t/#", take)
        await second.disconnect()
        await first.disconnect()

        assert sorted(one["n"] for one in found) == list(range(100))  # type: ignore[index]

    asyncio.run(scenario())


def test_what_cannot_be_flushed_is_given_up(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typed error that counts the messages; disconnecting does not wait for them again; nothing stays behind."""
    monkeypatch.setattr("cascade.connectors.mqtt.connector.PATIENCE", 3600.0)

    async def scenario() -> None:
        connector = MqttConnector(broker.host, broker.port)
        await connector.connect()
        broker.kill()
        await connector.publish("t", {"n": 1}, qos=1)
        await connector.publish("t", {"n": 2}, qos=1)
        with pytest.raises(ConnectionError, match="not taken 2 message"):
            await connector.flush(patience=0.5)
        async with asyncio.timeout(60):
            await connector.disconnect()

        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def test_a_connector_may_be_used_after_it_was_connected_again(broker: Broker) -> None:
    """What was given up before is not held against it."""

    async def scenario() -> None:
        connector = MqttConnector(broker.host, broker.port)
        await connector.connect()
        broker.kill()
        await connector.publish("t", {"n": 1}, qos=1)
        with pytest.raises(ConnectionError):
            await connector.flush(patience=0.2)
        await connector.disconnect()
        broker.start()
        await connector.connect()
        await connector.publish("t", {"n": 2}, qos=1)
        await connector.flush()
        await connector.disconnect()

    asyncio.run(scenario())

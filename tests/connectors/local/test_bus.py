"""The broker within the process."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from cascade.connectors.local import LocalBusConnector
from cascade.connectors.local import bus as bus_module
from tests.connectors.inbox import Inbox, constraint, other_tasks

LIMIT = constraint("global", "concurrency", limit=1)
RATE = constraint("global", "rate_limit", rate="1/s")
TOPIC = "cascade/constraints/global"


@pytest.fixture(autouse=True)
def empty_broker():
    """An empty broker before and after."""
    LocalBusConnector._reset_broker_state()
    yield
    LocalBusConnector._reset_broker_state()


@pytest.fixture
def messages(monkeypatch):
    """Stands for the message bus."""
    monkeypatch.setattr(bus_module, "bus", Mock())
    return bus_module.bus


def test_instances_share_one_broker_without_being_connected():
    """What one publishes another gets, in order, exact and wildcard subscriptions alike."""

    async def main():
        sender, receiver = LocalBusConnector(), LocalBusConnector()
        exact, wild = Inbox(), Inbox()
        await receiver.subscribe("a/b", exact)
        await receiver.subscribe("a/#", wild)
        for n in range(3):
            await sender.publish("a/b", {"n": n})
        await sender.publish("a/c", {"n": 3})
        await wild.wait_for(4)
        await receiver.disconnect()
        return exact.seen, wild.seen

    exact, wild = asyncio.run(main())

    assert exact == [("a/b", {"n": n}) for n in range(3)]
    assert wild == [*exact, ("a/c", {"n": 3})]


def test_retained_messages_are_delivered_during_subscribe():
    """Before it returns, and each topic's last one only."""

    async def main():
        connector, inbox = LocalBusConnector(), Inbox()
        await connector.publish("s/1", {"n": 1}, retain=True)
        await connector.publish("s/1", {"n": 2}, retain=True)
        await connector.publish("s/2", {"n": 3})
        await connector.subscribe("s/+", inbox)
        seen = list(inbox.seen)
        await connector.disconnect()
        return seen

    assert asyncio.run(main()) == [("s/1", {"n": 2})]


@pytest.mark.parametrize("empty", [{}, ""])
@pytest.mark.parametrize("topic", ["s/1", TOPIC])
def test_an_empty_retained_message_deletes_and_is_delivered(empty, topic):
    """Those there get ``{}``, those who come later nothing."""

    async def main():
        connector, there, late = LocalBusConnector(), Inbox(), Inbox()
        await connector.publish(topic, LIMIT, retain=True)
        await connector.subscribe(topic, there)
        await connector.publish(topic, empty, retain=True)
        await there.wait_for(2)
        await connector.subscribe(topic, late)
        await connector.disconnect()
        return there.seen, late.seen

    assert asyncio.run(main()) == ([(topic, LIMIT), (topic, {})], [])
    assert LocalBusConnector._retained_messages == {}


def test_several_types_of_one_scope_are_retained():
    """A rate limit does not hide a concurrency limit from late subscribers."""

    async def main():
        connector, there, late = LocalBusConnector(), Inbox(), Inbox()
        await connector.subscribe("cascade/constraints/#", there)
        await connector.publish(TOPIC, LIMIT, retain=True)
        await connector.publish(TOPIC, RATE, retain=True)
        await connector.subscribe("cascade/constraints/#", late)
        await there.wait_for(2)
        await connector.disconnect()
        return there.seen, late.seen

    both = [(TOPIC, LIMIT), (TOPIC, RATE)]

    assert asyncio.run(main()) == (both, both)


def test_everybody_gets_a_copy():
    """Neither the publisher nor another subscriber can change what was published."""

    async def main():
        connector, inbox = LocalBusConnector(), Inbox()

        async def spoil(topic, payload):
            payload["list"].append("spoilt")

        await connector.subscribe("t", spoil)
        await connector.subscribe("t", inbox)
        payload = {"list": [1]}
        await connector.publish("t", payload, retain=True)
        payload["list"].append("later")
        await inbox.wait_for(1)
        late = Inbox()
        await connector.subscribe("t", spoil)
        await connector.subscribe("t", late)
        await connector.disconnect()
        return inbox.seen + late.seen

    assert asyncio.run(main()) == [("t", {"list": [1]})] * 2


def test_after_disconnect_nothing_is_sent_and_nothing_subscribed():
    """Publishing does nothing, subscribing is an error, and ``connect`` opens it again."""

    async def main():
        connector, other, inbox = LocalBusConnector(), LocalBusConnector(), Inbox()
        await other.subscribe("t", inbox)
        await connector.disconnect()
        await connector.publish("t", {"n": 1}, retain=True)
        with pytest.raises(RuntimeError, match="not connected"):
            await connector.subscribe("t", inbox)
        await connector.connect()
        await connector.publish("t", {"n": 2})
        await inbox.wait_for(1)
        await other.disconnect()
        return inbox.seen

    assert asyncio.run(main()) == [("t", {"n": 2})]
    assert LocalBusConnector._retained_messages == {}


def test_leaving_removes_the_queues_and_tasks():
    """By ``unsubscribe`` one's own, by ``disconnect`` all of the instance; others stay."""

    async def main():
        leaving, staying, inbox = LocalBusConnector(), LocalBusConnector(), Inbox()
        handle = await leaving.subscribe("t", inbox)
        await leaving.subscribe("t", inbox)
        await leaving.subscribe("w/#", inbox)
        await staying.subscribe("t", inbox)
        assert len(leaving._listener_tasks) == 3
        await handle.unsubscribe()
        counts = [len(LocalBusConnector._exact_subscriptions["t"])]
        await leaving.disconnect()
        counts += [len(LocalBusConnector._exact_subscriptions["t"]), len(LocalBusConnector._wildcard_subscriptions)]
        await staying.disconnect()
        return counts, leaving._listener_tasks, other_tasks()

    assert asyncio.run(main()) == ([2, 1, 0], [], set())
    assert not LocalBusConnector._exact_subscriptions


def test_a_failing_callback_is_reported(messages):
    """By one message id for retained deliveries and another for later ones; the others are delivered to."""

    async def main():
        connector, inbox = LocalBusConnector(), Inbox()

        async def fail(topic, payload):
            raise ValueError("no")

        await connector.publish("t", {"n": 1}, retain=True)
        await connector.subscribe("t", fail)
        await connector.subscribe("t", inbox)
        await connector.publish("t", {"n": 2})
        await inbox.wait_for(2)
        await connector.disconnect()

    asyncio.run(main())

    assert [(call.args, call.kwargs) for call in messages.error.call_args_list] == [
        (("localbus.retained_callback_error",), {"topic": "t", "error": "no"}),
        (("localbus.callback_error",), {"topic": "t", "error": "no"}),
    ]


def test_it_works_in_one_event_loop_after_the_other():
    """Who died with a loop without leaving is forgotten, and harms nobody."""
    connector = LocalBusConnector()

    async def die():
        await connector.subscribe("t", Inbox())

    async def live():
        other, inbox = LocalBusConnector(), Inbox()
        async with LocalBusConnector._get_lock():
            await other.subscribe("t", inbox)
        await connector.publish("t", {"n": 1})
        await inbox.wait_for(1)
        await other.disconnect()
        return inbox.seen

    asyncio.run(die())

    assert asyncio.run(live()) == asyncio.run(live()) == [("t", {"n": 1})]
    assert not LocalBusConnector._exact_subscriptions


def test_the_broker_can_be_emptied():
    """Subscriptions and retained messages are gone."""

    async def main():
        connector, inbox = LocalBusConnector(), Inbox()
        await connector.publish("t", {"n": 1}, retain=True)
        await connector.subscribe("t", inbox)
        LocalBusConnector._reset_broker_state()
        await connector.publish("t", {"n": 2})
        await asyncio.sleep(0)
        await connector.disconnect()
        return inbox.seen

    assert asyncio.run(main()) == [("t", {"n": 1})]

"""Messages on their way to one callback."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cascade.connectors._subscription import Subscription
from tests.connectors.inbox import other_tasks


class Errors(list):
    """What was reported."""

    def __call__(self, topic, error):
        self.append((topic, str(error)))


async def left(subscription):
    """Nothing to do when a subscriber leaves."""


def test_messages_arrive_in_order_whatever_each_takes():
    """The next is delivered when the callback has returned."""
    seen = []

    async def callback(topic, payload):
        await asyncio.sleep(0.003 / payload["n"])
        seen.append(payload["n"])

    async def main():
        subscription = Subscription("t", callback, Errors(), left)
        subscription.start()
        for n in (1, 2, 3):
            subscription.put("t", {"n": n})
        await subscription.settle()
        await subscription.unsubscribe()

    asyncio.run(main())

    assert seen == [1, 2, 3]


def test_a_failing_callback_is_reported_and_gets_the_next_message():
    """A failure is told, never fatal."""
    errors, seen = Errors(), []

    async def callback(topic, payload):
        seen.append(payload)
        raise ValueError(f"bad {payload}")

    async def main():
        subscription = Subscription("t", callback, errors, left)
        subscription.start()
        subscription.put("t", 1)
        subscription.put("t", 2)
        await subscription.settle()
        await subscription.unsubscribe()

    asyncio.run(main())

    assert seen == [1, 2]
    assert errors == [("t", "bad 1"), ("t", "bad 2")]


def test_unsubscribing_ends_the_deliveries_and_leaves_no_task():
    """What is still on its way is dropped; leaving twice is leaving once."""
    seen, times = [], []

    async def callback(topic, payload):
        seen.append(payload)
        await asyncio.Event().wait()

    async def leave(subscription):
        times.append(1)

    async def main():
        subscription = Subscription("t", callback, Errors(), leave)
        subscription.start()
        subscription.put("t", 1)
        subscription.put("t", 2)
        await asyncio.sleep(0)
        await subscription.unsubscribe()
        await subscription.unsubscribe()
        return other_tasks()

    assert asyncio.run(main()) == set()
    assert seen == [1]
    assert times == [1]


def test_a_callback_may_unsubscribe_itself():
    """It runs to its end, and is not called again."""
    seen = []

    async def main():
        async def callback(topic, payload):
            await subscription.unsubscribe()
            await asyncio.sleep(0)
            seen.append(payload)

        subscription = Subscription("t", callback, Errors(), left)
        subscription.start()
        subscription.put("t", 1)
        subscription.put("t", 2)
        await asyncio.wait([subscription.task])

    asyncio.run(main())

    assert seen == [1]


def test_another_thread_may_publish():
    """The callback runs in the loop that subscribed."""
    seen = []

    async def main():
        arrived = asyncio.Event()

        async def callback(topic, payload):
            seen.append(threading.get_ident())
            arrived.set()

        subscription = Subscription("t", callback, Errors(), left)
        subscription.start()
        await asyncio.to_thread(subscription.put, "t", {})
        await arrived.wait()
        await subscription.unsubscribe()

    asyncio.run(main())

    assert seen == [threading.get_ident()]


def test_a_cancelled_unsubscribe_ends_the_delivery_all_the_same():
    """Its caller is gone, and a second call would do nothing."""

    async def never(_):
        await asyncio.Event().wait()

    async def main():
        subscription = Subscription("t", left, Errors(), never)
        subscription.start()
        await asyncio.sleep(0)
        leaving = asyncio.create_task(subscription.unsubscribe())
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        return subscription.task.cancelled(), other_tasks()

    assert asyncio.run(main()) == (True, set())

"""Messages on their way to a broker."""

from __future__ import annotations

import asyncio

import pytest

from cascade.connectors.mqtt import _outbox
from cascade.connectors.mqtt._outbox import Letter, Outbox


class Gone(Exception):
    """The connection failed."""


class Line:
    """Stands for a connection: messages wait until they are let through, refused or broken."""

    def __init__(self):
        self.tried = []
        self.sent = []
        self.waiting = {}
        self.outbox = Outbox(self.send, lambda error: isinstance(error, Gone))

    async def send(self, letter):
        self.tried.append(letter.topic)
        future = self.waiting[letter.topic] = asyncio.get_running_loop().create_future()
        await future
        self.sent.append(letter.topic)

    def put(self, *topics):
        for topic in topics:
            self.outbox.put(Letter(topic, ""))

    def end(self, topic, error=None):
        future = self.waiting.pop(topic)
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


def test_messages_are_sent_in_order_and_several_wait_at_a_time(monkeypatch):
    """Up to the window; the next starts when one is confirmed."""
    monkeypatch.setattr(_outbox, "WINDOW", 2)

    async def main():
        line = Line()
        line.put("a", "b", "c")
        await turn()
        first = list(line.tried)
        line.end("b")
        await turn()
        line.end("a")
        line.end("c")
        return first, line.tried, await line.outbox.drain(5)

    assert asyncio.run(main()) == (["a", "b"], ["a", "b", "c"], 0)


def test_what_was_on_its_way_when_the_connection_broke_is_sent_again_in_order(monkeypatch):
    """What was confirmed is not; what waited, and what came later, comes later."""
    monkeypatch.setattr(_outbox, "WINDOW", 3)

    async def main():
        line = Line()
        line.put("a", "b", "c", "d")
        await turn()
        line.end("a")
        await turn()
        line.put("e")
        line.outbox.hold()
        line.put("f")
        await turn()
        held = list(line.tried)
        line.outbox.release()
        await turn()
        for topic in "bcdef":
            line.end(topic)
            await turn()
        left = await line.outbox.drain(5)
        return held, line.tried[4:], line.sent, left

    assert asyncio.run(main()) == (list("abcd"), list("bcdef"), list("abcdef"), 0)


def test_one_that_was_confirmed_at_the_moment_of_the_break_is_not_sent_again():
    """Its task is done, though nobody has noticed yet."""

    async def main():
        line = Line()
        line.put("a", "b")
        await turn()
        line.end("a")
        await asyncio.sleep(0)  # the task ends; its callback comes later
        line.outbox.hold()
        line.outbox.release()
        await turn()
        line.end("b")
        return await line.outbox.drain(5), line.tried

    assert asyncio.run(main()) == (0, ["a", "b", "b"])


def test_a_refusal_that_may_pass_is_tried_again_after_a_pause(monkeypatch):
    """Together with what was sent after it, so that the order stays."""
    monkeypatch.setattr(_outbox, "PAUSE", 0.0)

    async def main():
        line = Line()
        line.put("a", "b")
        await turn()
        line.end("a", Gone())
        await turn()
        line.end("a")
        line.end("b")
        return await line.outbox.drain(5), line.tried, line.sent

    assert asyncio.run(main()) == (0, ["a", "b", "a", "b"], ["a", "b"])


def test_a_pause_does_not_outlast_a_lost_connection(monkeypatch):
    """While the connection is away, the end of the pause sends nothing."""
    monkeypatch.setattr(_outbox, "PAUSE", 0.0)

    async def main():
        line = Line()
        line.put("a")
        await turn()
        line.end("a", Gone())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        line.outbox.hold()
        await asyncio.sleep(0.002)
        return line.tried

    assert asyncio.run(main()) == ["a"]


@pytest.mark.parametrize("error, attempts", [(ValueError("bad topic"), 1), (Gone("again"), 3)])
def test_a_message_that_is_to_blame_is_given_up_and_reported_once(error, attempts, monkeypatch, caplog):
    """The others are sent."""
    monkeypatch.setattr(_outbox, "PAUSE", 0.0)
    monkeypatch.setattr(_outbox, "ATTEMPTS", 3)

    async def main():
        line = Line()
        line.put("a")
        for _ in range(attempts):
            await turn()
            await asyncio.sleep(0.002)
            line.end("a", error)
        line.put("b")
        await turn()
        line.end("b")
        return await line.outbox.drain(5), line.tried

    assert asyncio.run(main()) == (0, ["a"] * attempts + ["b"])
    assert [record.getMessage() for record in caplog.records] == [
        f"message to a was not sent: {type(error).__name__}: {error}"
    ]


def test_a_constraint_is_sent_alone():
    """It reads before it writes, and nothing may overtake it."""

    async def main():
        line = Line()
        line.put("a")
        line.outbox.put(Letter("c", {"id": "x"}, retain=True))
        line.put("b")
        steps = []
        for topic in "acb":
            await turn()
            steps.append(list(line.waiting))
            line.end(topic)
        return steps, await line.outbox.drain(5)

    assert asyncio.run(main()) == ([["a"], ["c"], ["b"]], 0)


def test_draining_ends_when_nothing_moves():
    """It tells how many are left."""

    async def main():
        line = Line()
        line.put("a", "b")
        left = await line.outbox.drain(0.01)
        line.outbox.hold()
        await turn()
        return left

    assert asyncio.run(main()) == 2


def test_the_oldest_are_given_up_where_a_broker_is_away_for_too_long(monkeypatch, caplog):
    """Memory has an end; how many were lost is said once, when it is back."""
    monkeypatch.setattr(_outbox, "LIMIT", 2)

    async def main():
        line = Line()
        line.outbox.hold()
        line.put("a", "b", "c", "d")
        line.outbox.release()
        await turn()
        line.end("c")
        line.end("d")
        return await line.outbox.drain(5), line.sent

    assert asyncio.run(main()) == (0, ["c", "d"])
    assert [record.getMessage() for record in caplog.records] == [
        "MQTT broker was away for too long: 2 of the oldest messages were given up"
    ]

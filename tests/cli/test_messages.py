"""What shows the messages of a command, and what happens when nobody reads them."""

from __future__ import annotations

import asyncio

import pytest

from cascade.cli._messages import shown_by
from cascade.common.messaging import MessageBus, MessageStore


class Notes:
    """A renderer that notes ids, until its reader has left."""

    def __init__(self):
        self.seen = []
        self.has_left = False

    def render(self, msg_id, level, **data):
        if self.has_left:
            raise BrokenPipeError
        self.seen.append(msg_id)


def test_the_renderer_is_there_for_a_while():
    """Then whatever was there before is back, also after an error."""
    bus, before, meanwhile = MessageBus(MessageStore()), Notes(), Notes()
    bus.set_renderer(before)
    with shown_by(meanwhile, bus):
        bus.info("one")
    with pytest.raises(LookupError), shown_by(meanwhile, bus):
        raise LookupError
    bus.info("two")

    assert (before.seen, meanwhile.seen) == (["two"], ["one"])


def test_a_reader_who_leaves_ends_the_command():
    """No part of it that reports errors takes that for one; what it prints by other ways counts as well."""
    bus, gone = MessageBus(MessageStore()), Notes()
    gone.has_left = True

    def say():
        try:
            bus.info("one")
        except Exception:
            pytest.fail("taken for an error of what was done")

    with pytest.raises(SystemExit) as by_message, shown_by(gone, bus):
        say()
    with pytest.raises(SystemExit) as otherwise, shown_by(gone, bus):
        raise BrokenPipeError

    assert by_message.value.code == otherwise.value.code == 1


def test_a_reader_who_leaves_ends_what_waits_in_an_event_loop():
    """A callback that cannot show its message ends the loop, and what waits there is cancelled and cleans up."""
    bus, gone, done = MessageBus(MessageStore()), Notes(), []

    async def deliver():
        gone.has_left = True
        bus.info("one")

    async def watch():
        delivery = asyncio.create_task(deliver())
        try:
            await asyncio.Event().wait()
        finally:
            done.append("disconnected")
            delivery.cancel()

    with pytest.raises(SystemExit), shown_by(gone, bus):
        asyncio.run(watch())

    assert done == ["disconnected"]

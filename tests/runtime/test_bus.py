"""The event bus: order, bases, failing handlers, subscriptions during delivery."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from cascade.runtime.bus import MessageBus, for_failures
from cascade.runtime.events import (
    Event,
    ResourceAcquired,
    ResourceEvent,
    RunStarted,
    TaskEvent,
    TaskExecutionStarted,
    TaskSkipped,
)


class Recorder:
    """Notes which handler got which event."""

    def __init__(self):
        self.seen = []

    def named(self, name):
        return lambda event: self.seen.append((name, type(event).__name__))


def test_own_class_comes_first_then_bases_then_the_wildcard():
    """Whatever the order of subscription across classes, the nearest class hears first."""
    bus, recorder = MessageBus(), Recorder()
    for event_type, name in [(Event, "any"), (TaskEvent, "task"), (TaskSkipped, "own1"), (TaskSkipped, "own2")]:
        bus.subscribe(event_type, recorder.named(name))

    bus.publish(TaskSkipped())

    assert [name for name, _ in recorder.seen] == ["own1", "own2", "task", "any"]


def test_a_base_delivers_all_derived_events_and_no_others():
    """Subscribing to an intermediate base is enough to hear all of its kind."""
    bus, recorder = MessageBus(), Recorder()
    bus.subscribe(TaskEvent, recorder.named("t"))
    bus.subscribe(ResourceEvent, recorder.named("r"))

    for event in (TaskExecutionStarted(), TaskSkipped(), RunStarted(), ResourceAcquired(), TaskEvent()):
        bus.publish(event)

    assert recorder.seen == [
        ("t", "TaskExecutionStarted"),
        ("t", "TaskSkipped"),
        ("r", "ResourceAcquired"),
        ("t", "TaskEvent"),
    ]


def test_an_event_of_the_root_class_is_delivered_once():
    """For ``Event`` itself own class and wildcard are the same thing."""
    bus, recorder = MessageBus(), Recorder()
    bus.subscribe(Event, recorder.named("any"))

    bus.publish(Event())

    assert recorder.seen == [("any", "Event")]


def test_a_handler_subscribed_twice_is_called_twice():
    """Subscriptions are not merged."""
    bus, recorder = MessageBus(), Recorder()
    handler = recorder.named("h")
    bus.subscribe(RunStarted, handler)
    bus.subscribe(RunStarted, handler)

    bus.publish(RunStarted())

    assert len(recorder.seen) == 2


def test_a_raising_handler_stops_nobody_and_is_logged(caplog):
    """A listener must not decide over the run, but its failure must not vanish either."""
    bus, recorder = MessageBus(), Recorder()

    def broken(event):
        raise ValueError("broken pen")

    bus.subscribe(RunStarted, broken)
    bus.subscribe(RunStarted, recorder.named("after"))
    with caplog.at_level(logging.ERROR):
        bus.publish(RunStarted())

    assert recorder.seen == [("after", "RunStarted")]
    assert "broken pen" in caplog.text
    assert "RunStarted" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, SystemExit])
def test_interrupts_propagate(error):
    """What is meant to stop the program is not swallowed by the bus."""
    bus = MessageBus()

    def interrupted(event):
        raise error

    bus.subscribe(RunStarted, interrupted)

    with pytest.raises(error):
        bus.publish(RunStarted())


def test_subscribing_during_delivery_takes_effect_with_the_next_event():
    """The delivery in progress goes to those who were there when it began."""
    bus, recorder = MessageBus(), Recorder()

    def recruiter(event):
        recorder.seen.append(("recruiter", "RunStarted"))
        bus.subscribe(RunStarted, recorder.named("recruit"))
        bus.subscribe(Event, recorder.named("wild"))

    bus.subscribe(RunStarted, recruiter)
    bus.publish(RunStarted())
    first = list(recorder.seen)
    bus.publish(RunStarted())

    assert first == [("recruiter", "RunStarted")]
    assert [name for name, _ in recorder.seen[1:]] == ["recruiter", "recruit", "wild"]


def test_wants_tells_exactly_whether_a_publish_would_reach_anybody():
    """A publisher may skip building an event only if nobody would have heard it."""
    bus = MessageBus()
    assert not bus.wants(TaskSkipped)

    bus.subscribe(TaskEvent, lambda event: None)
    assert bus.wants(TaskSkipped)
    assert not bus.wants(RunStarted)

    bus.subscribe(Event, lambda event: None)
    assert bus.wants(RunStarted)


def test_successes_are_wanted_unless_all_ask_for_failures_alone():
    """A handler for failures alone does not make anybody publish what goes well, but gets whatever is published."""
    bus, seen = MessageBus(), []

    @for_failures
    def hear(event):
        seen.append(event)

    assert not bus.wants_successes(TaskSkipped)
    bus.subscribe(TaskSkipped, hear)
    assert bus.wants(TaskSkipped)
    assert not bus.wants_successes(TaskSkipped)
    bus.publish(TaskSkipped())
    assert len(seen) == 1
    bus.subscribe(TaskEvent, seen.append)
    assert bus.wants_successes(TaskSkipped)


def test_a_publish_of_the_users_hears_of_successes():
    """It may do anything with them."""
    bus = MessageBus()
    bus.subscribe(TaskSkipped, for_failures(lambda event: None))
    bus.publish = lambda event: None

    assert bus.wants_successes(TaskSkipped)


def test_the_epoch_grows_with_every_subscription():
    """A running loop learns from one integer that somebody new listens."""
    bus = MessageBus()
    epochs = [bus.epoch]
    for event_type in (RunStarted, RunStarted, Event):
        bus.subscribe(event_type, lambda event: None)
        epochs.append(bus.epoch)

    assert epochs == sorted(set(epochs))


def test_a_subscription_from_another_thread_is_not_lost_to_a_stale_route():
    """A route computed while somebody subscribes must not hide the new handler."""
    bus, recorder = MessageBus(), Recorder()
    in_lookup, may_finish = threading.Event(), threading.Event()

    class Slow(dict):
        def get(self, key, default=None):
            found = super().get(key, default)
            in_lookup.set()
            may_finish.wait(10)
            return found

    bus._subscribers = Slow()
    publisher = threading.Thread(target=bus.publish, args=(RunStarted(),))
    publisher.start()
    in_lookup.wait(10)
    bus.subscribe(RunStarted, recorder.named("late"))
    may_finish.set()
    publisher.join()
    bus.publish(RunStarted())

    assert recorder.seen == [("late", "RunStarted")]


def test_a_handler_can_be_called():
    """Anything else is told to whoever subscribes it, not at each event."""
    with pytest.raises(TypeError, match="a subscriber to Event must be a function, not 5"):
        MessageBus().subscribe(Event, 5)

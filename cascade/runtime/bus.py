"""Delivers events to subscribers, synchronously and in a fixed order.

    subscribe(TaskSkipped, f)    own class         first
    subscribe(TaskEvent, g)      a base of it      then, nearest base first
    subscribe(Event, h)          wildcard          last

The handlers of a class are looked up once and remembered until somebody subscribes, so an event that nobody wants costs
one dictionary access.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from cascade.runtime.events import Event

__all__ = ["Handler", "MessageBus", "for_failures"]

#: Called with each event; what it returns is ignored.
Handler: TypeAlias = Callable[[Any], None]

H = TypeVar("H", bound=Callable[..., None])


def for_failures(handler: H) -> H:
    """Mark a handler that does nothing with events of what succeeds: for its sake none of these has to be published."""
    handler.is_for_failures = True  # type: ignore[attr-defined]
    return handler


class MessageBus:
    """The event bus of an engine."""

    def __init__(self) -> None:
        #: Handlers by the class they subscribed to, in order of subscription; ``Event`` itself is not a key.
        self._subscribers: dict[type[Event], list[Handler]] = {}
        #: Handlers of every event.
        self._wildcard_subscribers: list[Handler] = []
        #: Handlers by the exact class of an event; replaced, never cleared, so that a route computed in another
        #: thread while somebody subscribes lands in the old dictionary.
        self._routes: dict[type[Any], tuple[Handler, ...]] = {}
        #: Grows with every subscription; a running loop compares it to learn that somebody listens now.
        self.epoch = 0

    def subscribe(self, event_type: type[Event], handler: Handler) -> None:
        """Call ``handler`` with every later event of ``event_type`` or a class derived from it.

        Raises:
            TypeError: ``handler`` cannot be called.
        """
        if not callable(handler):
            raise TypeError(f"a subscriber to {event_type.__name__} must be a function, not {handler!r}")
        if event_type is Event:
            self._wildcard_subscribers.append(handler)
        else:
            self._subscribers.setdefault(event_type, []).append(handler)
        self._routes = {}
        self.epoch += 1

    def publish(self, event: Event) -> None:
        """Deliver ``event`` to the handlers subscribed now; one that raises is logged and stops nobody."""
        for handler in self._route_of(type(event)):
            try:
                handler(event)
            except Exception as error:  # a listener must not decide over the run; others propagate
                _report(handler, event, error)

    def wants(self, event_type: type[Event]) -> bool:
        """Whether an event of exactly this class would reach anybody: a subscriber, or a ``publish`` of the user's."""
        route = self._routes.get(event_type)  # asked several times at every call of a task: in line for that
        if route is None:
            route = self._route_of(event_type)
        return bool(route) or type(self).publish is not MessageBus.publish or "publish" in self.__dict__

    def wants_successes(self, event_type: type[Event]) -> bool:
        """Whether an event of exactly this class, about something that went well, would mean anything to anybody."""
        ordinary = [one for one in self._route_of(event_type) if not getattr(one, "is_for_failures", False)]
        return bool(ordinary) or type(self).publish is not MessageBus.publish or "publish" in self.__dict__

    def _route_of(self, event_type: type[Any]) -> tuple[Handler, ...]:
        routes = self._routes
        route = routes.get(event_type)
        if route is not None:
            return route
        handlers = [handler for base in event_type.__mro__ for handler in self._subscribers.get(base, ())]
        routes[event_type] = route = (*handlers, *self._wildcard_subscribers)
        return route


def _report(handler: Handler, event: Event, error: Exception) -> None:
    import logging  # only needed when something is wrong

    logging.getLogger(__name__).error(
        "event handler %r failed on %s: %s: %s",
        getattr(handler, "__qualname__", handler),
        type(event).__name__,
        type(error).__name__,
        error,
        exc_info=error,
    )

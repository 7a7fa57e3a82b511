"""Who has subscribed to what within this process, and which messages later subscribers get."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from cascade.connectors import _constraint_topics as constraints
from cascade.connectors._subscription import Subscription
from cascade.connectors._topics import has_wildcard, matches

__all__ = ["Broker"]


class Broker:
    """Subscriptions by topic, and retained messages. Nothing in it awaits, so no other task sees it half-changed."""

    def __init__(self) -> None:
        #: Subscriptions to one topic, by topic; none of the lists is empty.
        self.exact: defaultdict[str, list[Subscription]] = defaultdict(list)
        #: Subscriptions with wildcards, by filter; none of the lists is empty.
        self.wildcard: defaultdict[str, list[Subscription]] = defaultdict(list)
        #: The message that later subscribers of a topic get.
        self.retained: dict[str, Any] = {}

    def add(self, subscription: Subscription) -> None:
        """Have messages that match put in the subscription's queue."""
        self._place_of(subscription)[subscription.topic].append(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        place = self._place_of(subscription)
        rest = [one for one in place.get(subscription.topic, ()) if one is not subscription]
        if rest:
            place[subscription.topic] = rest
        else:
            place.pop(subscription.topic, None)

    def publish(self, topic: str, payload: Any, retain: bool) -> None:
        """Put a message in the queues of those who want it; an empty retained one deletes what was retained.

        Everybody gets a copy of their own, as through a network.
        """
        if retain:
            self._keep(topic, _copied(payload))
        for subscription in self._matching(topic):
            if subscription.is_dead:
                self.remove(subscription)
            else:
                subscription.put(topic, _copied(payload or {}))

    def retained_for(self, subscription: str) -> list[tuple[str, Any]]:
        """Return the retained messages that a new subscription gets, each constraint as a message of its own."""
        kept = [(topic, payload) for topic, payload in self.retained.items() if matches(subscription, topic)]
        return [(topic, _copied(part)) for topic, payload in kept for part in _parts(topic, payload)]

    def clear(self) -> None:
        """Forget everything."""
        self.exact.clear()
        self.wildcard.clear()
        self.retained.clear()

    def _keep(self, topic: str, payload: Any) -> None:
        if not payload:
            self.retained.pop(topic, None)
        elif constraints.is_constraint_topic(topic):
            self.retained[topic] = constraints.merged(self.retained.get(topic), payload)
        else:
            self.retained[topic] = payload

    def _matching(self, topic: str) -> list[Subscription]:
        found = list(self.exact.get(topic, ()))
        for subscription, subscribers in list(self.wildcard.items()):
            if matches(subscription, topic):
                found += subscribers
        return found

    def _place_of(self, subscription: Subscription) -> defaultdict[str, list[Subscription]]:
        return self.wildcard if has_wildcard(subscription.topic) else self.exact


def _parts(topic: str, payload: Any) -> list[Any]:
    return constraints.parted(payload) if constraints.is_constraint_topic(topic) else [payload]


def _copied(value: Any) -> Any:
    """Return a copy of what JSON calls objects and arrays; anything else stays what it is."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value

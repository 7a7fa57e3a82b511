"""Which topics a subscription covers, by the rules of MQTT."""

from __future__ import annotations

import pytest

from cascade.connectors._topics import has_wildcard, matches
from cascade.connectors.local import LocalBusConnector
from cascade.connectors.mqtt import MqttConnector

CASES = [
    ("a/b", "a/b", True),
    ("a/b", "a/c", False),
    ("a/b", "a", False),
    ("a", "a/b", False),
    ("+", "a", True),
    ("+", "a/b", False),
    ("+/b", "a/b", True),
    ("a/+", "a/b", True),
    ("a/+", "a", False),
    ("a/+", "a/", True),
    ("a/+/c", "a/b/c", True),
    ("a/+/c", "a/b/d", False),
    ("a/+/#", "a/b", True),
    ("a/+/#", "a", False),
    ("a/#", "a/b/c", True),
    ("a/#", "a", True),
    ("a/#", "ab", False),
    ("#", "a/b/c", True),
    ("a/#/c", "a/b/c", False),
    ("a+/b", "ax/b", False),
    ("#", "$SYS/uptime", False),
    ("+/uptime", "$SYS/uptime", False),
    ("$SYS/#", "$SYS/uptime", True),
]


@pytest.mark.parametrize("of", [matches, MqttConnector._topic_matches, LocalBusConnector._topic_matches])
@pytest.mark.parametrize("subscription, topic, is_covered", CASES)
def test_a_subscription_covers_topics_as_in_mqtt(of, subscription, topic, is_covered):
    """``+`` is one level, a trailing ``#`` the rest, and ``a/#`` covers ``a`` too."""
    assert of(subscription, topic) is is_covered


@pytest.mark.parametrize("subscription, has", [("a/b", False), ("a/+", True), ("#", True), ("a+b/c#", False)])
def test_only_whole_levels_are_wildcards(subscription, has):
    """A plus sign within a level is a plus sign."""
    assert has_wildcard(subscription) is has

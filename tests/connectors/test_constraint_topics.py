"""Constraints of one scope in one retained message: what is kept, and what subscribers are told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.connectors._constraint_topics import (
    changes,
    is_constraint_topic,
    joined,
    may_cover,
    merged,
    parted,
    scope_of,
    topic_of,
)
from cascade.runtime.constraints._message import constraint_of
from tests.connectors.inbox import constraint

PAUSE = constraint("global", "pause")
LIMIT = constraint("global", "concurrency", limit=1)
RATE = constraint("global", "rate_limit", rate="1/s")


@pytest.mark.parametrize(
    "scope, topic",
    [
        ("global", "cascade/constraints/global"),
        ("task:api_*", "cascade/constraints/task/api_*"),
        ("project:a:b", "cascade/constraints/project/a/b"),
    ],
)
def test_scopes_have_topics_and_topics_scopes(scope, topic):
    """Colons are levels, both ways."""
    assert topic_of(scope) == topic
    assert scope_of(topic) == scope
    assert is_constraint_topic(topic)
    assert not is_constraint_topic("cascade/telemetry/x")


@pytest.mark.parametrize(
    "subscription, may",
    [
        ("#", True),
        ("+/#", True),
        ("cascade/#", True),
        ("cascade/constraints/#", True),
        ("cascade/constraints/global", True),
        ("+/constraints/+", True),
        ("cascade/telemetry/#", False),
        ("signals/go", False),
        ("+/signals", False),
    ],
)
def test_a_subscription_may_cover_constraints(subscription, may):
    """Only such a subscription needs to look after them."""
    assert may_cover(subscription) is may


def test_what_stands_alone_is_retained_as_it_is_published():
    """The five fields and nothing more, as ever."""
    assert merged(None, LIMIT) == LIMIT
    assert merged({}, LIMIT) == LIMIT
    assert merged(constraint("global", "concurrency", limit=7), LIMIT) == LIMIT


def test_other_types_stay_beside_the_newest():
    """Each once, oldest first; a reader that knows nothing of it reads the newest."""
    kept = merged(merged(merged(PAUSE, LIMIT), RATE), constraint("global", "concurrency", limit=2))

    assert [one["type"] for one in parted(kept)] == ["pause", "rate_limit", "concurrency"]
    assert parted(kept)[-1]["params"] == {"limit": 2}
    assert constraint_of(kept) == constraint_of(constraint("global", "concurrency", limit=2))


@pytest.mark.parametrize("empty", [{}, "", None])
def test_an_empty_message_lifts_all(empty):
    """One topic is the whole truth about its scope."""
    assert not merged(merged(PAUSE, LIMIT), empty)
    assert parted(empty) == []


def test_a_constraint_of_the_same_id_or_over_is_not_kept():
    """A new type under an old id replaces it; what has expired need not be carried on."""
    renamed = constraint("global", "rate_limit", id_="pause-global")

    assert merged(PAUSE, renamed) == renamed
    assert merged(constraint("global", "pause", expires_at=1.0), LIMIT) == LIMIT
    assert merged(constraint("global", "pause", expires_at=4e9), LIMIT) != LIMIT


def test_a_malformed_message_does_not_hide_what_is_in_force():
    """It is passed on, for the engine to report, and not carried on by the next."""
    broken = {"scope": "global"}
    kept = merged(PAUSE, broken)

    assert parted(kept) == [PAUSE, broken]
    assert parted(merged(kept, LIMIT)) == [PAUSE, LIMIT]
    assert merged(PAUSE, [1]) == [1]
    assert parted([1]) == [[1]]
    assert parted({"others": [PAUSE]}) == [{"others": [PAUSE]}]


def test_a_late_subscriber_is_told_each():
    """One message a constraint, oldest first."""
    assert changes(None, merged(PAUSE, LIMIT), True) == [PAUSE, LIMIT]
    assert changes(None, {}, True) == []


def test_who_listened_all_the_time_is_told_the_newest():
    """The others come along only if they were missed."""
    assert changes(PAUSE, merged(PAUSE, LIMIT), False) == [LIMIT]
    assert changes(None, merged(PAUSE, LIMIT), False) == [PAUSE, LIMIT]
    assert changes(PAUSE, PAUSE, False) == [PAUSE]
    assert changes(PAUSE, {}, False) == [{}]
    assert changes(None, {}, False) == [{}]


def test_who_was_away_is_told_what_has_changed():
    """Nothing twice; a scope that has lost a constraint is lifted, and told again what it still has."""
    both = merged(PAUSE, LIMIT)

    assert changes(both, both, True) == []
    assert changes(PAUSE, both, True) == [LIMIT]
    assert changes(both, LIMIT, True) == [{}, LIMIT]
    assert changes(both, {}, True) == [{}]
    assert changes({}, {}, True) == []


def test_a_message_just_published_lifts_nothing_but_as_a_whole():
    """Its publisher need not have known of everything, least of all an older one."""
    assert parted(joined(PAUSE, LIMIT)) == [PAUSE, LIMIT]
    assert parted(joined(merged(PAUSE, LIMIT), merged(LIMIT, RATE))) == [PAUSE, LIMIT, RATE]
    assert joined(PAUSE, {}) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "others", "x"]), inner),
    max_leaves=8,
)


@given(JSON, JSON, st.booleans())
def test_no_json_at_all_breaks_a_reader(known, payload, is_retained):
    """Whatever a broker holds, it is told or kept, and can be written again."""
    json.dumps([changes(known, payload, is_retained), merged(known, payload), joined(known, payload)])

"""The stock handlers, one at a time: rates, limits, scopes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cascade.runtime.constraints import handlers
from cascade.runtime.constraints.handlers import (
    ConcurrencyConstraintHandler,
    PauseConstraintHandler,
    RateLimitConstraintHandler,
    _matches,
    _parse_rate_string,
)
from cascade.runtime.constraints.manager import ConstraintManager
from cascade.runtime.resource_manager import ResourceManager
from cascade.spec.constraint import GlobalConstraint


@pytest.fixture
def reports(monkeypatch):
    """What the handlers report on the message bus."""
    seen = []
    monkeypatch.setattr(handlers, "bus", SimpleNamespace(error=lambda msg_id, **data: seen.append((msg_id, data))))
    return seen


def node(name):
    return SimpleNamespace(name=name)


def rate_limit(scope="global", **params):
    return GlobalConstraint("id", scope, "rate_limit", params)


@pytest.mark.row(
    "04-resources-and-constraints",
    "Global constraints: GlobalConstraint(id, scope, type, params, expires_at=None)",
    "anything else (project:…)",
)
@pytest.mark.row(
    "04-resources-and-constraints",
    "Global constraints: GlobalConstraint(id, scope, type, params, expires_at=None)",
    "task:<pattern>",
)
@pytest.mark.row(
    "04-resources-and-constraints",
    "Global constraints: GlobalConstraint(id, scope, type, params, expires_at=None)",
    "global",
)
@pytest.mark.parametrize(
    "scope, name, is_match",
    [
        ("global", "anything", True),
        ("task:a", "a", True),
        ("task:a", "ab", False),
        ("task:api_*", "api_get", True),
        ("task:api_*", "other", False),
        ("task:?", "a", True),
        ("task:[ab]", "b", True),
        ("task:A", "a", False),
        ("task:map(*)", "map(a)", True),
        ("project:x", "x", False),
        ("", "", False),
    ],
)
def test_scopes(scope, name, is_match):
    """Global covers all, a task pattern works like a shell's, anything else covers nothing."""
    assert _matches(scope, name) is is_match


@pytest.mark.parametrize(
    "text, rate",
    [
        ("10/s", 10),
        ("10/sec", 10),
        ("10/second", 10),
        ("60/m", 1),
        ("60/min", 1),
        ("60/minute", 1),
        ("3600/h", 1),
        ("3600/hr", 1),
        ("3600/hour", 1),
        ("2.5", 2.5),
        (7, 7),
        (" 5 / S ", 5),
        ("0/s", 0),
    ],
)
def test_rates(reports, text, rate):
    """A number per unit, or a bare number per second."""
    assert _parse_rate_string(text) == pytest.approx(rate)
    assert reports == []


@pytest.mark.parametrize("text", ["fast", "5/fortnight", "/s", "5/", "nan/s", "inf", "1/2/s", ""])
def test_a_rate_that_cannot_be_read_is_reported_and_means_one_per_second(reports, text):
    """The run goes on under a cautious limit, and the operator learns why."""
    assert _parse_rate_string(text) == 1.0
    ((msg_id, data),) = reports
    assert msg_id == "constraint.parse.error"
    assert data["constraint_type"] == "rate_limit"
    assert data["raw_value"] == text
    assert data["error"]
    assert set(data) == {"constraint_type", "raw_value", "error"}


@pytest.mark.row(
    "04-resources-and-constraints",
    "Global constraints: GlobalConstraint(id, scope, type, params, expires_at=None)",
    "rate_limit",
)
def test_the_default_rate_is_one_per_second_and_a_tiny_capacity_is_one_token(reports, clock):
    """Whatever was asked for, a bucket can admit something."""
    handler, manager = RateLimitConstraintHandler(), ConstraintManager(ResourceManager())
    handler.on_constraint_add(rate_limit("a"), manager)
    handler.on_constraint_add(rate_limit("b", rate="5/s", capacity=0), manager)
    handler.on_constraint_add(rate_limit("c", rate="5/s", capacity="lots"), manager)

    assert [(b.rate, b.capacity) for b in handler.limiter._buckets.values()] == [(1, 1), (5, 1), (5, 5)]
    assert [data["raw_value"] for _, data in reports] == ["lots"]


@pytest.mark.row(
    "04-resources-and-constraints",
    "Global constraints: GlobalConstraint(id, scope, type, params, expires_at=None)",
    "rate_limit",
)
@pytest.mark.row(
    "04-resources-and-constraints",
    "Global constraints: GlobalConstraint(id, scope, type, params, expires_at=None)",
    "concurrency",
)
@pytest.mark.row(
    "04-resources-and-constraints",
    "Global constraints: GlobalConstraint(id, scope, type, params, expires_at=None)",
    "pause",
)
def test_handlers_pass_over_nodes_outside_their_scope(clock):
    """Asked directly, a handler grants a node that its constraint does not cover, and wants nothing of it."""
    manager = ConstraintManager(ResourceManager())
    for handler in (PauseConstraintHandler(), ConcurrencyConstraintHandler(), RateLimitConstraintHandler()):
        constraint = GlobalConstraint("id", "task:a", handler.handles_type(), {"limit": 0, "rate": "0/s"})
        handler.on_constraint_add(constraint, manager)
        requirements = {}
        handler.append_requirements(node("b"), constraint, requirements, manager)

        assert handler.check_permission(node("b"), constraint, manager)
        assert not handler.check_permission(node("a"), constraint, manager)
        assert requirements == {}

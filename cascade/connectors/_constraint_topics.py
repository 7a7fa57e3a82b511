"""How constraints travel: topics by scope, and several types of one scope in one retained message.

    scope   task:api                    topic   cascade/constraints/task/api
    payload {id, scope, type, params, expires_at}          sets the constraint of that scope and type
    payload {} or ""                                       lifts every constraint of the scope

Whoever publishes a constraint publishes just that, once, with ``retain=True``; whoever subscribes gets one constraint
(or ``{}``) at a time. What follows concerns connectors only.

A broker retains one message a topic, and the topic is that of the scope, so a rate limit would make a concurrency limit
of the same scope disappear for those who come later. Connectors therefore retain the newest constraint with the others
that are still in force under one more key:

    {"id": "ratelimit-global", ..., "others": [{"id": "concurrency-global", ...}]}

Readers that do not know the key understand the newest constraint, as ever; a message without it is what they write. One
topic stays the whole truth about its scope, so an empty message lifts everything, whoever sends it, and a reader that
was away learns from the retained message alone what is in force now.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

__all__ = [
    "PREFIX",
    "changes",
    "is_constraint_topic",
    "joined",
    "may_cover",
    "merged",
    "parted",
    "scope_of",
    "topic_of",
]

#: All constraint topics begin with this.
PREFIX = "cascade/constraints/"
#: The key of the constraints that a retained message holds beside the newest one, oldest first.
OTHERS = "others"


def topic_of(scope: str) -> str:
    """Return the topic of a scope: ``task:api`` has ``cascade/constraints/task/api``."""
    return PREFIX + scope.replace(":", "/")


def scope_of(topic: str) -> str:
    """Return the scope of a constraint topic."""
    return topic.removeprefix(PREFIX).replace("/", ":")


def is_constraint_topic(topic: str) -> bool:
    """Whether messages of the topic are constraints."""
    return topic.startswith(PREFIX)


def may_cover(subscription: str) -> bool:
    """Whether a subscription may match constraint topics."""
    for level, wanted in zip(subscription.split("/"), PREFIX.split("/"), strict=False):
        if level == "#":
            return True
        if level != "+" and wanted not in ("", level):
            return False
    return True


def merged(retained: Any, payload: Any) -> Any:
    """Return what to retain when ``payload`` is published where ``retained`` (or nothing) is now.

    Constraints stay beside it unless it replaces them (same type or id) or their time is over. An empty payload, or one
    that is no dict, stays alone.
    """
    if not payload or not isinstance(payload, dict):
        return payload
    now = time.time()
    others = [one for one in parted(retained) if _is_constraint(one) and not _is_over(one, payload, now)]
    return {**payload, OTHERS: others} if others else payload


def parted(payload: Any) -> list[Any]:
    """Return the messages that a retained payload stands for, oldest first; none for an empty one."""
    if not payload:
        return []
    if not isinstance(payload, dict) or not isinstance(payload.get(OTHERS), list) or len(payload) == 1:
        return [payload]
    newest = {key: value for key, value in payload.items() if key != OTHERS}
    return [*payload[OTHERS], newest]


def changes(known: Any, payload: Any, is_retained: bool) -> list[Any]:
    """Return what to tell a subscriber that was told ``known`` (or nothing) of a topic and now gets ``payload``.

    A message just published is always told. A retained one is told as far as it is news, and begins with ``{}`` if
    something that the subscriber knows is not there any more, because only a whole scope can be lifted.
    """
    parts, before = parted(payload), parted(known)
    if not is_retained:
        return [*_news(parts[:-1], before), parts[-1]] if parts else [{}]
    if any(_is_missing(one, parts) for one in before):
        return [{}, *parts]
    return _news(parts, before)


def joined(known: Any, payload: Any) -> Any:
    """Return what is in force after ``payload`` was published where ``known`` was: only an empty message lifts.

    A publisher may not have seen all that was in force when it wrote down what else is.
    """
    if not payload:
        return {}
    for part in parted(payload):
        known = merged(known, part)
    return known


def _news(parts: Iterable[Any], known: list[Any]) -> list[Any]:
    return [one for one in parts if one not in known]


def _is_missing(known: Any, parts: list[Any]) -> bool:
    return _is_constraint(known) and not any(_is_constraint(one) and one["type"] == known["type"] for one in parts)


def _is_constraint(payload: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(payload, dict) and isinstance(payload.get("type"), str) and isinstance(payload.get("id"), str)


def _is_over(old: Mapping[str, Any], new: Mapping[str, Any], now: float) -> bool:
    expires_at = old.get("expires_at")
    is_expired = isinstance(expires_at, (int, float)) and expires_at <= now
    return is_expired or old["type"] == new.get("type") or old["id"] == new.get("id")

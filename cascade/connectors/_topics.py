"""The rules by which MQTT subscriptions match topics."""

from __future__ import annotations

__all__ = ["has_wildcard", "matches"]


def matches(subscription: str, topic: str) -> bool:
    """Whether a subscription covers a topic: ``+`` stands for one level, ``#`` at the end for all that follow.

    ``a/#`` covers ``a`` too. Topics that begin with ``$`` belong to brokers; no leading wildcard covers them.
    """
    wanted, levels = subscription.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    if wanted[-1] == "#":
        wanted.pop()
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(one in ("+", level) for one, level in zip(wanted, levels, strict=True))


def has_wildcard(subscription: str) -> bool:
    """Whether a subscription may cover more than the topic of that name."""
    return any(level in ("+", "#") for level in subscription.split("/"))

"""Retaining a constraint beside those of other types in its scope, which the broker keeps in one message."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from cascade.connectors import _constraint_topics as constraints

__all__ = ["first_of", "retain_beside"]


async def retain_beside(
    client: Any,
    topic: str,
    payload: dict[str, Any],
    qos: int,
    retained: Any,
    heard: asyncio.Queue[Any],
    patience: float,
) -> None:
    """Publish ``payload`` with what else is in force in its scope.

    ``retained`` is what the topic holds now, and ``heard`` gets every message of the topic from then on, one's own
    included. The broker puts the messages of all publishers in one order, so whoever hears another one's message
    before its own knows what it has covered up, and publishes again, with that. What is known only grows until somebody
    lifts the scope, so publishers that meet come to an end, and the last message has it all.
    """
    while True:
        message = constraints.merged(retained, payload)
        await client.publish(topic, payload=json.dumps(message), qos=qos, retain=True)
        try:
            async with asyncio.timeout(patience):
                while (other := await heard.get()) != message:
                    retained = constraints.joined(retained, other)
        except TimeoutError:  # a broker that lets one write but not read: nothing can be known
            return
        if _is_same(message, constraints.merged(retained, payload)):
            return


async def first_of(heard: asyncio.Queue[Any], patience: float) -> Any:
    """Return the first message, or None if there is none in time."""
    try:
        async with asyncio.timeout(patience):
            return await heard.get()
    except TimeoutError:
        return None


def _is_same(one: Any, other: Any) -> bool:
    ones, others = constraints.parted(one), constraints.parted(other)
    return len(ones) == len(others) and all(part in others for part in ones)

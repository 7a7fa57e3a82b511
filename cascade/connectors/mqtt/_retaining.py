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
    between what it read and its own knows that it has covered that up, and publishes again, with both.
    """
    while True:
        message = constraints.merged(retained, payload)
        await client.publish(topic, payload=json.dumps(message), qos=qos, retain=True)
        covered = await _last_before(message, heard, patience)
        if covered is None:
            return
        retained = covered


async def first_of(heard: asyncio.Queue[Any], patience: float) -> Any:
    """Return the first message, or None if there is none in time."""
    try:
        async with asyncio.timeout(patience):
            return await heard.get()
    except TimeoutError:
        return None


async def _last_before(message: Any, heard: asyncio.Queue[Any], patience: float) -> Any:
    """Return the last message of others that came before one's own ``message``; None if there was none."""
    last = None
    try:
        async with asyncio.timeout(patience):
            while (payload := await heard.get()) != message:
                last = payload
    except TimeoutError:  # a broker that lets one write but not read; nothing can be known
        return None
    return last

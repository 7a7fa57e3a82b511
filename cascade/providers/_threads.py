"""Blocking calls away from the event loop.

The threads are daemons: neither the end of an event loop nor the exit of the interpreter waits for a call that never
returns, as ``asyncio.to_thread`` would make them do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from cascade.adapters.executors._threads import ThreadPool

__all__ = ["change", "look"]

P = ParamSpec("P")
T = TypeVar("T")

#: Many: a read that was given up may take its thread with it.
_pool = ThreadPool("cascade_provider", 32)


async def look(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that changes nothing; once cancelled, nobody waits for it."""
    return await asyncio.wrap_future(_pool.submit(partial(function, *args, **kwargs)))


async def change(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that changes something: when this is cancelled, the change either is complete or never happens.

    A second cancellation does not wait: the change may be stuck, as the writing to a pipe that nobody reads is.
    """
    job = _pool.submit(partial(function, *args, **kwargs))
    done = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        done.add_done_callback(_hear)
        if not job.cancel():  # it has begun
            await asyncio.wait([done])
        raise


def _hear(done: asyncio.Future[Any]) -> None:
    """Take notice of an error that nobody else is left to hear of, so that asyncio does not complain of it."""
    if not done.cancelled():
        done.exception()

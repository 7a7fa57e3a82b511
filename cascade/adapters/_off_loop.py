"""Calls that block, made from a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["off_loop"]

T = TypeVar("T")


async def off_loop(function: Callable[..., T], *args: Any) -> T:
    """Call a function in a thread and return what it returns.

    A thread cannot be cancelled: if the caller is, the call is waited for all the same, so that nothing is written
    after a run has ended. A second cancellation does not wait.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait((call,))
        if not call.cancelled():
            call.exception()  # it has been seen: asyncio need not say that nobody looked
        raise

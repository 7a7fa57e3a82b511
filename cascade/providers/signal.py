"""Waiting for a message from outside."""

from __future__ import annotations

import asyncio
from inspect import isawaitable
from typing import Any

from cascade.providers.registry import LazyFactory, Provider
from cascade.spec.protocols import Connector
from cascade.spec.resource import inject
from cascade.spec.task import task

__all__ = ["RecvProvider"]


@task(name="recv")
async def _recv_task(
    topic: str, timeout: float | None = None, connector: Connector = inject("_internal_connector")
) -> Any:
    """Return the payload of the first message on a topic, which may have wildcards if the connector knows them.

    Raises:
        TimeoutError: no message came within ``timeout`` seconds.
        NameError: the run has no connector.
    """
    first: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def take(_: str, payload: Any) -> None:
        if not first.done():
            first.set_result(payload)

    handle = await connector.subscribe(topic, take)
    try:
        async with asyncio.timeout(timeout):
            return await first
    except TimeoutError:
        raise TimeoutError(f"recv: no message on topic '{topic}' within {timeout} seconds (timeout)") from None
    finally:
        await _unsubscribe(handle)


async def _unsubscribe(handle: Any) -> None:
    """End a subscription: not every connector returns a handle, and not every handle has to be waited for."""
    if hasattr(handle, "unsubscribe"):
        result = handle.unsubscribe()
        if isawaitable(result):
            await result


class RecvProvider(Provider):
    """``cascade.recv``."""

    name = "recv"

    def create_factory(self) -> LazyFactory:
        return _recv_task

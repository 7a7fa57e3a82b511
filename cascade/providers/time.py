"""Waiting without holding the event loop."""

from __future__ import annotations

import asyncio

from cascade.providers.registry import LazyFactory, Provider
from cascade.spec.task import task

__all__ = ["TimeWaitProvider"]


@task(name="wait")
async def _wait_task(delay: float | int) -> None:
    """Wait for ``delay`` seconds."""
    await asyncio.sleep(delay)


class TimeWaitProvider(Provider):
    """``cascade.wait``."""

    name = "wait"

    def create_factory(self) -> LazyFactory:
        return _wait_task

"""Waiting without holding the event loop."""

from __future__ import annotations

import asyncio
import math

from cascade.providers.registry import LazyFactory, Provider
from cascade.spec.task import task

__all__ = ["TimeWaitProvider"]


@task(name="wait")
async def _wait_task(delay: float | int) -> None:
    """Wait for ``delay`` seconds.

    Raises:
        TypeError: ``delay`` is no number.
        ValueError: it is infinite or NaN.
    """
    try:
        is_finite = math.isfinite(delay)
    except TypeError:
        raise TypeError(f"wait: delay must be a number of seconds, not {delay!r}") from None
    if not is_finite:
        raise ValueError(f"wait: delay must be finite, not {delay!r}")
    await asyncio.sleep(delay)


class TimeWaitProvider(Provider):
    """``cascade.wait``."""

    name = "wait"

    def create_factory(self) -> LazyFactory:
        return _wait_task

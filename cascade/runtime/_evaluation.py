"""What the driver asks of an evaluation that can be parked."""

from __future__ import annotations

from typing import Any

__all__ = ["Evaluation"]


class Evaluation:
    """Something to evaluate that parks itself, without a coroutine, while it waits for another evaluation."""

    __slots__ = ()

    async def advance(self, value: Any = None, error: BaseException | None = None) -> Any:
        """Go on with the value or the error of what was asked for; return the final value, or an ``Expand``."""
        raise NotImplementedError

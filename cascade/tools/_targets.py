"""What may be run or drawn: one call of a task, or a list or tuple of values with calls in it."""

from __future__ import annotations

from typing import Any

from cascade.internal.inputs import _internal_gather

__all__ = ["gathered", "is_empty"]


def is_empty(target: Any) -> bool:
    """Whether a target is a list or tuple of nothing: then nothing runs, and nothing is drawn."""
    return isinstance(target, (list, tuple)) and not target


def gathered(target: Any) -> Any:
    """Return the call that gathers a list or tuple; any other target, and an empty one, as it is."""
    if isinstance(target, (list, tuple)) and target:
        return _internal_gather(*target)
    return target

"""What a retry policy may be: told where the call is written, not when it fails."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["check_retry"]


def check_retry(lazy: Any, max_attempts: Any, delay: Any, backoff: Any) -> None:
    """Refuse a number of retries that is none, and seconds or a factor that are no finite numbers.

    Raises:
        TypeError: one is no number.
        ValueError: one is infinite, or not a number in its own way.
    """
    if not hasattr(type(max_attempts), "__index__"):
        raise TypeError(f"with_retry() of {lazy!r}: max_attempts must be a whole number, not {max_attempts!r}")
    for name, value in (("delay", delay), ("backoff", backoff)):
        try:
            is_finite = math.isfinite(value)
        except (TypeError, ValueError):
            raise TypeError(f"with_retry() of {lazy!r}: {name} must be a number, not {value!r}") from None
        if not is_finite:
            raise ValueError(f"with_retry() of {lazy!r}: {name} must be finite, not {value!r}")

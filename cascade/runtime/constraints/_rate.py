"""How a rate is written: ``"N/unit"``, or a bare number of tokens per second."""

from __future__ import annotations

import math

__all__ = ["finite", "tokens_per_second"]

#: Seconds by the names of units that a rate may use.
_UNITS = {
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("m", "min", "minute"), 60.0),
    **dict.fromkeys(("h", "hr", "hour"), 3600.0),
}


def tokens_per_second(text: str) -> float:
    """Return what a written rate amounts to.

    Raises:
        ValueError: the unit is unknown, or the number is none or not finite.
    """
    count, slash, unit = text.partition("/")
    if slash and unit.strip().lower() not in _UNITS:
        raise ValueError(f"unknown unit {unit.strip()!r}, use one of {', '.join(_UNITS)}")
    return finite(count) / _UNITS[unit.strip().lower() if slash else "s"]


def finite(text: str) -> float:
    """Return the number that a text says.

    Raises:
        ValueError: it says none, or one that is not finite.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text.strip()!r} is not a finite number")
    return number

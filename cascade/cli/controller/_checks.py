"""What is asked of a constraint before anybody is told of it."""

from __future__ import annotations

from cascade.cli._usage import UsageError
from cascade.runtime.constraints._rate import tokens_per_second

__all__ = ["check_concurrency", "check_rate", "check_scope", "check_ttl"]

#: Of seconds and of tasks: above it a number is a slip.
_MOST = 10**9
#: Bytes of an MQTT topic, less those of the levels above the scope.
_LONGEST = 65_000
_SCOPES = "write global or task:NAME, where NAME may have the wildcards * ? [..]"


def check_scope(scope: str) -> None:
    """See that a scope can be a topic, and that a topic leads back to it.

    Raises:
        UsageError: it cannot.
    """
    if not scope.strip() or scope == "task:":
        raise UsageError(f"the scope {scope!r} is empty; {_SCOPES}")
    wrong = [sign for sign in "+#/" if sign in scope]
    if wrong:
        raise UsageError(f"the scope {scope!r} contains {wrong[0]!r}, which means something else in topics; {_SCOPES}")
    if not scope.isprintable():
        raise UsageError(f"the scope {scope!r} contains a character that cannot be shown; {_SCOPES}")
    if len(scope.encode()) > _LONGEST:
        raise UsageError(f"the scope has {len(scope.encode())} bytes, more than a topic can hold")


def check_ttl(ttl: int | None) -> None:
    """See that a time to live is one.

    Raises:
        UsageError: it is over at once, or never.
    """
    if ttl is not None and not 1 <= ttl <= _MOST:
        raise UsageError(f"--ttl: {ttl} is no time to live; write seconds, from 1 to {_MOST}")


def check_concurrency(limit: int | None) -> None:
    """See that a limit lets something run.

    Raises:
        UsageError: it does not, or limits nothing.
    """
    if limit is not None and not 1 <= limit <= _MOST:
        raise UsageError(f"--concurrency: {limit} is no limit; write a number from 1 to {_MOST}, or use pause")


def check_rate(rate: str | None) -> None:
    """See that an engine would understand a rate.

    Raises:
        UsageError: it would not, or nothing would ever run.
    """
    if rate is None:
        return
    try:
        tokens = tokens_per_second(rate)
    except ValueError as error:
        raise UsageError(f"--rate: {rate!r} is no rate ({error}); write one like 5/s, 100/min or 10/hour") from None
    if tokens <= 0:
        raise UsageError(f"--rate: at {rate!r} nothing would run; write one like 5/s, 100/min or 10/hour, or use pause")

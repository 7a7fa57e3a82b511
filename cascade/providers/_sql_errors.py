"""Errors of databases without the values of parameters, which they quote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cascade.common.redaction import redact

__all__ = ["hide_parameters"]

#: Where PostgreSQL begins to quote rows and pieces of values.
_QUOTING = ("\nDETAIL:", "\nCONTEXT:")


def hide_parameters(error: BaseException, params: Any) -> None:
    """Take the values of parameters out of the texts of an error and of what led to it, such as the driver's."""
    secrets = {text for value in _values(params) for text in _texts(value)}
    one: BaseException | None = error
    while one is not None:
        if hasattr(one, "hide_parameters"):
            one.hide_parameters = True
        one.args = tuple(_without_values(arg, secrets) if isinstance(arg, str) else arg for arg in one.args)
        one = one.__cause__ or one.__context__


def _without_values(text: str, secrets: set[str]) -> str:
    if secrets:
        for mark in _QUOTING:
            text = text.partition(mark)[0]
    return redact(text, secrets)


def _values(params: Any) -> Iterator[Any]:
    if isinstance(params, Mapping):
        params = params.values()
    elif not isinstance(params, (list, tuple, set)):
        yield params
        return
    for value in params:
        yield from _values(value)


def _texts(value: Any) -> tuple[str, ...]:
    """Return the ways in which messages write a value."""
    if value is None or isinstance(value, bool):
        return ()
    if isinstance(value, (bytes, bytearray)):
        return (value.decode(errors="replace"), value.hex(), repr(bytes(value))[2:-1])
    return (str(value), repr(value)[1:-1]) if isinstance(value, str) else (str(value),)

"""The start of a value's ``repr`` without the rest, which may be larger than memory: a list that is in itself ten times
over, nine levels deep, has a billion items.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["start_of_repr"]

#: Opening and closing text of the containers whose ``repr`` is put together here; subclasses have one of their own.
_AROUND: dict[type[Any], tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    dict: ("{", "}"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}


def start_of_repr(value: Any, limit: int) -> str:
    """Return the ``repr`` of a value as far as it is known after ``limit`` characters; it may be more, never less.

    Of texts, bytes and Python's own containers no more is looked at than is needed; others make their whole ``repr``.
    """
    if type(value) not in _AROUND:
        return _leaf(value, limit)
    pieces: list[str] = []
    length = 0
    #: What is left of the containers around the piece in hand, innermost last, and which they are.
    rests: list[Iterator[tuple[str, Any]]] = [iter((("", value),))]
    above: list[int] = [0]
    while rests and length < limit:
        text, *part = next(rests[-1], ("",))
        if not part:
            rests.pop()
            above.pop()
        elif part[0] is not _NOTHING:
            inner = part[0]
            if type(inner) not in _AROUND or not inner:
                text += _leaf(inner, limit)
            elif id(inner) in above:
                text += _again(inner)
            else:
                rests.append(_parts(inner))
                above.append(id(inner))
        pieces.append(text)
        length += len(text)
    return "".join(pieces)


_NOTHING = object()


def _parts(container: Any) -> Iterator[tuple[str, Any]]:
    """Yield the texts of a container that is not empty, each with the value that follows it, or with ``_NOTHING``."""
    before, after = _AROUND[type(container)]
    if type(container) is dict:
        for key, value in container.items():
            yield before, key
            yield ": ", value
            before = ", "
    else:
        for item in container:
            yield before, item
            before = ", "
    yield "," + after if type(container) is tuple and len(container) == 1 else after, _NOTHING


def _again(container: Any) -> str:
    """Return what stands for a container within itself."""
    before, after = _AROUND[type(container)]
    return f"{before}...{after}"


def _leaf(value: Any, limit: int) -> str:
    if type(value) is str and len(value) > limit:
        return repr(value[:limit] + "'" * ("'" in value) + '"' * ('"' in value))  # which decide about the quotes
    if type(value) is bytes and len(value) > limit:
        return repr(value[:limit] + b"'" * (b"'" in value) + b'"' * (b'"' in value))
    return repr(value)

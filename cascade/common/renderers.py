"""Renderers for terminals and for log collectors."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from cascade.common.messaging.bus import MessageStore
from cascade.common.messaging.protocols import Renderer

__all__ = ["LOG_LEVELS", "CliRenderer", "JsonRenderer", "rank_of"]

LOG_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}


def rank_of(level: str) -> int:
    """Return the number of a level; that of INFO for one that is not known.

    Raises:
        TypeError: the level is no text.
    """
    if not isinstance(level, str):
        raise TypeError(f"a log level is the name of one ({', '.join(LOG_LEVELS)}), not {level!r}")
    return LOG_LEVELS.get(level.upper(), LOG_LEVELS["INFO"])


class CliRenderer(Renderer):
    """Prints the text of every message of at least ``min_level``, to standard error unless told otherwise."""

    def __init__(self, store: MessageStore, stream: TextIO | None = None, min_level: str = "INFO") -> None:
        self._store = store
        self._stream = stream
        self._min_rank = rank_of(min_level)

    def render(self, msg_id: str, level: str, **kwargs: Any) -> None:
        """Print the text of the message."""
        if rank_of(level) >= self._min_rank:
            _write_line(self._stream, self._store.get(msg_id, **kwargs))


class JsonRenderer(Renderer):
    """Writes every message of at least ``min_level`` as one JSON object on a line of its own."""

    def __init__(self, stream: TextIO | None = None, min_level: str = "INFO") -> None:
        self._stream = stream
        self._min_rank = rank_of(min_level)

    def render(self, msg_id: str, level: str, **kwargs: Any) -> None:
        """Write time, level, id and data of the message; data that is not JSON becomes its ``repr``."""
        if rank_of(level) < self._min_rank:
            return
        from datetime import UTC, datetime

        record = {
            "timestamp": datetime.now(UTC).isoformat(),
            "level": level.upper(),
            "event_id": msg_id,
            "data": {name: _as_json(value) for name, value in kwargs.items()},
        }
        _write_line(self._stream, _dump(record))


def _dump(value: Any) -> str:
    import json  # only needed by those who chose this renderer

    return json.dumps(value, default=repr, allow_nan=False)


def _as_json(value: Any) -> Any:
    """Return ``value`` if it can be written, otherwise its ``repr`` (odd dict keys, NaN, data that contains itself)."""
    try:
        _dump(value)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value


def _write_line(stream: TextIO | None, text: str) -> None:
    stream = sys.stderr if stream is None else stream  # looked up late: callers may have replaced sys.stderr
    if stream is None:  # the process was started without
        return
    try:
        stream.write(text + "\n")
    except UnicodeEncodeError:  # a stream that cannot show emoji still gets the words
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()

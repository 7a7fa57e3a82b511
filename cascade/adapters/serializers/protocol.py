"""What a store asks of the part that turns values into bytes."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Serializer"]


class Serializer(Protocol):
    """Turns values into bytes and back; called from several threads at once."""

    def dumps(self, value: Any) -> bytes:
        """Return a value as bytes.

        Raises:
            SerializationError: it has a part that cannot be stored.
        """
        ...

    def loads(self, data: bytes) -> Any:
        """Return the value that ``dumps`` was given.

        Raises:
            DeserializationError: ``dumps`` did not write these bytes.
        """
        ...

"""A key-value store with expiry in Redis."""

from __future__ import annotations

import logging
from typing import Any

from cascade.adapters._off_loop import off_loop
from cascade.adapters._redis import check_client
from cascade.adapters.serializers import DeserializationError, MsgpackSerializer, Serializer

try:
    import redis
except ImportError:  # said when a backend is made
    redis = None  # type: ignore[assignment, unused-ignore]

__all__ = ["RedisCacheBackend"]

_log = logging.getLogger(__name__)


class RedisCacheBackend:
    """Values that processes share.

    What the serializer cannot read, such as an entry of an older program's, is as good as absent: a warning is logged,
    and the next ``set`` replaces it.

    Args:
        client: a ``redis.Redis`` that returns bytes.
        prefix: what comes before each key.
        serializer: makes bytes of values; by default ``MsgpackSerializer()``, which keeps plain data.

    Raises:
        ImportError: redis, or msgspec for the default serializer, is not installed.
        TypeError: the client is one of ``redis.asyncio``, or decodes what it reads.
    """

    def __init__(
        self, client: redis.Redis, prefix: str = "cascade:cache:", *, serializer: Serializer | None = None
    ) -> None:
        check_client(redis, client, "RedisCacheBackend")
        self._client: Any = client
        self._prefix = prefix
        self._serializer = serializer if serializer is not None else MsgpackSerializer()

    async def get(self, key: str) -> Any | None:
        """Return the value, or None; ``has`` tells a stored None from nothing."""
        found = await off_loop(self._find, key)
        return found[0] if found is not None else None

    async def has(self, key: str) -> bool:
        """Whether a value, None included, is stored and has not expired."""
        return await off_loop(self._find, key) is not None

    async def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        """Keep a value for ``ttl`` seconds; without ttl for good, whatever was said before.

        Raises:
            SerializationError: a part of it cannot be stored.
        """
        await off_loop(self._set, key, value, ttl)

    def _find(self, key: str) -> tuple[Any] | None:
        data = self._client.get(self._prefix + key)
        if data is None:
            return None
        try:
            return (self._serializer.loads(data),)
        except DeserializationError as error:
            _log.warning("cache entry %r is passed over: %s", self._prefix + key, error)
            return None

    def _set(self, key: str, value: Any, ttl: int | None) -> None:
        data = self._serializer.dumps(value)
        if ttl is not None and ttl <= 0:  # gone at once, which Redis refuses to be told
            self._client.delete(self._prefix + key)
        else:
            self._client.set(self._prefix + key, data, ex=ttl)

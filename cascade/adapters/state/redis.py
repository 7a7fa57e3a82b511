"""Keeps the results of one run in Redis.

    cascade:run:<id>:results   a hash, node id --> value as the serializer writes it
    cascade:run:<id>:skipped   a hash, node id --> reason
"""

from __future__ import annotations

from typing import Any

from cascade.adapters._off_loop import off_loop
from cascade.adapters._redis import check_client
from cascade.adapters.serializers import MsgpackSerializer, SerializationError, Serializer

try:
    import redis
except ImportError:  # said when a backend is made
    redis = None  # type: ignore[assignment, unused-ignore]

__all__ = ["RedisStateBackend"]


class RedisStateBackend:
    """Results and skip marks of one run, which other processes can read while and after it runs.

    Args:
        run_id: part of the keys.
        client: a ``redis.Redis`` that returns bytes; several backends may share it, and none closes it.
        ttl: seconds after the last write of its kind from which Redis forgets results, or skip marks.
        serializer: makes bytes of results; by default ``MsgpackSerializer()``, which keeps plain data. For classes of
            your own give ``MsgpackSerializer(types=[...])``.

    Raises:
        ImportError: redis, or msgspec for the default serializer, is not installed.
        TypeError: the client is one of ``redis.asyncio``, or decodes what it reads.
    """

    def __init__(
        self, run_id: str, client: redis.Redis, ttl: int = 86400, *, serializer: Serializer | None = None
    ) -> None:
        check_client(redis, client, "RedisStateBackend")
        self._run_id = run_id
        self._client: Any = client
        self._ttl = ttl
        self._serializer = serializer if serializer is not None else MsgpackSerializer()
        self._results_key = f"cascade:run:{run_id}:results"
        self._skipped_key = f"cascade:run:{run_id}:skipped"
        #: Whether there may be something to clear.
        self._is_written = True

    async def put_result(self, node_id: str, result: Any) -> None:
        """Keep a result, None included.

        Raises:
            SerializationError: a part of it cannot be stored.
        """
        await off_loop(self._put, node_id, result)

    async def get_result(self, node_id: str) -> Any | None:
        """Return the result, or None.

        Raises:
            DeserializationError: the serializer did not write what is stored.
        """
        return await off_loop(self._get, node_id)

    async def has_result(self, node_id: str) -> bool:
        """Tell a stored None from nothing."""
        return bool(await off_loop(self._client.hexists, self._results_key, node_id))

    async def mark_skipped(self, node_id: str, reason: str) -> None:
        """Note that a node was skipped."""
        await off_loop(self._write, self._skipped_key, node_id, reason)

    async def get_skip_reason(self, node_id: str) -> str | None:
        """Return why a node was skipped, or None."""
        reason = await off_loop(self._client.hget, self._skipped_key, node_id)
        return reason.decode() if isinstance(reason, bytes) else reason

    async def clear(self) -> None:
        """Forget everything, before the next step of a loop; Redis is not asked if nothing was written since."""
        if self._is_written:
            self._is_written = False
            await off_loop(self._client.delete, self._results_key, self._skipped_key)

    def _put(self, node_id: str, result: Any) -> None:
        try:
            data = self._serializer.dumps(result)
        except SerializationError as error:
            error.add_note(f"It is the result of node {node_id} in run {self._run_id}, which is kept in Redis.")
            raise
        self._write(self._results_key, node_id, data)

    def _get(self, node_id: str) -> Any:
        data = self._client.hget(self._results_key, node_id)
        return None if data is None else self._serializer.loads(data)

    def _write(self, key: str, node_id: str, data: bytes | str) -> None:
        self._is_written = True
        pipeline = self._client.pipeline()
        pipeline.hset(key, node_id, data)
        pipeline.expire(key, self._ttl)
        pipeline.execute()

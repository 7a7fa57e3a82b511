"""The cache in Redis."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import MagicMock, call

import pytest
import redis

import cascade as cs
from cascade.adapters.cache import redis as module
from cascade.adapters.cache.redis import RedisCacheBackend
from cascade.adapters.serializers import MsgpackSerializer, PickleSerializer, SerializationError
from cascade.adapters.state.redis import RedisStateBackend
from tests.adapters.serializers.values import Point
from tests.engines import run


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty server."""
    with redis.Redis.from_url(redis_url) as one:
        one.flushdb()
        yield one


@pytest.mark.row("03-flow-and-policies", "Cache", 'RedisCacheBackend(client, prefix="cascade:cache:")')
def test_what_the_client_is_asked() -> None:
    """``get`` and ``set`` with prefix and expiry; what is stored is made by the serializer."""
    mock = MagicMock()
    cache = RedisCacheBackend(mock)
    mock.get.return_value = MsgpackSerializer().dumps({"a": (1,)})
    data = MsgpackSerializer().dumps([1])

    async def main() -> None:
        assert await cache.get("k") == {"a": (1,)}
        await cache.set("k", [1], ttl=60)
        await cache.set("k", [1])
        await RedisCacheBackend(mock, prefix="mine:").set("k", [1])

    asyncio.run(main())

    assert mock.mock_calls == [
        call.get("cascade:cache:k"),
        call.set("cascade:cache:k", data, ex=60),
        call.set("cascade:cache:k", data, ex=None),
        call.set("mine:k", data, ex=None),
    ]


def test_a_client_that_must_be_awaited_is_refused() -> None:
    """It would store nothing, and nobody would notice."""
    client = redis.asyncio.Redis()

    with pytest.raises(TypeError, match=r"RedisCacheBackend takes a redis\.Redis, .* not a redis\.asyncio\.Redis"):
        RedisCacheBackend(client)


def test_it_needs_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error names it and says what to install."""
    monkeypatch.setattr(module, "redis", None)

    with pytest.raises(ImportError, match=r"The 'redis' library is required.*pip install 'cascade-hot\[redis\]'"):
        RedisCacheBackend(MagicMock())


def test_the_server_is_asked_off_the_loop() -> None:
    """No call of the client is made in the thread of the event loop."""
    threads: set[int] = set()
    mock = MagicMock()
    for method in (mock.get, mock.set, mock.delete):
        method.side_effect = lambda *_, **__: threads.add(threading.get_ident())
    cache = RedisCacheBackend(mock)

    async def main() -> None:
        await cache.set("k", 1)
        await cache.set("k", 1, ttl=0)
        await cache.get("k")
        await cache.has("k")

    asyncio.run(main())

    assert threads
    assert threading.get_ident() not in threads


def test_a_server_keeps_values_for_their_time(client: redis.Redis) -> None:
    """With a time to live until then, without one for good, whatever was said before; 0 is over at once."""
    cache = RedisCacheBackend(client)

    async def main() -> None:
        await cache.set("k", {"a": (1,)}, ttl=100)
        assert 90 < client.ttl("cascade:cache:k") <= 100
        assert await cache.get("k") == {"a": (1,)}
        await cache.set("k", 2)
        assert client.ttl("cascade:cache:k") == -1
        await cache.set("k", 3, ttl=0)
        assert await cache.get("k") is None
        assert not await cache.has("k")

    asyncio.run(main())


def test_a_stored_none_is_told_from_nothing(client: redis.Redis) -> None:
    """``get`` cannot, ``has`` can."""
    cache = RedisCacheBackend(client)

    async def main() -> None:
        await cache.set("none", None)
        assert [await cache.get("none"), await cache.get("gone")] == [None, None]
        assert [await cache.has("none"), await cache.has("gone")] == [True, False]

    asyncio.run(main())


def test_an_entry_that_cannot_be_read_is_absent(client: redis.Redis, caplog: pytest.LogCaptureFixture) -> None:
    """A pickle that an older engine left there is passed over with a warning, not unpickled; ``set`` replaces it."""
    cache = RedisCacheBackend(client)
    client.set("cascade:cache:k", pickle.dumps({"old": 1}))

    async def main() -> None:
        assert await cache.get("k") is None
        assert not await cache.has("k")
        await cache.set("k", "new")
        assert await cache.get("k") == "new"

    asyncio.run(main())

    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert "cache entry 'cascade:cache:k' is passed over" in caplog.text


def test_another_serializer_may_be_given(client: redis.Redis) -> None:
    """Classes by name, or anything with a key; what cannot be stored is an error that names the path."""
    for serializer in (MsgpackSerializer(types=[Point]), PickleSerializer(key=b"k" * 32)):
        cache = RedisCacheBackend(client, serializer=serializer)
        asyncio.run(cache.set("k", [Point(1)]))

        assert asyncio.run(cache.get("k")) == [Point(1)]
    with pytest.raises(SerializationError, match=r"result\[0\] is of type Point"):
        asyncio.run(RedisCacheBackend(client).set("k", [Point(1)]))


class Remembering:
    """A cache policy that keeps values in a backend."""

    def __init__(self, backend: RedisCacheBackend) -> None:
        self.backend = backend

    async def check(self, task_id: str, inputs: dict[str, Any]) -> Any:
        return await self.backend.get(f"{task_id}:{sorted(inputs.items())}")

    async def save(self, task_id: str, inputs: dict[str, Any], output: Any) -> None:
        await self.backend.set(f"{task_id}:{sorted(inputs.items())}", output, ttl=100)


def test_a_policy_finds_what_another_run_has_stored(client: redis.Redis) -> None:
    """Two engines share the values of equal calls; another argument is another entry."""
    calls: list[int] = []

    @cs.task
    def double(n: int) -> int:
        calls.append(n)
        return 2 * n

    policy = Remembering(RedisCacheBackend(client))
    found = [run(double(n).with_cache(policy)) for n in (1, 1, 2)]

    assert found == [2, 2, 4]
    assert calls == [1, 2]


def test_a_client_that_decodes_what_it_reads_is_refused() -> None:
    """At once, not where the first value is read: values are bytes that are no text."""
    decoding = redis.Redis(decode_responses=True)
    for make in (RedisCacheBackend, partial(RedisStateBackend, "r")):
        with pytest.raises(TypeError, match="returns bytes: make it without decode_responses"):
            make(decoding)
    RedisCacheBackend(redis.Redis())

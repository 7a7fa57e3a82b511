"""The state backend in Redis: what it asks the client for, and what a server then has."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock, call

import pytest
import redis

from cascade.adapters.serializers import (
    DeserializationError,
    MsgpackSerializer,
    PickleSerializer,
    SerializationError,
)
from cascade.adapters.state import redis as module
from cascade.adapters.state.redis import RedisStateBackend
from tests.adapters.serializers.values import Point


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty server."""
    with redis.Redis.from_url(redis_url) as one:
        one.flushdb()
        yield one


# --------------------------------------------------------------------------------------------- what the client is asked


def test_a_write_is_one_pipeline() -> None:
    """``hset``, ``expire`` and ``execute``, for results and for skip marks."""
    mock = MagicMock()
    backend = RedisStateBackend("run", mock, ttl=60)
    asyncio.run(backend.put_result("node", {"a": 1}))
    asyncio.run(backend.mark_skipped("other", "ConditionFalse"))
    data = MsgpackSerializer().dumps({"a": 1})

    assert mock.mock_calls == [
        call.pipeline(),
        call.pipeline().hset("cascade:run:run:results", "node", data),
        call.pipeline().expire("cascade:run:run:results", 60),
        call.pipeline().execute(),
        call.pipeline(),
        call.pipeline().hset("cascade:run:run:skipped", "other", "ConditionFalse"),
        call.pipeline().expire("cascade:run:run:skipped", 60),
        call.pipeline().execute(),
    ]


def test_reads_are_single_commands() -> None:
    """``hget`` and ``hexists``; reasons come back as text, values through the serializer."""
    mock = MagicMock()
    backend = RedisStateBackend("run", mock)
    mock.hget.return_value = MsgpackSerializer().dumps((1, 2))

    assert asyncio.run(backend.get_result("node")) == (1, 2)
    mock.hget.assert_called_once_with("cascade:run:run:results", "node")

    mock.hget.return_value = "Prüfung".encode()
    assert asyncio.run(backend.get_skip_reason("node")) == "Prüfung"
    mock.hget.assert_called_with("cascade:run:run:skipped", "node")

    mock.hget.return_value = None
    assert asyncio.run(backend.get_result("node")) is None
    assert asyncio.run(backend.get_skip_reason("node")) is None

    mock.hexists.return_value = 1
    assert asyncio.run(backend.has_result("node")) is True
    mock.hexists.assert_called_once_with("cascade:run:run:results", "node")


def test_clear_deletes_both_hashes_unless_nothing_was_written() -> None:
    """A loop whose steps store nothing does not ask the server at each of them."""
    mock = MagicMock()
    backend = RedisStateBackend("run", mock)

    async def main() -> None:
        await backend.clear()
        await backend.clear()
        await backend.mark_skipped("node", "Pruned")
        await backend.clear()

    asyncio.run(main())

    assert mock.delete.mock_calls == [call("cascade:run:run:results", "cascade:run:run:skipped")] * 2


def test_the_server_is_asked_off_the_loop() -> None:
    """No call of the client is made in the thread of the event loop."""
    threads: set[int] = set()
    mock = MagicMock()
    for method in (mock.pipeline, mock.hget, mock.hexists, mock.delete):
        method.side_effect = lambda *_: threads.add(threading.get_ident())
    mock.pipeline.side_effect = lambda: threads.add(threading.get_ident()) or MagicMock()
    backend = RedisStateBackend("run", mock)

    async def main() -> None:
        await backend.put_result("node", 1)
        await backend.get_result("node")
        await backend.has_result("node")
        await backend.mark_skipped("node", "Pruned")
        await backend.get_skip_reason("node")
        await backend.clear()

    asyncio.run(main())

    assert threads
    assert threading.get_ident() not in threads


def test_a_client_that_must_be_awaited_is_refused() -> None:
    """It would store nothing, and nobody would notice."""
    client = redis.asyncio.Redis()

    with pytest.raises(TypeError, match=r"RedisStateBackend takes a redis\.Redis, .* not a redis\.asyncio\.Redis"):
        RedisStateBackend("run", client)


def test_it_needs_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error names it and says what to install."""
    monkeypatch.setattr(module, "redis", None)

    with pytest.raises(ImportError, match=r"The 'redis' library is required.*pip install 'cascade-hot\[redis\]'"):
        RedisStateBackend("run", MagicMock())


# ------------------------------------------------------------------------------------------------------ with a server


@pytest.mark.row("02-execution", "State backend (per run)", "put_result(node_id, value) / get_result(node_id)")
@pytest.mark.row("02-execution", "State backend (per run)", "has_result(node_id)")
@pytest.mark.row(
    "02-execution", "State backend (per run)", "mark_skipped(node_id, reason) / get_skip_reason(node_id)"
)
@pytest.mark.row("02-execution", "State backend (per run)", "clear()")
def test_a_server_keeps_results_and_reasons_until_they_are_cleared(client: redis.Redis) -> None:
    """Values or None, whether there is one, reasons or None, and nothing at all after ``clear``."""
    backend, other = RedisStateBackend("one", client), RedisStateBackend("two", client)

    async def main() -> None:
        await backend.put_result("a", [1, (2,)])
        await backend.put_result("none", None)
        await backend.mark_skipped("b", "ConditionFalse")
        assert await backend.get_result("a") == [1, (2,)]
        assert [await backend.get_result(name) for name in ("none", "b", "gone")] == [None, None, None]
        assert [await backend.has_result(name) for name in ("a", "none", "b")] == [True, True, False]
        assert [await backend.get_skip_reason(name) for name in ("a", "b")] == [None, "ConditionFalse"]
        assert not await other.has_result("a")

        await other.put_result("a", 2)
        await backend.clear()
        assert not await backend.has_result("a")
        assert await backend.get_skip_reason("b") is None
        assert await other.get_result("a") == 2

    asyncio.run(main())

    assert client.keys() == [b"cascade:run:two:results"]


def test_a_server_forgets_after_the_time_to_live(client: redis.Redis) -> None:
    """Both hashes get the whole time again with each write; a day by default."""
    backend = RedisStateBackend("run", client, ttl=100)
    asyncio.run(backend.put_result("a", 1))
    asyncio.run(backend.mark_skipped("b", "Pruned"))
    client.expire("cascade:run:run:results", 5)
    asyncio.run(backend.put_result("c", 1))

    assert 90 < client.ttl("cascade:run:run:results") <= 100
    assert 90 < client.ttl("cascade:run:run:skipped") <= 100
    assert RedisStateBackend("run", client)._ttl == 86400


def test_what_is_stored_cannot_run_code(client: redis.Redis) -> None:
    """The bytes in the server are no pickle, and a pickle that somebody put there is refused."""
    backend = RedisStateBackend("run", client)
    asyncio.run(backend.put_result("a", {"x": [1]}))
    stored = client.hget("cascade:run:run:results", "a")

    assert MsgpackSerializer().loads(stored) == {"x": [1]}

    client.hset("cascade:run:run:results", "b", b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DeserializationError):
        asyncio.run(backend.get_result("b"))


def test_another_serializer_may_be_given(client: redis.Redis) -> None:
    """Classes of the user's own by name, or whatever pickle can store with a key."""
    for serializer in (MsgpackSerializer(types=[Point]), PickleSerializer(key=b"k" * 32)):
        backend = RedisStateBackend("run", client, serializer=serializer)
        asyncio.run(backend.put_result("a", Point(1, [2])))

        assert asyncio.run(backend.get_result("a")) == Point(1, [2])


def test_a_value_that_cannot_be_stored_is_named(client: redis.Redis) -> None:
    """The error has the path, the note the node and the run; nothing is written."""
    backend = RedisStateBackend("run", client)

    with pytest.raises(SerializationError, match=r"result\['x'\]\[1\] is of type object") as caught:
        asyncio.run(backend.put_result("a", {"x": [0, object()]}))
    assert caught.value.__notes__ == ["It is the result of node a in run run, which is kept in Redis."]
    assert client.keys() == []


def test_many_coroutines_may_share_a_client(client: redis.Redis) -> None:
    """A hundred writes and reads at once do not mix."""

    async def one(number: int) -> Any:
        backend = RedisStateBackend(f"run{number % 10}", client)
        await backend.put_result(f"node{number}", number)
        return await backend.get_result(f"node{number}")

    async def main() -> list[Any]:
        return await asyncio.gather(*map(one, range(100)))

    assert asyncio.run(main()) == list(range(100))

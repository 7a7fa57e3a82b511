"""Runs whose state is kept in Redis: the same values as in memory, and in the end only what the last step left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

import cascade as cs
from cascade._state_backends import _create_state_backend_factory
from cascade.adapters.serializers import MsgpackSerializer, SerializationError
from cascade.adapters.state.redis import RedisStateBackend
from cascade.common.messaging.bus import bus
from cascade.runtime.engine import Engine
from cascade.runtime.events import RunFinished
from cascade.runtime.exceptions import DependencyMissingError
from tests.engines import make_engine, run, watch


@pytest.fixture(autouse=True)
def renderer() -> Any:
    """Leaves the message bus of the process without a renderer."""
    yield
    bus.set_renderer(None)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty server."""
    with redis.Redis.from_url(redis_url) as one:
        one.flushdb()
        yield one


@cs.task
def ident(x: Any) -> Any:
    return x


@cs.task
def total(*values: Any) -> Any:
    return sum(values)


@cs.task
def double(n: int) -> int:
    return 2 * n


@cs.task
async def adouble(n: int) -> int:
    await asyncio.sleep(0)
    return 2 * n


@cs.task
def boom() -> None:
    raise LookupError("gone")


@cs.task
def countdown(n: int, seen: Any = 0) -> Any:
    return countdown(n - 1, total(seen, double(n))) if n else seen


@cs.task
async def acountdown(n: int) -> Any:
    return acountdown(n - 1) if n else "end"


@cs.task
def expand(n: int) -> Any:
    return total(double(n), adouble(n))


@cs.task
def map_down(n: int) -> Any:
    return double.map(n=list(range(n)))


@cs.task
def even(n: int) -> Any:
    return n == 0 or odd(n - 1)


@cs.task
def odd(n: int) -> Any:
    return n != 0 and even(n - 1)


def engine_in(client: redis.Redis, serializer: Any = None, **options: Any) -> Engine:
    def factory(run_id: str) -> RedisStateBackend:
        return RedisStateBackend(run_id, client, serializer=serializer)

    return make_engine(state_backend_factory=factory, **options)


def stored(client: redis.Redis, kind: str) -> list[Any]:
    """Return what the only run of the server has left, sorted."""
    keys = client.keys(f"cascade:run:*:{kind}")
    assert len(keys) <= 1
    values = [value for key in keys for value in client.hgetall(key).values()]
    if kind == "skipped":
        return sorted(value.decode() for value in values)
    return sorted(map(MsgpackSerializer().loads, values), key=repr)


# ---------------------------------------------------------------------------------------- the same values as in memory

PROGRAMS: dict[str, Callable[[], Any]] = {
    "a value": lambda: ident(3),
    "None": lambda: ident(None),
    "a list of targets": lambda: [ident(1), double(2)],
    "nested calls": lambda: total(double(1), adouble(double(2)), 3),
    "a loop": lambda: countdown(20),
    "an async loop": lambda: acountdown(20),
    "mutual recursion": lambda: even(21),
    "an inner expansion": lambda: total(expand(3), expand(double(1))),
    "a map": lambda: double.map(n=[1, 2, 3]),
    "an async map": lambda: adouble.map(n=[1, 2, 3]),
    "a map of loops": lambda: even.map(n=[3, 4]),
    "a map that was returned": lambda: map_down(4),
    "an empty map": lambda: double.map(n=[]),
    "a condition that holds": lambda: total(1, double(2)).run_if(ident(True)),
    "data that goes past a skipped call": lambda: ident(double(ident(4)).run_if(ident(False))),
    "a skipped sequence": lambda: cs.sequence([ident(1).run_if(False), ident(2)]),
    "a router": lambda: total(cs.Router(ident("b"), {"a": boom(), "b": double(4)}), 1),
    "a retry": lambda: double(3).with_retry(2),
    "bytes and times": lambda: ident({"b": b"x", (1, 2): {3}, "n": 2**70}),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("observe", ["loops", "steps"])
def test_values_are_those_of_a_run_in_memory(client: redis.Redis, program: Callable[[], Any], observe: str) -> None:
    """Whatever the program is made of; and the value of the run is among what Redis has."""
    value = run(program(), make_engine())
    found = run(program(), engine_in(client, observe=observe))

    assert (type(found), found) == (type(value), value)
    if value is not None:
        assert value in stored(client, "results")


# --------------------------------------------------------------------------------------------------- what a loop leaves


def test_a_loop_leaves_the_results_of_its_last_step(client: redis.Redis) -> None:
    """Results of earlier steps are gone, and no lazy result was ever a result."""
    dumped: list[Any] = []

    class Watching(MsgpackSerializer):
        def dumps(self, value: Any) -> bytes:
            dumped.append(value)
            return super().dumps(value)

    assert run(countdown(5), engine_in(client, serializer=Watching())) == 30
    assert stored(client, "results") == sorted([2, 30, 30], key=repr)
    assert [type(value) for value in dumped] == [int] * 11
    assert dumped[:2] == [10, 10]


def test_a_long_loop_asks_the_server_only_at_its_end(client: redis.Redis) -> None:
    """A step that stores nothing clears nothing: 2,000 steps are one write."""
    before = client.info("commandstats")
    assert run(acountdown(2_000), engine_in(client)) == "end"
    after = client.info("commandstats")

    def calls(stats: Any, command: str) -> int:
        return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))

    assert calls(after, "hset") - calls(before, "hset") == 1
    assert calls(after, "del") - calls(before, "del") <= 1


def test_skip_marks_end_with_their_step(client: redis.Redis) -> None:
    """What an earlier step skipped is not marked in the last one, which runs all of its own."""

    @cs.task
    def loop(n: int, x: Any = None) -> Any:
        return loop(n - 1, total(n, ident(ident(n)).run_if(ident(n > 1)))) if n else x

    assert run(loop(3), engine_in(client)) == 2  # its last step skips a call
    assert stored(client, "skipped") == ["ConditionFalse"]

    @cs.task
    def on(n: int, x: Any = None) -> Any:
        return on(n - 1, total(n, ident(ident(n)).run_if(ident(n < 3)))) if n else x

    client.flushdb()
    assert run(on(3), engine_in(client)) == 2  # only its first step does
    assert stored(client, "skipped") == []


def test_reasons_of_the_last_step_can_be_read_afterwards(client: redis.Redis) -> None:
    """A failed run leaves the marks that say why."""
    with pytest.raises(DependencyMissingError):
        run(double(double(ident(1).run_if(ident(False)))), engine_in(client))

    assert stored(client, "skipped") == ["ConditionFalse", "UpstreamSkipped_Data", "UpstreamSkipped_Data"]
    assert stored(client, "results") == [False]


def test_runs_of_one_engine_do_not_mix(client: redis.Redis) -> None:
    """Twenty at once share a client; each has keys of its own."""
    engine = engine_in(client)

    async def main() -> list[Any]:
        return await asyncio.gather(*(engine.run(countdown(n)) for n in range(20)))

    assert asyncio.run(main()) == [n * (n + 1) for n in range(20)]
    assert len(client.keys("cascade:run:*:results")) == 20


# ------------------------------------------------------------------------------------------------------------- failures


def test_a_result_that_cannot_be_stored_fails_the_run(client: redis.Redis) -> None:
    """The error names the path in the value and the task; siblings and resources end as after any other failure."""
    engine = engine_in(client)
    finished = watch(engine, RunFinished)

    for target, whose in (
        (ident([object()]), "The final result of the run was not stored."),
        (total(ident([object()]), 1), "The result of task 'ident' was not stored."),
    ):
        with pytest.raises(SerializationError, match=r"result\[0\] is of type object") as caught:
            run(target, engine)
        assert caught.value.__notes__[-1] == whose
    assert [event.status for event in finished] == ["Failed", "Failed"]
    assert finished[0].error.startswith("SerializationError: result[0] is of type object")


def test_a_server_that_is_not_there_fails_the_run() -> None:
    """The client's own error is raised, unchanged."""
    with pytest.raises(redis.exceptions.ConnectionError, match="localhost:1"):
        cs.run(ident(1), state_backend="redis://localhost:1/0")


def test_a_failed_run_writes_nothing_after_it_has_ended() -> None:
    """A write that is on its way when a sibling fails is waited for."""
    begun, may_end = threading.Event(), threading.Event()
    diary: list[str] = []

    class Slow:
        def pipeline(self) -> Any:
            return self

        def hset(self, *_: Any) -> None:
            begun.set()
            may_end.wait()
            diary.append("written")

        def expire(self, *_: Any) -> None:
            pass

        def execute(self) -> None:
            pass

        def delete(self, *_: Any) -> None:
            pass

    @cs.task
    async def fails() -> None:
        await asyncio.to_thread(begun.wait)
        asyncio.get_running_loop().call_later(0.01, may_end.set)
        raise LookupError("gone")

    @cs.task
    async def one() -> int:
        return 1

    engine = make_engine(state_backend_factory=lambda run_id: RedisStateBackend(run_id, Slow()))
    engine.bus.subscribe(RunFinished, lambda event: diary.append(event.status))

    with pytest.raises(LookupError):
        run(total(one(), fails()), engine)
    assert diary == ["written", "Failed"]


# ---------------------------------------------------------------------------------------------------------- ``cs.run``


@pytest.mark.row("02-execution", "cascade.run(...)", '"redis://…"')
def test_a_url_is_one_client_and_a_backend_per_run(redis_url: str, client: redis.Redis) -> None:
    """The backends of a factory share the client; their keys are those of the runs."""
    factory: Any = _create_state_backend_factory(redis_url)
    one, two = factory("one"), factory("two")
    factory.close()

    assert type(one) is RedisStateBackend
    assert one._client is two._client
    assert one._results_key == "cascade:run:one:results"
    assert cs.run(countdown(3), state_backend=redis_url) == 12
    assert 12 in stored(client, "results")


def test_the_connections_of_a_run_are_closed_with_it(redis_url: str, client: redis.Redis) -> None:
    """After success, failure and cancellation alike, in ``run``, ``arun`` and ``run_outcome``."""

    def connections() -> int:
        return len(client.client_list())

    async def cancelled() -> None:
        begun = asyncio.Event()

        @cs.task
        async def waits(n: int) -> None:
            begun.set()
            await asyncio.Event().wait()

        running = asyncio.ensure_future(cs.arun(waits(ident(1)), state_backend=redis_url))
        await begun.wait()
        assert connections() > before
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    before = connections()
    app = cs.CascadeApp(double(3), state_backend=redis_url)
    assert [app.run(), app.run()] == [6, 6]  # which opens them again
    for _ in range(5):
        cs.run(total(adouble(1), adouble(2)), state_backend=redis_url)
        assert cs.run_outcome(total(double(1), boom()), state_backend=redis_url).status == "Failed"
        asyncio.run(cs.arun(countdown(2), state_backend=redis_url))
    asyncio.run(cancelled())

    assert connections() == before


def test_an_answer_of_an_http_task_is_kept(client: redis.Redis, redis_url: str) -> None:
    """Without a word about its class, for which a URL has no place."""
    from cascade.providers.http import HttpResponse

    answer = HttpResponse(200, {}, b'{"a": 1}')

    @cs.task
    def fetch() -> HttpResponse:
        return answer

    assert cs.run(fetch(), state_backend=redis_url, log_level="ERROR") == answer

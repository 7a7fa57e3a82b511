"""What type checkers must make of the public interface. Checked by mypy and pyright (see test_typing.py), never run.

``assert_type`` states a type. A line that must be an error carries the comment that silences it; both checkers are told
to complain of a comment that silences nothing.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import Any, assert_type, cast

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.serializers import MsgpackSerializer, PickleSerializer, Serializer
from cascade.adapters.solvers.native import NativeSolver
from cascade.runtime.events import LoopProgress
from cascade.spec.resource import ResourceDefinition
from cascade.spec.task import Task
from cascade.testing import MockConnector, MockExecutor, SpySolver, SpySubscriber, override_resource
from cascade.tools import to_lisp, visualize

# ---------------------------------------------------------------------------- a call has the function's return type


@cs.task
def add(left: int, right: int = 0, *, scale: float = 1.0) -> int:
    return left + right


@cs.task
async def fetch(url: str) -> bytes:
    await asyncio.sleep(0)
    return url.encode()


@cs.task(name="twice", pure=True)
def double(value: int) -> int:
    return 2 * value


@cs.task(mode="blocking")
def read(path: str) -> list[str]:
    return [path]


@cs.task()
async def count(words: Sequence[str]) -> int:
    return len(words)


def plain(text: str) -> float:
    return float(text)


named = cs.task(plain, name="parse", mode="compute")

assert_type(add(1), int)
assert_type(add(1, right=2, scale=0.5), int)
assert_type(fetch("https://example.org"), bytes)  # of an asynchronous task: what awaiting it gives
assert_type(double(1), int)
assert_type(read("path"), list[str])
assert_type(count(["a"]), int)
assert_type(named("1.5"), float)
assert_type(cs.task(plain)("1.5"), float)
assert_type(cs.task(plain, pure=True)("1.5"), float)


# ------------------------------------------------------------------------------- tasks call tasks as functions do


@cs.task
def countdown(n: int) -> str:
    return countdown(n - 1) if n else "done"


@cs.task
async def poll(url: str, tries: int) -> bytes:
    return poll(url, tries - 1) if tries else fetch(url)


@cs.task
def tree(n: int) -> int:
    return n if n < 2 else add(tree(n - 1), tree(n - 2))


@cs.task
def is_even(n: int) -> bool:
    return True if n == 0 else is_odd(n - 1)


@cs.task
def is_odd(n: int) -> bool:
    return False if n == 0 else is_even(n - 1)


@cs.task
def untyped(value):
    return untyped(value)


assert_type(count(read("path")), int)
assert_type(add(double(1), add(2, 3)), int)
assert_type(tree(5), int)
assert_type(is_even(5), bool)
assert_type(poll("url", 3), bytes)
untyped(1).with_retry(3)  # without annotations, anything goes


# ------------------------------------------------------------------------------------- wrong arguments are errors

add("1")  # type: ignore[arg-type]
add(1, scale="x")  # type: ignore[arg-type]
add()  # type: ignore[call-arg]
add(1, 2, 3)  # type: ignore[call-arg]
add(1, wrong=2)  # type: ignore[call-arg]
add(fetch("url"))  # type: ignore[arg-type]
named(1.5)  # type: ignore[arg-type]
count(double(1))  # type: ignore[arg-type]
wrong_result: str = add(1)  # type: ignore[assignment]
wrong_await: int = fetch("url")  # type: ignore[assignment]


@cs.task
def wrong_tail(n: int) -> str:
    return add(n)  # type: ignore[return-value]


cs.task(mode="thread")  # type: ignore[call-overload]
cs.task(1)  # type: ignore[call-overload]


# ------------------------------------------------------------------------------------------- the task as an object


def show(task: Task[[str], bytes]) -> bytes:
    return task("url")


show(fetch)
show(double)  # type: ignore[arg-type]
assert_type(add.name, str)
assert_type(add.pure, bool)
assert_type(add.mode, str | None)
assert_type(add.is_async, bool)
add.name = "plus"
add.name = 1  # type: ignore[assignment]


# -------------------------------------------------------------------------------------------- maps and policies


@cs.task
def total(values: list[int]) -> int:
    return sum(values)


assert_type(total(double.map(value=[1, 2, 3])), int)
assert_type(total([double(1), add(1, 2)]), int)
total(["1"])  # type: ignore[list-item]

# A call is what its function returns, so it has the methods of a lazy result only for somebody who says that it is one.
pending = cast("cs.LazyResult[bytes]", fetch("url"))
careful: bytes = pending.with_retry(3, delay=0.5, backoff=2.0).with_constraints(cpu=1).run_if(is_even(2)).after(add(1))
pending.with_retry("3")  # type: ignore[arg-type]
mapped: list[int] = double.map(value=[1, 2]).with_retry(2)


# --------------------------------------------------------------------------- resources, inputs, routers, selectors


class Database:
    def query(self, text: str) -> list[str]:
        return [text]


@cs.resource
def database() -> Generator[Database, None, None]:
    yield Database()


@cs.resource(name="small", scope="task")
def small_database() -> Generator[Database, None, None]:
    yield Database()


cs.resource(scope="forever")  # type: ignore[call-overload]


@cs.resource  # type: ignore[arg-type]
def no_generator() -> int:
    return 1


@cs.task
def lookup(text: str, db: Database = cs.inject("database")) -> list[str]:
    return db.query(text)


@cs.task
def choose(value: Any) -> str:
    return str(value)


assert_type(database, ResourceDefinition[Database])
assert_type(small_database, ResourceDefinition[Database])
assert_type(lookup("text"), list[str])
assert_type(lookup("text", db=Database()), list[str])
assert_type(choose(cs.Router(selector=choose(1), routes={"a": add(1), "b": fetch("url")})), str)
assert_type(cs.Param("limit", default=3, type=int), cs.LazyResult[Any])
assert_type(cs.Env("HOME"), cs.LazyResult[Any])
lookup("text", db="database")  # type: ignore[arg-type]
cs.sequence([cast("cs.LazyResult[int]", add(1)), cs.Param("limit")])
cs.bind(cast("cs.LazyResult[str]", choose(1)), cs.select_jump({"again": None}))


# --------------------------------------------------------------------------------------------------------- running

assert_type(cs.run(add(1, 2)), int)
assert_type(cs.run(fetch("url"), params={"limit": 3}), bytes)
assert_type(cs.run(pending), bytes)
assert_type(cs.run([add(1), double(2)]), list[int])
assert_type(cs.run_outcome(add(1)).status, str)
assert_type(cs.run_outcome(add(1)).stats.hot, int)
str(cs.explain(tree(5)))
cs.run(add(1), log_level=1)  # type: ignore[call-overload]


def listener(event: LoopProgress) -> None: ...


async def running() -> None:
    bus = cs.MessageBus()
    bus.subscribe(LoopProgress, listener)
    engine = cs.Engine(solver=NativeSolver(), executor=LocalExecutor(), bus=bus, hot=True, observe="loops")
    engine.register(database)
    value: list[str] = await engine.run(lookup("text"))
    other: int = await cs.arun(add(1))
    assert_type(engine.stats, cs.RunStats)
    assert_type((await engine.run_outcome(add(len(value), other))).status, str)


# --------------------------------------------------------------------------------------------------------- looking

assert_type(cs.visualize(add(1)), str)
assert_type(cs.visualize([add(1), 2]), str)
assert_type(visualize(add(1)), str)
assert_type(to_lisp(add(1)), str)
assert_type(cs.to_json(cs.from_json("{}", allow=["package"])), str)
cs.dry_run(add(1))
app = cs.CascadeApp([add(1)], log_level="ERROR")
assert_type(app.visualize(), str)
app.engine.register(database)
cs.create_cli(add(1))()


# --------------------------------------------------------------------------------------- stored values and test helpers

stores: list[Serializer] = [MsgpackSerializer(types=[Database]), PickleSerializer(key=b"k" * 32)]
assert_type(stores[0].dumps({"any": [1]}), bytes)
PickleSerializer(key="text")  # type: ignore[arg-type]


def tested() -> None:
    bus = cs.MessageBus()
    engine = cs.Engine(SpySolver(NativeSolver()), MockExecutor(delay=0.1), bus, connector=MockConnector())
    assert_type(SpySubscriber(bus).events_of_type(LoopProgress), list[LoopProgress])
    with override_resource(engine, "database", lambda: iter(())):
        pass

"""Turns descriptions of programs (see ``tests.strategies``) into expressions, with tasks that write down what happens.

Functions find their world through this module, not through a closure: what a cache key covers (code, defaults,
closure cells) then is the same in every world.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from cascade.internal.inputs import _get_param_value
from cascade.spec.resource import inject, resource
from cascade.spec.routing import Router
from cascade.spec.task import Task

__all__ = ["Halt", "Pair", "World"]

Pair = namedtuple("Pair", "first second")


class Row(list):  # type: ignore[type-arg]
    """A list of another type."""


class Halt(BaseException):
    """Nothing that is retried."""


# Objects whose equality is odd; all but Thing are cached and merged by their fields.


@dataclass(eq=False)
class Never:
    number: int

    def __eq__(self, other: object) -> bool:
        return False


@dataclass(eq=False)
class Always:
    number: int

    def __eq__(self, other: object) -> bool:
        return True


@dataclass(eq=False)
class Raises:
    number: int

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError("compared")


@dataclass
class Point:
    number: int


class Thing:
    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"Thing({self.number})"


CONTAINERS: dict[str, Any] = {"list": list, "tuple": tuple, "row": Row}
ODD: dict[str, Any] = {"never": Never, "always": Always, "raises": Raises, "point": Point}


class Cache:
    """A policy that keeps values and writes down what it is asked. Resources read like their markers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kept: dict[Any, Any] = {}

    def shown(self, inputs: Any) -> str:
        items = sorted((name, repr(value)) for name, value in inputs.items())
        return re.sub(r"Inject\(resource_name='(\w+)'\)", r"'\1'", repr(items).replace("\\'", "'"))

    async def check(self, task_id: Any, inputs: Any) -> Any:
        note(f"{self.name}?", task_id in self.kept, self.shown(inputs))
        return self.kept.get(task_id)

    async def save(self, task_id: Any, inputs: Any, output: Any) -> None:
        note(f"{self.name}!", self.shown(inputs), output)
        self.kept[task_id] = output


_current: World


def note(name: str, *details: Any) -> None:
    _current.note(name, *details)


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    return _current.tasks[name](*args, **kwargs)


# ------------------------------------------------------------------------------------------------- what tasks do


def mix(name: str) -> Callable[..., Any]:
    def mix(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        return (name, args, tuple(kwargs.items()))

    return mix


def amix(name: str) -> Callable[..., Any]:
    async def amix(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        await asyncio.sleep(0)
        return (name, args, tuple(kwargs.items()))

    return amix


def acomes(name: str) -> Callable[..., Any]:
    async def acomes(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        return len(args)

    return acomes


def coro(name: str) -> Callable[..., Any]:
    async def later(args: Any, kwargs: Any) -> Any:
        return (name, args, tuple(kwargs.items()))

    def coro(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        return later(args, kwargs)

    return coro


def waits(name: str) -> Callable[..., Any]:
    async def waits(*args: Any) -> Any:
        note(name, args)
        try:
            await asyncio.Event().wait()
        finally:
            note("ended", name, args)

    return waits


def uses_db(name: str) -> Callable[..., Any]:
    def uses_db(*args: Any, db: Any = inject("db"), **kwargs: Any) -> Any:
        note(name, args, db, kwargs)
        return (name, args, db)

    return uses_db


def uses_conn(name: str) -> Callable[..., Any]:
    def uses_conn(x: Any = 0, y: Any = inject("conn"), *rest: Any, **kwargs: Any) -> Any:
        note(name, x, y, rest, kwargs)
        return (name, x, y)

    return uses_conn


def defaults(name: str) -> Callable[..., Any]:
    def defaults(x: Any, y: Any = 5, *, z: Any = 6) -> Any:
        note(name, x, y, z)
        return (x, y, z)

    return defaults


def same(name: str) -> Callable[..., Any]:
    """Says which of the lists and dicts that it gets, at two depths, are one object."""

    def same(*args: Any, **kwargs: Any) -> Any:
        given = [*args, *kwargs.values()]
        given += [item for one in given if isinstance(one, list) for item in one]
        seen = [id(one) for one in given if isinstance(one, (list, dict))]
        note(name, args, kwargs, [seen.index(one) for one in seen])
        return [seen.index(one) for one in seen]

    return same


def grow(name: str) -> Callable[..., Any]:
    """Changes the lists that it gets."""

    def grow(*args: Any, **kwargs: Any) -> Any:
        for one in (*args, *kwargs.values()):
            if isinstance(one, list) and len(one) < 5:
                one.append("grown")
        note(name, args, kwargs)
        return len(args)

    return grow


def keeps(name: str) -> Callable[..., Any]:
    """Returns what it gets, lists and all."""

    def keeps(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        return [*args, *kwargs.values()]

    return keeps


def pick(name: str) -> Callable[..., Any]:
    def pick(x: Any) -> Any:
        note(name, x)
        return x

    return pick


def fails(name: str) -> Callable[..., Any]:
    def fails(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        raise ValueError(name, args)

    return fails


def afails(name: str) -> Callable[..., Any]:
    async def afails(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        raise ValueError(name, args)

    return afails


def stops(name: str) -> Callable[..., Any]:
    def stops(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        raise StopIteration(len(args))

    return stops


def astops(name: str) -> Callable[..., Any]:
    async def astops(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        raise StopIteration(len(args))

    return astops


def halts(name: str) -> Callable[..., Any]:
    def halts(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        raise Halt(name, args)

    return halts


def flaky(name: str) -> Callable[..., Any]:
    def flaky(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        _current.fail_once(repr((args, kwargs)))
        return (name, args)

    return flaky


def aflaky(name: str) -> Callable[..., Any]:
    async def aflaky(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        _current.fail_once(repr((args, kwargs)))
        return (name, args)

    return aflaky


def mixed(name: str) -> Callable[..., Any]:
    def mixed(x: Any) -> Any:
        note(name, x)
        return call("mix" if x else "amix", x)

    return mixed


def expand(kind: str, body: Any) -> Callable[..., Any]:
    """Returns what a description stands for."""

    def expand(x: Any) -> Any:
        note("expand", x)
        return _current.build(body, x)

    async def aexpand(x: Any) -> Any:
        await asyncio.sleep(0)
        note("expand", x)
        return _current.build(body, x)

    return aexpand if kind == "async" else expand


# Recursions.


def tail(n: int) -> Any:
    note("tail", n)
    return call("tail", n - 1) if n else "end"


def accumulate(n: int, acc: Any = ()) -> Any:
    return call("accumulate", n - 1, acc=call("mix", acc, n)) if n else acc


def mutual(n: int) -> Any:
    note("mutual", n)
    return call("other", n=n - 1) if n else "even"


def other(n: int) -> Any:
    note("other", n)
    return call("mutual", n - 1) if n else "odd"


def sum(n: int) -> Any:
    return call("mix", n, call("sum", n - 1)) if n else 0


def tree(n: int) -> Any:
    note("tree", n)
    return call("mix", call("tree", n - 1), call("amix", n), call("tree", n - 2)) if n > 1 else n


async def atail(n: int) -> Any:
    note("atail", n)
    await asyncio.sleep(0)
    return call("atail", n - 1) if n else "aend"


def btail(n: int) -> Any:
    note("btail", n)
    return call("btail", n - 1) if n else "bend"


def amutual(n: int) -> Any:
    note("amutual", n)
    return call("aother", n=n - 1) if n else "even"


async def aother(n: int) -> Any:
    note("aother", n)
    return call("amutual", n - 1) if n else "odd"


def listed(n: int) -> Any:
    return [call("listed", n - 1), {"n": call("mix", n)}] if n else []


def routed(n: int) -> Any:
    note("routed", n)
    return Router(call("pick", n % 3), {0: call("routed", n - 1), 1: [call("mix", n)], 2: n}) if n else "routed"


def kept(n: int) -> Any:
    """The value of an inner call is kept, that of a tail call is not."""
    note("kept", n)
    inner = call("mix", n // 2).with_cache(_current.caches["a"])
    return call("kept", n - 1).with_cache(_current.caches["b"]).after(inner) if n else "kept"


def retried(n: int) -> Any:
    return call("retried", n - 1).with_retry(n % 2).after(call("flaky", n).with_retry(1)) if n else call("flaky", -1)


def chosen(n: int) -> Any:
    note("chosen", n)
    return call("chosen", call("pick", n - 1).run_if(call("pick", n % 2 == 0 or n))) if n else "chosen"


def resourced(n: int) -> Any:
    return call("resourced", n - 1).after(call("uses_conn", n), call("uses_db", n)) if n else call("uses_conn")


def ordered(n: int) -> Any:
    """Sequencing among calls of different kinds."""
    first = call("mix", n)
    return call("ordered", n - 1).after(call("amix", n).after(first), first) if n else "ordered"


def mapped(n: int) -> Any:
    return _current.tasks["mapped"].map(n=[0, n - 1]) if n > 1 else call("mix", n)


def sunk(n: int, row: Any = None) -> Any:
    """Fails at the bottom, with work left to do above."""
    return call("mix", call("sunk", n - 1, row=[call("mix", n)]), call("mix", "not reached")) if n else call("fails", n)


RECURSIONS: list[Any] = [
    *(tail, accumulate, mutual, other, sum, tree, atail, amutual, aother, listed, routed),
    *(kept, retried, chosen, resourced, ordered, mapped, sunk),
]
#: Recursions in which calls may run together.
TOGETHER = ("atail", "tree", "btail", "amutual", "ordered", "mapped")
PLAIN: list[Any] = [
    *(mix, amix, acomes, coro, waits, uses_db, uses_conn, defaults, same, grow, keeps, pick),
    *(fails, afails, stops, astops, halts, flaky, aflaky, mixed),
]


# ----------------------------------------------------------------------------------------------------- resources


@resource
def config() -> Any:
    note("+config")
    try:
        yield "config"
    finally:
        note("-config")


@resource
def db(config: Any = inject("config")) -> Any:
    note("+db")
    try:
        yield "db"
    except Exception as error:
        note("!db", type(error).__name__)
        raise
    finally:
        note("-db")


@resource(scope="task")
def conn(db: Any = inject("db")) -> Any:
    note("+conn")
    try:
        yield "conn"
    finally:
        note("-conn")


@resource
def bad_up(config: Any = inject("config")) -> Any:
    raise LookupError("up")
    yield


@resource
def bad_down(config: Any = inject("config")) -> Any:
    note("+bad_down")
    try:
        yield "bad_down"
    finally:
        note("-bad_down")
        raise LookupError("down")


@resource(scope="task")
def bad_step() -> Any:
    note("+bad_step")
    try:
        yield "bad_step"
    finally:
        note("-bad_step")
        raise LookupError("step")


RESOURCES = [config, db, conn, bad_up, bad_down, bad_step]


class World:
    """The tasks and caches of one voice, and the log that they write."""

    def __init__(self) -> None:
        self.log: list[str] = []
        #: Whether calls may have run together, so that their order means nothing.
        self.is_async = False
        #: Whether there were maps, which run together, but each to its end unless something lets others run.
        self.maps = False
        #: Whether calls may have run in threads, so that not even one kernel repeats their order.
        self.threads = False
        #: Called with the number of entries in the log when one is made.
        self.watch: Callable[[int], None] = lambda entries: None
        self.failures: set[str] = set()
        self.caches = {name: Cache(name) for name in "ab"}
        self.things = [Thing(0), Thing(1)]
        self.bodies: dict[str, Task[..., Any]] = {}
        self.tasks: dict[str, Any] = {make.__name__: Task(make(make.__name__), make.__name__) for make in PLAIN}
        for name, make in (("bmix", mix), ("bfails", fails), ("buses", uses_db)):
            self.tasks[name] = Task(make(name), name, mode="blocking")
        for name, make in (("pure", mix), ("apure", amix)):
            self.tasks[name] = Task(make(name), name, pure=True)
        self.tasks |= {function.__name__: Task(function) for function in RECURSIONS}
        self.tasks["btail"] = Task(btail, mode="blocking")

    def enter(self, fresh: bool = False) -> None:
        """Make this world the one that functions find; with ``fresh`` its caches are empty."""
        global _current
        _current = self
        self.log.clear()
        self.failures.clear()
        if fresh:
            for cache in self.caches.values():
                cache.kept.clear()

    def note(self, name: str, *details: Any) -> None:
        self.log.append(f"{name} {details!r}")
        self.watch(len(self.log))

    def fail_once(self, key: str) -> None:
        if key not in self.failures:
            self.failures.add(key)
            raise KeyError(key)

    def parameters(self) -> dict[str, Any]:
        return {"p": 7, "q": [1, 2]}

    def build(self, what: Any, argument: Any = None) -> Any:
        """Make the value that a description stands for."""
        return _Builder(self, argument).build(what)


class _Builder:
    def __init__(self, world: World, argument: Any) -> None:
        self.world = world
        self.argument = argument
        self.calls: list[Any] = []
        self.boxes: list[Any] = []

    def build(self, what: Any) -> Any:
        kind, *rest = what
        make = getattr(self, f"_{kind}", None)
        return make(*rest) if make is not None else self._container(kind, *rest)

    def _lit(self, value: Any) -> Any:
        return value

    def _odd(self, kind: str, number: int) -> Any:
        return self.world.things[number] if kind == "thing" else ODD[kind](number)

    def _task(self, name: str) -> Any:
        return self.world.tasks[name]

    def _arg(self) -> Any:
        return self.argument

    def _again(self, k: int) -> Any:
        return self.calls[k % len(self.calls)] if self.calls else k

    def _box(self, k: int) -> Any:
        return self.boxes[k % len(self.boxes)] if self.boxes else k

    def _param(self, name: str) -> Any:
        return _get_param_value(name)

    def _inject(self, name: str) -> Any:
        return inject(name)

    def _router(self, selector: Any, routes: Any) -> Any:
        return Router(self.build(selector), dict(zip(("a", 1, None), map(self.build, routes), strict=False)))

    def _container(self, kind: str, items: Any) -> Any:
        values = [self.build(item) for item in items]
        made: Any
        if kind in ("dict", "ordered"):
            made = (dict if kind == "dict" else OrderedDict)(zip("abc", values, strict=False))
        elif kind == "pair":
            made = Pair(*values)
        elif kind == "twice":  # one container in two places
            made = [values, values]
        else:
            made = CONTAINERS[kind](values)
        self.boxes.append(made)
        return made

    # Calls.

    def _call(self, name: str, args: Any, kwargs: Any, policies: Any) -> Any:
        task = self.world.tasks[name]
        self._starts(task)
        values = [self.build(one) for one in args]
        return self._with(task(*values, **{key: self.build(one) for key, one in kwargs.items()}), policies)

    def _starts(self, task: Any) -> None:
        self.world.threads = self.world.threads or task.mode is not None
        self.world.is_async = self.world.is_async or task.is_async or task.mode is not None or task.name == "mixed"

    def _expand(self, kind: str, body: Any, value: Any, policies: Any) -> Any:
        key = repr((kind, body))
        task = self.world.bodies.get(key)
        if task is None:
            mode = "blocking" if kind == "blocking" else None
            name = f"expand {crc32(key.encode())}"  # calls with other bodies are other calls to a cache
            task = self.world.bodies[key] = Task(expand(kind, body), name, mode=mode)
        self._starts(task)
        return self._with(task(self.build(value)), policies)

    def _recurse(self, kind: str, n: int) -> Any:
        self.world.is_async = self.world.is_async or kind in TOGETHER
        self.world.threads = self.world.threads or kind == "btail"
        self.calls.append(self.world.tasks[kind](n))
        return self.calls[-1]

    def _map(self, name: str, values: Any, policies: Any) -> Any:
        task = self.world.tasks[name]
        self.world.maps = True
        self._starts(task)
        return self._with(task.map(x=[self.build(one) for one in values]), policies)

    def _with(self, lazy: Any, policies: Any) -> Any:
        if "retry" in policies:
            lazy.with_retry(policies["retry"])
        if "cache" in policies:
            lazy.with_cache(self.world.caches[policies["cache"]])
        if "constant" in policies:
            lazy.run_if(policies["constant"])
        if "run_if" in policies:
            lazy.run_if(self.build(policies["run_if"]))
        if "after" in policies:
            lazy.after(self.build(policies["after"]))
        if "amount" in policies:
            amount = self.build(policies["amount"])
            lazy.with_constraints(cpu=amount if type(amount) is int else self._one(amount))
        self.calls.append(lazy)
        return lazy

    def _one(self, lazy: Any) -> Any:
        return _ONE(lazy)


def _one(_: Any) -> int:
    note("one")
    return 1


_ONE: Any = Task(_one)

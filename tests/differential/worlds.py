"""Turns descriptions of programs (see ``tests.strategies``) into expressions, with tasks that write down what happens.

Functions find their world through this module, not through a closure: what a cache key covers (code, defaults,
closure cells) then is the same in every world.
"""

from __future__ import annotations

import asyncio
import copy
import re
from collections import Counter, OrderedDict, namedtuple
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from cascade.control_flow import bind, select_jump
from cascade.inputs import Env, Param
from cascade.spec.jump import Jump
from cascade.spec.resource import ResourceDefinition, inject, resource
from cascade.spec.routing import Router
from cascade.spec.task import Task

__all__ = ["Halt", "Pair", "World"]

Pair = namedtuple("Pair", "first second")

#: An environment variable that programs read.
VARIABLE = "CASCADE_TEST_VARIABLE"


class Row(list):  # type: ignore[type-arg]
    """A list of another type, which can be seen."""

    def __repr__(self) -> str:
        return f"Row({super().__repr__()})"


class Triple(tuple):  # type: ignore[type-arg]
    """A tuple of another type, which can be seen."""

    def __repr__(self) -> str:
        return f"Triple({super().__repr__()})"


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


def loop(number: int) -> Any:
    """Data that contains itself."""
    made: list[Any] = [number]
    made.append({"self": made})
    return made


def knot(number: int) -> Any:
    """Data in which one list stands in several places."""
    part = [number]
    return [part, part, {"again": part}]


CONTAINERS: dict[str, Any] = {"list": list, "tuple": tuple, "row": Row, "triple": Triple}
ODD: dict[str, Any] = {
    "never": Never, "always": Always, "raises": Raises, "point": Point, "loop": loop, "knot": knot,
    "set": lambda number: {number}, "range": lambda number: range(number, 3),
    "keyed": lambda number: {None: number, (1, 2): [number], True: "x"},
}


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


class Session:
    """One run in a world: what it writes down, and what has failed in it before.

    A run finds its session in the context that it was awaited in, so that several can be under way at once.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.log: list[str] = []
        self.failures: Counter[str] = Counter()

    def note(self, name: str, *details: Any) -> None:
        self.log.append(f"{name} {details!r}")
        self.world.watch(len(self.log))


session: ContextVar[Session] = ContextVar("session")


def note(name: str, *details: Any) -> None:
    session.get().note(name, *details)


def world() -> World:
    return session.get().world


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    return world().tasks[name](*args, **kwargs)


def fail(key: str, times: int = 1) -> None:
    """Fail the first times that this is called with a key in a run."""
    failures = session.get().failures
    failures[key] += 1
    if failures[key] <= times:
        raise KeyError(key)


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
        fail(repr((args, kwargs)))
        return (name, args)

    return flaky


def weak(name: str) -> Callable[..., Any]:
    """Fails twice."""

    def weak(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        fail(repr((args, kwargs)), 2)
        return (name, args)

    return weak


def only(name: str) -> Callable[..., Any]:
    def only(x: Any, /, y: Any = 1, *, z: Any = 2) -> Any:
        note(name, x, y, z)
        return (x, y, z)

    return only


def spread(name: str) -> Callable[..., Any]:
    """Returns a map, also as the item of one."""

    def spread(x: Any = 0, **kwargs: Any) -> Any:
        note(name, x, kwargs)
        return world().tasks["mix"].map(x=[x, [x]], **{key: [one, one] for key, one in kwargs.items()})

    return spread


def changing(name: str) -> Callable[..., Any]:
    """What ``replaces`` puts another function in place of."""

    def changing(*args: Any, **kwargs: Any) -> Any:
        note(name, "changing", args, kwargs)
        return ("changing", args)

    return changing


def replaces(name: str) -> Callable[..., Any]:
    """Replaces a function while calls of it are on their way: those of later steps are calls of the new one."""

    def replaces(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        made = (mix, uses_conn, changing, fails)[len(args)]
        world().tasks["changing"].func = made("changing")
        return call("changing", len(args))

    return replaces


def areplaces(name: str) -> Callable[..., Any]:
    async def areplaces(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        world().tasks["changing"].func = (amix, mix, acomes, keeps)[len(args)]("changing")
        return call("changing", len(args))

    return areplaces


def overrides(name: str) -> Callable[..., Any]:
    """Puts another provider in a resource's place: from its next set-up on."""

    def overrides(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        world().override(*OVERRIDES[len(args) % len(OVERRIDES)])
        return call("uses_conn", len(args))

    return overrides


def pauses(name: str) -> Callable[..., Any]:
    """Has its own run paused for some turns of the event loop."""

    def pauses(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        world().pause(len(args))
        return len(args)

    return pauses


def aflaky(name: str) -> Callable[..., Any]:
    async def aflaky(*args: Any, **kwargs: Any) -> Any:
        note(name, args, kwargs)
        fail(repr((args, kwargs)))
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
        return world().build(body, x)

    async def aexpand(x: Any) -> Any:
        await asyncio.sleep(0)
        note("expand", x)
        return world().build(body, x)

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
    inner = call("mix", n // 2).with_cache(world().caches["a"])
    return call("kept", n - 1).with_cache(world().caches["b"]).after(inner) if n else "kept"


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
    return world().tasks["mapped"].map(n=[0, n - 1]) if n > 1 else call("mix", n)


def sunk(n: int, row: Any = None) -> Any:
    """Fails at the bottom, with work left to do above."""
    return call("mix", call("sunk", n - 1, row=[call("mix", n)]), call("mix", "not reached")) if n else call("fails", n)


def swapping(n: int, last: Any = None) -> Any:
    """Each step calls another function under one name, and the same task."""
    world().tasks["changing"].func = (mix, uses_conn, changing)[n % 3]("changing")
    return call("swapping", n - 1, last=call("changing", n)) if n else last


def renewed(n: int) -> Any:
    """Each step calls another task of one name."""
    made: Any = Task((mix, keeps, uses_conn)[n % 3]("part"), "part")
    return call("mix", made(n, y=n), call("renewed", n - 1)) if n else "renewed"


def jumping(n: int, last: Any = 0) -> Any:
    """Jumps, to its own call and to one with a dependency, with data of every kind."""
    note("jumping", n, last)
    if n <= 0:
        return Jump("nowhere" if last else "stop", [n, last])
    key = ("again", "other")[n % 3 == 0]
    data: Any = (n - 1, {"n": n - 1, "last": n}, {"0": n - 2}, {"last": [n], "n": n - 1})[n % 4]
    return Jump("none") if n % 7 == 6 else Jump(key, data)


RECURSIONS: list[Any] = [
    *(tail, accumulate, mutual, other, sum, tree, atail, amutual, aother, listed, routed),
    *(kept, retried, chosen, resourced, ordered, mapped, sunk, swapping, renewed, jumping),
]
#: Tasks that change what later calls do.
CHANGING = ("replaces", "areplaces", "overrides", "swapping")
#: Recursions in which calls may run together.
TOGETHER = ("atail", "tree", "btail", "amutual", "ordered", "mapped")
PLAIN: list[Any] = [
    *(mix, amix, acomes, coro, waits, uses_db, uses_conn, defaults, same, grow, keeps, pick),
    *(fails, afails, stops, astops, halts, flaky, aflaky, mixed, weak, only, spread, changing),
    *(replaces, areplaces, overrides, pauses),
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


def other(name: str, value: str) -> Any:
    def provider(config: Any = inject("config")) -> Any:
        note(f"+{name}")
        try:
            yield value
        finally:
            note(f"-{name}")

    return provider


RESOURCES = [config, db, conn, bad_up, bad_down, bad_step]
#: What may come in a resource's place; one changes the scope.
OVERRIDES: list[tuple[str, Any]] = [
    ("conn", ResourceDefinition(other("conn2", "conn"), "conn", "task")),
    ("db", ResourceDefinition(other("db2", "db"), "db", "run")),
    ("conn", conn),
    ("conn", ResourceDefinition(other("conn3", "conn"), "conn", "run")),
]


class Tasks(dict[str, Any]):
    """The tasks of a world by name, made when they are first wanted."""

    def __missing__(self, name: str) -> Any:
        made = self[name] = _MAKERS[name](name)
        return made


def _plain(make: Callable[[str], Any], **options: Any) -> Callable[[str], Any]:
    return lambda name: Task(make(name), name, **options)


def _recursive(function: Any, **options: Any) -> Callable[[str], Any]:
    return lambda name: Task(function, **options)


#: Tasks that stories define anew.
NAMES = ("t0", "t1", "t2")
_MAKERS: dict[str, Callable[[str], Any]] = {
    **{make.__name__: _plain(make) for make in PLAIN},
    **{name: _plain(make, mode="blocking") for name, make in (("bmix", mix), ("bfails", fails), ("buses", uses_db))},
    **{name: _plain(make, pure=True) for name, make in (("pure", mix), ("apure", amix))},
    **{function.__name__: _recursive(function) for function in RECURSIONS},
    "btail": _recursive(btail, mode="blocking"),
    **{name: _plain(mix) for name in NAMES},
}


def made(kind: str, name: str, pure: bool) -> Any:
    """Return a task that does what another one does, under another name."""
    make = next(one for one in PLAIN if one.__name__ == kind)
    return Task(make(name), name, pure=pure)


class World:
    """The tasks and caches of one voice."""

    def __init__(self) -> None:
        #: What the last run has written down.
        self.log: list[str] = []
        #: Whether calls may have run together, so that their order means nothing.
        self.is_async = False
        #: Whether there were maps, which run together, but each to its end unless something lets others run.
        self.maps = False
        #: Whether calls may have run in threads, so that not even one kernel repeats their order.
        self.threads = False
        #: Whether there were maps within maps, or retried ones: they let others run between their calls.
        self.breathes = False
        #: Whether calls have changed what later ones do.
        self.changes = False
        #: Called with the number of entries in the log when one is made.
        self.watch: Callable[[int], None] = lambda entries: None
        #: Called with the name of a resource and its new definition.
        self.override: Callable[[str, Any], None] = lambda name, definition: None
        #: Called with a number of turns of the event loop, for which the runs of this world's engine are to pause.
        self.pause: Callable[[int], None] = lambda turns: None
        self.params: dict[str, Any] = {"p": 7, "q": [1, 2]}
        self.caches = {name: Cache(name) for name in "ab"}
        self.things = [Thing(0), Thing(1)]
        self.bodies: dict[str, Task[..., Any]] = {}
        self.tasks = Tasks()

    def enter(self, fresh: bool = False) -> Session:
        """Begin a session, which functions that are called from now on in this context find; ``fresh``: no caches."""
        now = Session(self)
        session.set(now)
        self.log = now.log
        if fresh:
            for cache in self.caches.values():
                cache.kept.clear()
        return now

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of a run: its own, as tasks may change what they get."""
        return copy.deepcopy(self.params)

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
        return Param(name, default={"d": "default"}.get(name))

    def _env(self) -> Any:
        return Env(VARIABLE, default="unset")

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
        self.world.changes = self.world.changes or task.name in CHANGING
        self.world.breathes = self.world.breathes or task.func.__name__ == "spread"
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
        self.world.changes = self.world.changes or kind in CHANGING
        self.calls.append(self.world.tasks[kind](n) if kind != "jumping" else self._jumping(n))
        return self.calls[-1]

    def _jumping(self, n: int) -> Any:
        task, mix = self.world.tasks["jumping"], self.world.tasks["mix"]
        again, other, none = task(n), task(mix("n"), last=mix("last")), task(0, last=[mix("none")])
        selector = select_jump({"again": again, "other": other, "none": none, "stop": None})
        for one in (again, other, none):
            bind(one, selector)
        return again

    def _map(self, name: str, columns: Any, policies: Any) -> Any:
        task = self.world.tasks[name]
        self.world.maps = True
        self.world.breathes = self.world.breathes or "retry" in policies
        self._starts(task)
        made = {key: self._column(what) for key, what in columns.items()}
        return self._with(task.map(**made), policies)

    def _column(self, what: Any) -> Any:
        return [self.build(one) for one in what] if type(what) is list else self.build(what)

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

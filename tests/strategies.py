"""Programs drawn by Hypothesis: descriptions that every voice builds for itself, so that no two share an object.

A description is plain data: ``("lit", 3)``, ``("call", "mix", (args), {kwargs}, {policies})``, ``("again", k)`` for the
k-th call written so far, containers, Routers, maps, markers. The bodies of tasks that return calls are descriptions
too, in which ``("arg",)`` stands for the task's own argument.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from cascade.internal.inputs import _get_param_value
from cascade.spec.resource import inject, resource
from cascade.spec.routing import Router
from cascade.spec.task import Task

__all__ = ["Pair", "World", "programs"]

Pair = namedtuple("Pair", "first second")


class Row(list):  # type: ignore[type-arg]
    """A list of another type."""


PARAMETERS = {"p": 7, "q": [1, 2]}

# ---------------------------------------------------------------------------------------------------------- drawing

literals = st.one_of(
    st.integers(-2, 3).map(lambda v: ("lit", v)),
    st.sampled_from([None, True, False, 1.0, "a", "", (1, 2)]).map(lambda v: ("lit", v)),
)


def containers(items: Any) -> Any:
    several = st.lists(items, max_size=3)
    return st.one_of(
        several.map(lambda v: ("list", v)),
        several.map(lambda v: ("tuple", v)),
        several.map(lambda v: ("dict", v)),
        several.map(lambda v: ("row", v)),
        several.map(lambda v: ("ordered", v)),
        st.tuples(items, items).map(lambda v: ("pair", list(v))),
        st.tuples(items, items).map(lambda v: ("twice", list(v))),
    )


policies = st.fixed_dictionaries(
    {},
    optional={
        "retry": st.integers(0, 2),
        "constant": st.booleans(),
        "run_if": st.deferred(lambda: calls),
        "after": st.deferred(lambda: calls),
        "amount": st.one_of(st.just(("lit", 1)), st.deferred(lambda: calls)),
    },
)
no_policies = st.just({})

expressions = st.deferred(
    lambda: st.one_of(literals, literals, calls, calls, again, containers(expressions), routers, markers)
)
again = st.integers(0, 20).map(lambda k: ("again", k))
markers = st.sampled_from([("param", "p"), ("param", "q"), ("inject", "db"), ("inject", "conn")])
arguments = st.lists(expressions, max_size=3)
keywords = st.dictionaries(st.sampled_from(["x", "y", "z"]), expressions, max_size=2)
kinds = st.sampled_from(
    ["mix"] * 6
    + ["amix", "pure"] * 2
    + ["acomes", "coro", "uses_db", "uses_conn", "defaults", "fails", "stops", "flaky"]
)
plain_calls = st.tuples(st.just("call"), kinds, arguments, keywords, st.one_of(no_policies, no_policies, policies))
expanding = st.tuples(
    st.just("expand"), st.sampled_from(["sync", "async"]), st.deferred(lambda: bodies), expressions, no_policies
)
recursions = st.tuples(
    st.just("recurse"),
    st.sampled_from(["tail", "accumulate", "mutual", "sum", "tree", "atail", "listed"]),
    st.integers(0, 5),
)
maps = st.tuples(
    st.just("map"),
    st.sampled_from(["mix", "amix", "flaky", "uses_db", "mixed"]),
    st.lists(expressions, max_size=3),
    st.one_of(no_policies, policies),
)
calls = st.deferred(lambda: st.one_of(plain_calls, plain_calls, plain_calls, expanding, recursions, maps))
routers = st.tuples(
    st.just("router"),
    st.one_of(expressions, st.sampled_from([("call", "pick", [("lit", k)], {}, {}) for k in ("a", "b", 1, None)])),
    st.lists(expressions, min_size=1, max_size=3),
)
own_argument = st.just(("arg",))
bodies = st.one_of(
    expressions,
    own_argument,
    st.lists(st.one_of(expressions, own_argument), min_size=1, max_size=2).map(lambda v: ("call", "mix", v, {}, {})),
)
programs = st.one_of(plain_calls, expanding, recursions, maps, containers(expressions))

# --------------------------------------------------------------------------------------------------------- building


class World:
    """The tasks and resources of one voice, and the log that they write."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.is_async = False
        self.made: list[Any] = []
        self.failures: dict[str, int] = {}
        self.tasks = {name: self._task(name) for name in ("mix", "amix", "acomes", "coro", "uses_db", "uses_conn")}
        for name in ("defaults", "fails", "stops", "flaky", "pick", "mixed"):
            self.tasks[name] = self._task(name)
        self.tasks["pure"] = Task(self._function("pure"), "pure", pure=True)
        self.bodies: dict[str, Task[..., Any]] = {}
        self.resources = self._resources()
        self._recursions()

    def forget(self) -> None:
        """Begin anew with the same tasks."""
        self.log.clear()
        self.made.clear()
        self.failures.clear()

    def note(self, name: str, *details: Any) -> None:
        self.log.append(f"{name} {details!r}")

    def _task(self, name: str) -> Task[..., Any]:
        return Task(self._function(name), name)

    def _function(self, name: str) -> Callable[..., Any]:
        made: Callable[..., Any] = getattr(self, f"_make_{name}", self._make_mix)(name)
        return made

    def _make_mix(self, name: str) -> Callable[..., Any]:
        def mix(*args: Any, **kwargs: Any) -> Any:
            self.note(name, args, kwargs)
            return (name, args, tuple(kwargs.items()))

        return mix

    def _make_amix(self, name: str) -> Callable[..., Any]:
        async def amix(*args: Any, **kwargs: Any) -> Any:
            self.note(name, args, kwargs)
            await asyncio.sleep(0)
            return (name, args, tuple(kwargs.items()))

        return amix

    def _make_acomes(self, name: str) -> Callable[..., Any]:
        async def acomes(*args: Any, **kwargs: Any) -> Any:
            self.note(name, args, kwargs)
            return len(args)

        return acomes

    def _make_coro(self, name: str) -> Callable[..., Any]:
        async def later(args: Any, kwargs: Any) -> Any:
            return (name, args, tuple(kwargs.items()))

        def coro(*args: Any, **kwargs: Any) -> Any:
            self.note(name, args, kwargs)
            return later(args, kwargs)

        return coro

    def _make_uses_db(self, name: str) -> Callable[..., Any]:
        def uses_db(*args: Any, db: Any = inject("db"), **kwargs: Any) -> Any:
            self.note(name, args, db, kwargs)
            return (name, args, db)

        return uses_db

    def _make_uses_conn(self, name: str) -> Callable[..., Any]:
        def uses_conn(x: Any = 0, y: Any = inject("conn"), *rest: Any, **kwargs: Any) -> Any:
            self.note(name, x, y, rest, kwargs)
            return (name, x, y)

        return uses_conn

    def _make_defaults(self, name: str) -> Callable[..., Any]:
        def defaults(x: Any, y: Any = 5, *, z: Any = 6) -> Any:
            self.note(name, x, y, z)
            return (x, y, z)

        return defaults

    def _make_fails(self, name: str) -> Callable[..., Any]:
        def fails(*args: Any, **kwargs: Any) -> Any:
            self.note(name, args, kwargs)
            raise ValueError(name, args)

        return fails

    def _make_stops(self, name: str) -> Callable[..., Any]:
        def stops(*args: Any, **kwargs: Any) -> Any:
            self.note(name, args, kwargs)
            raise StopIteration(len(args))

        return stops

    def _make_flaky(self, name: str) -> Callable[..., Any]:
        def flaky(*args: Any, **kwargs: Any) -> Any:
            self.note(name, args, kwargs)
            key = repr((args, kwargs))
            self.failures[key] = self.failures.get(key, 0) + 1
            if self.failures[key] <= 1:
                raise KeyError(key)
            return (name, args)

        return flaky

    def _make_pick(self, name: str) -> Callable[..., Any]:
        def pick(x: Any) -> Any:
            self.note(name, x)
            return x

        return pick

    def _make_mixed(self, name: str) -> Callable[..., Any]:
        def mixed(x: Any) -> Any:
            self.note(name, x)
            return self.tasks["mix" if x else "amix"](x)

        return mixed

    def _resources(self) -> list[Any]:
        @resource
        def config() -> Any:
            self.note("+config")
            yield "config"
            self.note("-config")

        @resource
        def db(config: Any = inject("config")) -> Any:
            self.note("+db")
            try:
                yield "db"
            except Exception as error:
                self.note("!db", type(error).__name__)
                raise
            finally:
                self.note("-db")

        @resource(scope="task")
        def conn(db: Any = inject("db")) -> Any:
            self.note("+conn")
            yield "conn"
            self.note("-conn")

        return [config, db, conn]

    def _recursions(self) -> None:
        mix, amix = self.tasks["mix"], self.tasks["amix"]
        all_tasks: dict[str, Task[..., Any]] = {}

        def define(function: Callable[..., Any]) -> None:
            all_tasks[function.__name__] = Task(function)

        @define
        def tail(n: int) -> Any:
            self.note("tail", n)
            return all_tasks["tail"](n - 1) if n else "end"

        @define
        def accumulate(n: int, acc: Any = ()) -> Any:
            return all_tasks["accumulate"](n - 1, acc=mix(acc, n)) if n else acc

        @define
        def mutual(n: int) -> Any:
            self.note("mutual", n)
            return all_tasks["other"](n=n - 1) if n else "even"

        @define
        def other(n: int) -> Any:
            self.note("other", n)
            return all_tasks["mutual"](n - 1) if n else "odd"

        @define
        def sum(n: int) -> Any:
            return mix(n, all_tasks["sum"](n - 1)) if n else 0

        @define
        def tree(n: int) -> Any:
            self.note("tree", n)
            return mix(all_tasks["tree"](n - 1), amix(n), all_tasks["tree"](n - 2)) if n > 1 else n

        @define
        async def atail(n: int) -> Any:
            self.note("atail", n)
            await asyncio.sleep(0)
            return all_tasks["atail"](n - 1) if n else "aend"

        @define
        def listed(n: int) -> Any:
            return [all_tasks["listed"](n - 1), {"n": mix(n)}] if n else []

        self.recursive = all_tasks

    # Descriptions become expressions.

    def build(self, what: Any, argument: Any = None) -> Any:
        """Make the value that a description stands for."""
        kind = what[0]
        if kind == "lit":
            return what[1]
        if kind == "arg":
            return argument
        if kind == "again":
            return self.made[what[1] % len(self.made)] if self.made else what[1]
        if kind == "param":
            return _get_param_value(what[1])
        if kind == "inject":
            return inject(what[1])
        if kind in ("call", "expand", "recurse", "map"):
            lazy = getattr(self, f"_{kind}")(argument, *what[1:])
            self.made.append(lazy)
            return lazy
        if kind == "router":
            selector = self.build(what[1], argument)
            return Router(selector, dict(zip(("a", 1, None), (self.build(r, argument) for r in what[2]), strict=False)))
        return self._container(kind, [self.build(item, argument) for item in what[1]])

    def _container(self, kind: str, items: list[Any]) -> Any:
        if kind == "dict":
            return dict(zip("abc", items, strict=False))
        if kind == "ordered":
            return OrderedDict(zip("abc", items, strict=False))
        if kind == "pair":
            return Pair(*items)
        if kind == "twice":  # one container in two places
            return [items, items]
        return {"list": list, "tuple": tuple, "row": Row}[kind](items)

    def _call(self, argument: Any, name: str, args: Any, kwargs: Any, policies: Any) -> Any:
        self.is_async = self.is_async or name in ("amix", "acomes")
        values = [self.build(a, argument) for a in args]
        named = {k: self.build(v, argument) for k, v in kwargs.items()}
        return self._with(self.tasks[name](*values, **named), policies, argument)

    def _with(self, lazy: Any, policies: Any, argument: Any) -> Any:
        if "retry" in policies:
            lazy.with_retry(policies["retry"])
        if "constant" in policies:
            lazy.run_if(policies["constant"])
        if "run_if" in policies:
            lazy.run_if(self.build(policies["run_if"], argument))
        if "after" in policies:
            lazy.after(self.build(policies["after"], argument))
        if "amount" in policies:
            amount = self.build(policies["amount"], argument)
            lazy.with_constraints(cpu=amount if type(amount) is int else self._one(amount))
        return lazy

    def _one(self, lazy: Any) -> Any:
        def one(_: Any) -> int:
            self.note("one")
            return 1

        return Task(one)(lazy)

    def _expand(self, argument: Any, kind: str, body: Any, value: Any, policies: Any) -> Any:
        key = repr((kind, body))
        if key not in self.bodies:
            self.bodies[key] = self._body(kind, body)
        self.is_async = self.is_async or kind == "async"
        return self._with(self.bodies[key](self.build(value, argument)), policies, argument)

    def _body(self, kind: str, body: Any) -> Task[..., Any]:
        def expand(x: Any) -> Any:
            self.note("expand", x)
            outer, self.made = self.made, []
            try:
                return self.build(body, x)
            finally:
                self.made = outer

        async def aexpand(x: Any) -> Any:
            await asyncio.sleep(0)
            return expand(x)

        return Task(aexpand if kind == "async" else expand)

    def _recurse(self, argument: Any, kind: str, n: int) -> Any:
        self.is_async = self.is_async or kind in ("atail", "tree")
        return self.recursive[kind](n)

    def _map(self, argument: Any, name: str, values: Any, policies: Any) -> Any:
        self.is_async = self.is_async or name in ("amix", "mixed")
        return self._with(self.tasks[name].map(x=[self.build(v, argument) for v in values]), policies, argument)

"""Programs drawn at random: descriptions that every voice builds for itself, so that no two share an object.

A description is plain data, so it can be printed and sent to another process: ``("lit", 3)``,
``("call", "mix", [args], {kwargs}, {policies})``, ``("again", k)`` for the k-th call written so far, ``("box", k)`` for
the k-th container, containers, Routers, maps, markers. The bodies of tasks that return calls are descriptions too, in
which ``("arg",)`` stands for the task's own argument. ``tests.differential.worlds`` builds what they describe.

Whatever is drawn comes from a row of small numbers, 0 being the simplest choice::

    numbers --Choices--> Grammar --> program

Hypothesis may be asked for the numbers, which then makes failures small (``programs``), or ``random`` for a search at
scale, which is fifty times as fast (``drawn``).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

__all__ = ["Choices", "Grammar", "drawn", "from_choices", "in_order", "programs", "storms"]


class Choices:
    """Turns numbers below a limit into choices."""

    def __init__(self, below: Callable[[int], int]) -> None:
        self.below = below

    def one(self, options: Sequence[Any]) -> Any:
        """Return one of the options, the first of which is the simplest."""
        return options[self.below(len(options))]

    def chance(self, of: int) -> bool:
        """Return True once in so many times."""
        return self.below(of) == of - 1

    def several(self, make: Callable[[], Any], most: int, least: int = 0) -> list[Any]:
        """Return as many of what ``make`` makes as the choice says."""
        return [make() for _ in range(least + self.below(most - least + 1))]


def drawn(seed: int) -> Choices:
    """Return the choices of a seed."""
    numbers = random.Random(seed).random
    return Choices(lambda limit: int(numbers() * limit))


@st.composite
def from_choices(draw: Any, make: Callable[[Choices], Any]) -> Any:
    """What ``make`` makes of choices that Hypothesis draws."""
    return make(Choices(lambda limit: draw(st.integers(0, limit - 1))))


# What is not a call: plain values of all kinds, markers, tasks that were not called.

PLAIN = (None, True, False, 1.0, -0.0, "a", "1", "", (1, 2), (1, (True, "x")), float("nan"))
ODD = ("never", "always", "raises", "point", "thing", "loop", "knot", "set", "keyed", "range")
MARKERS = (
    [("param", "p"), ("param", "q"), ("param", "d"), ("env",), ("inject", "db"), ("inject", "conn")] * 4
    + [("inject", "bad_up"), ("inject", "bad_down"), ("inject", "bad_step"), ("task", "mix"), ("param", "absent")]
)
CONTAINERS = ("list", "tuple", "dict", "row", "ordered", "pair", "twice", "triple")

#: Tasks whose calls run one by one.
INLINE = (
    ["mix"] * 6
    + ["pure", "pure", "coro", "uses_db", "uses_conn", "defaults", "same", "grow", "keeps", "pick", "only"] * 2
    + ["fails", "stops", "flaky", "weak", "halts", "spread", "changing", "changing", "replaces", "overrides", "pauses"]
)
#: Tasks whose calls run together.
CONCURRENT = ["amix", "acomes", "bmix", "apure", "afails", "astops", "aflaky", "bfails", "buses", "areplaces"]
MAPPED = (
    *("mix", "amix", "flaky", "uses_db", "mixed", "pure", "bmix", "fails", "afails", "keeps", "spread", "weak"),
    *("uses_conn", "aflaky"),
)
RECURSIONS = (
    *("tail", "accumulate", "mutual", "sum", "listed", "routed", "kept", "retried", "chosen", "resourced", "sunk"),
    *("atail", "btail", "tree", "amutual", "ordered", "mapped", "swapping", "renewed", "jumping"),
)
#: Recursions that may go deep, because every step is like the one before.
DEEP = ("tail", "accumulate", "mutual", "sum", "listed", "atail", "amutual", "retried")
PICKS = [("call", "pick", [("lit", k)], {}, {}) for k in ("a", "b", 1, None)]
#: Tasks that take the same arguments, and run one by one like the other.
_KINDS_OF = {"mix": "keeps", "keeps": "mix", "pick": "coro", "coro": "pick", "same": "grow", "uses_db": "mix"}
#: How many calls a program may write down.
SIZES = (1, 2, 4, 6, 9, 14, 24)
DEPTH = 6


class Grammar:
    """Writes one program."""

    def __init__(self, choices: Choices, names: Sequence[str] = ()) -> None:
        self.names = names  # further tasks to call
        self.below, self.one, self.chance, self.several = choices.below, choices.one, choices.chance, choices.several
        self.left = self.one(SIZES)  # calls that may still be written
        self.depth = 0
        self.may_own = False  # whether there is an argument of a task's own

    def program(self) -> Any:
        """Return a program, one of two without calls that run together."""
        in_place = self.below(2) == 0
        kinds = (self.plain_call, self.expanding, self.recursion, self.map, self.family, self.shared, self.container)
        made = self.one((*kinds, self.plain_call, self.series, self.series))()
        return mended(in_order(made) if in_place else made)

    def expression(self) -> Any:
        """Return anything that an argument may be."""
        kind = self.below(8)
        if kind < 2 or self.left <= 0 or self.depth >= DEPTH:
            return self.again() if kind == 7 else self.literal()
        if self.may_own and self.chance(4):
            return ("arg",)
        self.depth += 1
        try:
            return (self.call, self.call, self.again, self.container, self.router, self.marker)[kind - 2]()
        finally:
            self.depth -= 1

    def literal(self) -> Any:
        kind = self.below(6)
        if kind < 3:
            return ("lit", self.below(6) - 2)
        return ("odd", self.one(ODD), self.below(2)) if kind == 5 else ("lit", self.one(PLAIN))

    def again(self) -> Any:
        return ("box" if self.chance(3) else "again", self.below(21))

    def marker(self) -> Any:
        return self.one(MARKERS)

    def container(self) -> Any:
        kind = self.one(CONTAINERS)
        least, most = (2, 2) if kind in ("pair", "twice") else (0, 3)
        return (kind, self.several(self.expression, most, least))

    def router(self) -> Any:
        selector = self.one(PICKS) if self.chance(2) else self.expression()
        return ("router", selector, self.several(self.expression, 3, 1))

    # Calls and their policies.

    def call(self) -> Any:
        self.left -= 1
        kinds = (self.expanding, self.recursion, self.map, self.family, self.shared)
        return self.one((*(self.plain_call,) * 3, *kinds))()

    def name(self) -> str:
        if self.names and self.chance(2):
            return str(self.one(self.names))
        return str(self.one(CONCURRENT) if self.chance(3) else self.one(INLINE))

    def plain_call(self) -> Any:
        name = self.name()
        args = self.several(self.expression, 3)
        kwargs = {self.one("xyz"): self.expression() for _ in range(self.below(3))}
        return ("call", name, args, kwargs, self.policies())

    def policies(self) -> Any:
        kind = self.below(5)
        if kind < 3:
            return {}
        if kind == 3:
            found = {"cache": self.one("ab")}
            return found | {"retry": self.below(2)} if self.chance(2) else found
        made = {
            "retry": lambda: self.below(3),
            "cache": lambda: self.one("ab"),
            "constant": lambda: self.chance(2),
            "run_if": self.one((self.call, self.router, self.pick)),
            "after": self.call,
            "amount": lambda: self.call() if self.chance(2) else ("lit", 1),
        }
        return {name: make() for name, make in made.items() if self.chance(2)}

    def pick(self) -> Any:
        return ("call", "pick", [("lit", self.one((0, None, 1)))], {}, {})

    def family(self) -> Any:
        """The same leaves again and again: what may be one call and what may not."""
        leaves = self.several(self.literal, 2, 1)

        def leaf() -> Any:
            return self.one(leaves)

        def leaf_or_box() -> Any:
            return (self.one(CONTAINERS[:5]), self.several(leaf, 2)) if self.chance(3) else leaf()

        def twin() -> Any:
            args = self.several(leaf_or_box, 2)
            kwargs = {self.one("xy"): leaf() for _ in range(self.below(3))}
            policies = {"cache": self.one("ab")} if self.chance(4) else {}
            return ("call", self.one(("pure", "pure", "apure", "mix")), args, kwargs, policies)

        return ("call", "mix", self.several(twin, 5, 2), {}, {})

    def shared(self) -> Any:
        """One container with lazies in several places: of one call, and of several calls."""
        box = (self.one(CONTAINERS[:5]), self.several(self.expression, 2, 1))
        again = ("box", -1)
        first = ("call", "same", [box, ("lit", 0), again], {"x": again}, {})
        return ("call", "mix", [first, ("call", "same", [again], {"y": again}, {})], {}, {})

    def expanding(self) -> Any:
        kind = self.one(("sync", "sync", "async", "blocking"))
        body = self.body()
        return ("expand", kind, body, self.expression(), self.policies())

    def body(self) -> Any:
        before, self.may_own = self.may_own, True
        try:
            if self.chance(3):
                return ("call", "mix", self.several(self.expression, 2, 1), {}, {})
            return self.expression()
        finally:
            self.may_own = before

    def recursion(self) -> Any:
        name = self.one(RECURSIONS)
        deep = name in DEEP and self.chance(40)
        return ("recurse", name, 40 + self.below(80) if deep else self.below(7))

    def map(self) -> Any:
        name = self.one(self.names) if self.names and self.chance(3) else self.one(MAPPED)
        kind = self.below(4)
        columns: Any = {"x": self.several(self.expression, 3)}
        if kind == 2:
            columns["y"] = self.several(self.expression, 3)
        elif kind == 3:
            columns["x"] = ("call", "keeps", self.several(self.expression, 3), {}, {})
        return ("map", name, columns, self.policies())


    def series(self) -> Any:
        """Steps that look nearly alike, one after the other: what may share a program, and what may not."""
        kinds = (self._varied_anyhow, self._reordered, self._reshared, self._regrouped, self._stubborn)
        made = self.one(kinds)()
        return ("call", "mix", [("expand", "sync", one, ("lit", 0), {}) for one in made], {}, {})

    def small(self) -> Any:
        """Return a call of a leaf, or seldom a leaf."""
        if self.chance(4):
            return self.literal()
        return ("call", self.one(("pick", "mix", "pure", "coro", "keeps")), [self.literal()], {}, {})

    def _varied_anyhow(self) -> list[Any]:
        made = [self.one((self.plain_call, self.shared, self.family))()]
        for _ in range(1 + self.below(3)):
            made.append(self.varied(self.one(made)))
        return made

    def _reordered(self) -> list[Any]:
        """Keyword arguments in several orders."""
        values = [(name, self.small()) for name in "xyz"[: 2 + self.below(2)]]
        name = self.one(("mix", "keeps", "pure", "defaults", "uses_db", "coro"))
        orders = [[self.below(8) for _ in values] for _ in range(2 + self.below(2))]
        places = [sorted(range(len(values)), key=order.__getitem__) for order in orders]
        return [("call", name, [], dict(values[place] for place in row), {}) for row in places]

    def _reshared(self) -> list[Any]:
        """The same calls, each used again in several ways."""
        calls = [("call", self.one(("mix", "pick")), [("lit", k)], {}, {}) for k in range(2 + self.below(2))]

        def again() -> Any:
            return ("again", self.below(len(calls)))

        name = self.one(("mix", "keeps", "same"))
        return [("call", name, [*calls, *self.several(again, 2, 1)], {}, {}) for _ in range(2 + self.below(2))]

    def _regrouped(self) -> list[Any]:
        """The same items in a container, some of which are in a further one: from one place on, up to another."""
        items, kind = self.several(self.small, 5, 3), self.one(("list", "tuple", "row"))
        start = self.below(len(items) - 1)

        def grouped() -> Any:
            end = start + 1 + self.below(len(items) - start)
            return (kind, [*items[:start], (kind, items[start:end]), *items[end:]])

        return [("call", "keeps", [grouped()], {}, {}) for _ in range(2 + self.below(2))]

    def _stubborn(self) -> list[Any]:
        """Calls that fail at first, or depend on a condition, with several policies."""
        name, leaf = self.one(("flaky", "weak", "aflaky", "mix", "fails")), self.literal()

        def policies() -> Any:
            condition = ("call", "pick", [("lit", self.one((0, None, 1, "a")))], {}, {})
            retries = [{"retry": number} for number in (2, 1, 3)]
            return self.one((*retries, {"run_if": condition}, {"constant": self.chance(2)}, {}))

        return [("call", "mix", [("call", name, [leaf], {}, policies())], {}, {}) for _ in range(2 + self.below(2))]

    def varied(self, what: Any) -> Any:
        """Return a call, a container or a leaf with one thing changed, here or further inside."""
        if what[0] == "call":
            return self._varied_call(*what[1:])
        if what[0] == "again":
            return ("again", self.below(4))
        if what[0] in CONTAINERS:
            kind, items = what
            if items and self.chance(2):
                return (kind, self._varied_one(items))
            flat = ("list", "tuple", "row", "triple", "dict", "ordered")
            return (self.one(flat) if kind in flat else kind, items)
        return self.expression() if what[0] == "lit" and self.chance(2) else ("list", [what])

    def _varied_one(self, items: list[Any]) -> list[Any]:
        at = self.below(len(items))
        return [self.varied(one) if number == at else one for number, one in enumerate(items)]

    def _varied_call(self, name: str, args: list[Any], kwargs: dict[str, Any], policies: Any) -> Any:
        kind = self.below(8)
        if kind == 0 and len(kwargs) > 1:
            kwargs = dict(reversed(kwargs.items()))
        elif kind == 1 and len(args) > 1:
            args = [args[-1], *args[1:-1], args[0]]
        elif kind == 2:
            args = [*args, ("again", self.below(4))]
        elif kind == 3 and args:  # the same items, nested otherwise
            at = self.below(len(args))
            args = [*args[:at], ("list", args[at:])]
        elif kind == 4 and kwargs:
            args, kwargs = [*args, *kwargs.values()], {}
        elif kind == 5:
            policies = {} if policies else {"retry": 2} if self.chance(2) else {"constant": False}
        elif kind == 6 and args and name in _KINDS_OF:
            name = _KINDS_OF[name]
        elif args:
            args = self._varied_one(args)
        return ("call", name, args, kwargs, policies)

    def storm(self) -> Any:
        """Calls that run together, of which some fail before any other ends: who fails first is no matter of time."""

        def member() -> Any:
            return ("call", self.one(("afails", "afails", "amix", "waits")), [("lit", 0)], {}, {})

        calls = [*self.several(member, 3), ("call", "afails", [], {}, {}), *self.several(member, 3)]
        return ("call", "mix", calls, {}, {})


#: What stands for calls that run together in programs whose every call has its place.
_ALONE = {
    "amix": "mix",
    "acomes": "pick",
    "bmix": "mix",
    "apure": "pure",
    "buses": "uses_db",
    "mixed": "pick",
    "afails": "fails",
    "astops": "stops",
    "aflaky": "flaky",
    "bfails": "fails",
    "areplaces": "replaces",
    "async": "sync",
    "blocking": "sync",
    "atail": "tail",
    "btail": "retried",
    "tree": "sum",
    "amutual": "mutual",
    "ordered": "chosen",
    "mapped": "sunk",
}


def in_order(what: Any) -> Any:
    """Return a program without calls that run together."""
    if isinstance(what, dict):
        return {key: in_order(item) for key, item in what.items()}
    if not isinstance(what, (list, tuple)):
        return what
    if what[:1] in (("call",), ("expand",), ("recurse",), ("map",)):
        return (what[0], _ALONE.get(what[1], what[1]), *map(in_order, what[2:]))
    return type(what)(map(in_order, what))


#: What stands for tasks that change what later calls do.
_STEADY = {"replaces": "mix", "areplaces": "amix", "overrides": "mix", "swapping": "tail", "kept": "tail"}


def steady(what: Any) -> Any:
    """Return a program that leaves everything as it was: without caches, and without calls that change others."""
    if isinstance(what, dict):
        return {key: steady(item) for key, item in what.items() if key != "cache"}
    if not isinstance(what, (list, tuple)):
        return what
    if what[:1] in (("call",), ("recurse",)):
        return (what[0], _STEADY.get(what[1], what[1]), *map(steady, what[2:]))
    return type(what)(map(steady, what))


#: Where values are compared or named.
_NAMED = re.compile("'(a?pure|cache)'")


def straightened(what: Any) -> Any:
    """Return a program without data that contains itself, which no reference can compare or name."""
    if isinstance(what, tuple) and what[:2] == ("odd", "loop"):
        return ("lit", 0)
    if isinstance(what, dict):
        return {key: straightened(item) if isinstance(item, (list, tuple)) else item for key, item in what.items()}
    return type(what)(straightened(item) if isinstance(item, (list, tuple, dict)) else item for item in what)


def mended(program: Any) -> Any:
    """Return a program without what cannot be judged."""
    text = repr(program)
    return straightened(program) if "'loop'" in text and _NAMED.search(text) else program


programs = from_choices(lambda choices: Grammar(choices).program())
storms = from_choices(lambda choices: Grammar(choices).storm())

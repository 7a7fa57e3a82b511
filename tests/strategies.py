"""Programs drawn by Hypothesis: descriptions that every voice builds for itself, so that no two share an object.

A description is plain data, so it can be printed and sent to another process: ``("lit", 3)``,
``("call", "mix", [args], {kwargs}, {policies})``, ``("again", k)`` for the k-th call written so far, ``("box", k)`` for
the k-th container, containers, Routers, maps, markers. The bodies of tasks that return calls are descriptions too, in
which ``("arg",)`` stands for the task's own argument. ``tests.differential.worlds`` builds what they describe.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["programs", "storms"]

# What is not a call: plain values of all kinds, markers, tasks that were not called.

plain = [None, True, False, 1.0, -0.0, "a", "1", "", (1, 2), (1, (True, "x")), float("nan")]
odd = st.tuples(st.just("odd"), st.sampled_from(["never", "always", "raises", "point", "thing"]), st.integers(0, 1))
literals = st.one_of(
    st.integers(-2, 3).map(lambda v: ("lit", v)),
    st.sampled_from(plain).map(lambda v: ("lit", v)),
    odd,
)
again = st.tuples(st.sampled_from(["again", "again", "box"]), st.integers(0, 20))
markers = st.sampled_from(
    [("param", "p"), ("param", "q"), ("inject", "db"), ("inject", "conn")] * 4
    + [("inject", "bad_up"), ("inject", "bad_down"), ("inject", "bad_step"), ("task", "mix")]
)
own_argument = st.just(("arg",))


def containers(items: Any) -> Any:
    several = st.lists(items, max_size=3)
    kinds = st.sampled_from(["list", "tuple", "dict", "row", "ordered"])
    pairs = st.tuples(st.sampled_from(["pair", "twice"]), st.lists(items, min_size=2, max_size=2))
    return st.one_of(st.tuples(kinds, several), pairs)


# Calls and their policies.

expressions: Any = st.deferred(
    lambda: st.one_of(literals, literals, calls, calls, again, containers(expressions), routers, markers)
)
no_policies: Any = st.just({})
all_policies: Any = st.fixed_dictionaries(
    {},
    optional={
        "retry": st.integers(0, 2),
        "cache": st.sampled_from("ab"),
        "constant": st.booleans(),
        "run_if": st.deferred(lambda: st.one_of(calls, calls, routers)),
        "after": st.deferred(lambda: calls),
        "amount": st.one_of(st.just(("lit", 1)), st.deferred(lambda: calls)),
    },
)
cached: Any = st.fixed_dictionaries({"cache": st.sampled_from("ab")}, optional={"retry": st.integers(0, 1)})
policies = st.one_of(no_policies, no_policies, no_policies, cached, all_policies)

#: Tasks whose calls run one by one.
inline = (
    ["mix"] * 6
    + ["pure", "pure", "coro", "uses_db", "uses_conn", "defaults", "same", "grow", "keeps", "pick"] * 2
    + ["fails", "stops", "flaky", "halts"]
)
#: Tasks whose calls run together.
concurrent = ["amix", "acomes", "bmix", "apure", "afails", "astops", "aflaky", "bfails", "buses"]

arguments = st.lists(expressions, max_size=3)
keywords = st.dictionaries(st.sampled_from(["x", "y", "z"]), expressions, max_size=2)
plain_calls = st.tuples(st.just("call"), st.sampled_from(inline + concurrent), arguments, keywords, policies)
#: The same leaves again and again: what may be one call and what may not.
twins = st.lists(literals, min_size=1, max_size=2).flatmap(
    lambda leaves: st.lists(
        st.tuples(
            st.just("call"),
            st.sampled_from(["pure", "pure", "apure", "mix"]),
            st.lists(st.one_of(st.sampled_from(leaves), containers(st.sampled_from(leaves))), max_size=2),
            st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(leaves), max_size=2),
            st.one_of(no_policies, no_policies, cached),
        ),
        min_size=2,
        max_size=5,
    )
)
families = twins.map(lambda calls: ("call", "mix", calls, {}, {}))
#: One container with lazies in several places: of one call, and of several calls.
again_box = ("box", -1)


def same_twice(box: Any) -> Any:
    return ("call", "same", [box, ("lit", 0), again_box], {"x": again_box}, {})


shared = st.tuples(
    st.sampled_from(["list", "tuple", "dict", "row", "ordered"]), st.lists(expressions, min_size=1, max_size=2)
).map(lambda box: ("call", "mix", [same_twice(box), ("call", "same", [again_box], {"y": again_box}, {})], {}, {}))
expanding = st.tuples(
    st.just("expand"), st.sampled_from(["sync", "sync", "async", "blocking"]), st.deferred(lambda: bodies), expressions,
    policies,
)  # fmt: skip
RECURSIONS = (
    *("tail", "accumulate", "mutual", "sum", "listed", "routed", "kept", "retried", "chosen", "resourced", "sunk"),
    *("atail", "btail", "tree", "amutual", "ordered", "mapped"),
)
recursions = st.tuples(
    st.just("recurse"),
    st.sampled_from(RECURSIONS),
    st.integers(0, 6),
)
maps = st.tuples(
    st.just("map"),
    st.sampled_from(["mix", "amix", "flaky", "uses_db", "mixed", "pure", "bmix", "fails", "afails", "keeps"]),
    st.lists(expressions, max_size=3),
    policies,
)
calls: Any = st.deferred(
    lambda: st.one_of(plain_calls, plain_calls, plain_calls, expanding, recursions, maps, families, shared)
)
picks = st.sampled_from([("call", "pick", [("lit", k)], {}, {}) for k in ("a", "b", 1, None)])
routers = st.tuples(
    st.just("router"), st.one_of(expressions, picks, picks), st.lists(expressions, min_size=1, max_size=3)
)
bodies = st.one_of(
    expressions,
    own_argument,
    st.lists(st.one_of(expressions, own_argument), min_size=1, max_size=2).map(lambda v: ("call", "mix", v, {}, {})),
)
anything = st.one_of(plain_calls, expanding, recursions, maps, families, shared, containers(expressions))

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


def prunes_twice(what: Any, shares: bool | None = None) -> bool:
    """Whether a Router stands in a route of another one, in a program with a call or container in several places.

    EXCLUDED because of a bug: ``FlowManager.register_result`` also lets a Router release its routes whose consumer has
    been pruned, and so has released them before; what others need of them is then pruned.
    """
    if shares is None:
        shares = "('again'" in repr(what) or "('box'" in repr(what)
    if isinstance(what, dict):
        what = list(what.values())
    if not shares or not isinstance(what, (list, tuple)):
        return False
    if what[:1] == ("router",) and any("('router'" in repr(route) for route in what[2]):
        return True
    return any(prunes_twice(item, shares) for item in what)


def without(what: Any, policy: str) -> Any:
    if isinstance(what, dict):
        return {key: without(item, policy) for key, item in what.items() if key != policy}
    return type(what)(without(item, policy) for item in what) if isinstance(what, (list, tuple)) else what


def cacheable(program: Any) -> Any:
    """Return a program without what no cache policy can be combined with.

    EXCLUDED because of two bugs: on the compiled kernel a cached call cannot have a Router that has to put something
    together before it chooses (``_gather`` calls a compiled function, which has no content), and the cache id of a call
    wants one of the calls that its amounts come from, although it is not part of it (``Identity._ancestors``).
    """
    text = repr(program)
    if "'cache'" not in text:
        return program
    return without(program, "cache" if "('router'" in text else "amount")


programs = st.one_of(anything, anything.map(in_order)).map(cacheable).filter(lambda program: not prunes_twice(program))

# Calls that run together, of which one or more fail before any other ends: who fails first is then no matter of time.

members = st.sampled_from(["afails", "afails", "amix", "waits"]).map(lambda name: ("call", name, [("lit", 0)], {}, {}))
storms = st.tuples(st.lists(members, max_size=3), st.lists(members, max_size=3)).map(
    lambda sides: ("call", "mix", [*sides[0], ("call", "afails", [], {}, {}), *sides[1]], {}, {})
)

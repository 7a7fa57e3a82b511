"""The tasks that are measured, and the workloads made of them.

A workload is a function of a size. It runs on an engine of its own, checks the answer and returns how many units
(steps, nodes or items) it has done; its yardstick does the same without the engine. ``WORKLOADS`` has them by name.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cascade as cs
from benchmarks.yardsticks import coroutine, sleep0, trampoline
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.runtime import Engine, MessageBus
from cascade.spec.blueprint import TailCall

__all__ = ["INNER_CALLS", "WORKLOADS", "Workload", "counted", "engine", "run"]

#: Calls of ``noop`` in one step of ``heavy_complex_countdown``.
INNER_CALLS = 11


def engine(**options: Any) -> Engine:
    """Returns an engine with the stock parts; options as of ``Engine``."""
    return Engine(solver=NativeSolver(), executor=LocalExecutor(), bus=MessageBus(), **options)


def run(target: Any, on: Engine | None = None) -> Any:
    """Runs a lazy result in an event loop of its own, on a new engine unless one is given."""
    return asyncio.run((on or engine()).run(target))


# -------------------------------------------------------------------------------------------------------------- tasks


@cs.task
def noop(_dummy: Any = None) -> Any:
    return None


@cs.task
def add(a: int, b: int) -> int:
    return (a + b) % 1_000_007


@cs.task
def double(x: int) -> int:
    return 2 * x


@cs.task
def simple_countdown(n: int) -> Any:
    if n <= 0:
        return "done"
    return simple_countdown(n - 1)


@cs.task
def kw_countdown(*, n: int, a: Any, b: Any) -> Any:
    if n <= 0:
        return "done"
    return kw_countdown(n=n - 1, a=b, b=a)


@cs.task
def ring_a(n: int) -> Any:
    return "done" if n <= 0 else ring_b(n - 1)


@cs.task
def ring_b(n: int) -> Any:
    return "done" if n <= 0 else ring_c(n - 1)


@cs.task
def ring_c(n: int) -> Any:
    return "done" if n <= 0 else ring_a(n - 1)


def chain() -> Any:
    """Returns a chain of ``INNER_CALLS`` calls of noop, each the argument of the next."""
    dep = noop()
    for _ in range(INNER_CALLS - 1):
        dep = noop(_dummy=dep)
    return dep


@cs.task
def heavy_complex_countdown(n: int, _dummy: Any = None) -> Any:
    if n <= 0:
        return "done"
    dep = noop()
    for _ in range(10):
        dep = noop(_dummy=dep)
    return heavy_complex_countdown(n - 1, _dummy=dep)


@cs.task
def stable_complex_loop(box: list[int], config: dict[str, Any], _dummy: Any = None) -> Any:
    if box[0] <= 0:
        return "done"
    box[0] -= 1
    return stable_complex_loop(box, config, _dummy=_dummy)


@cs.task
def big_state_loop(n: int, state: list[float]) -> Any:
    if n <= 0:
        return "done"
    state[n % len(state)] += 1
    return big_state_loop(n - 1, state)


@cs.task
def fib(n: int, a: int = 0, b: int = 1) -> Any:
    if n == 0:
        return a
    return fib(n - 1, b, add(a, b))


@cs.task
def tree(n: int) -> Any:
    if n < 2:
        return n
    return add(tree(n - 1), tree(n - 2))


@cs.task
async def async_countdown(n: int) -> Any:
    if n <= 0:
        return "done"
    return async_countdown(n - 1)


@cs.task
def retry_countdown(n: int) -> Any:
    if n <= 0:
        return "done"
    next_step: Any = retry_countdown(n - 1)
    return next_step.with_retry(max_attempts=2)


@cs.task
async def sleepy_countdown(n: int) -> Any:
    await asyncio.sleep(0)
    if n <= 0:
        return "done"
    return sleepy_countdown(n - 1)


@cs.resource
def unit() -> Iterator[int]:
    yield 1


@cs.task
def injected_countdown(n: int, one: int = cs.inject("unit")) -> Any:
    if n <= 0:
        return "done"
    return injected_countdown(n - one)


@cs.task
def conditional_countdown(n: int) -> Any:
    if n <= 0:
        return "done"
    next_step: Any = conditional_countdown(n - 1)
    return next_step.run_if(add(n, 1)).after(noop())


@cs.task
def parity(n: int) -> int:
    return n % 2


@cs.task
def routed_countdown(n: int, _dummy: Any = None) -> Any:
    if n <= 0:
        return "done"
    return routed_countdown(n - 1, cs.Router(parity(n), {0: double(n), 1: add(n, 1)}))


@cs.task
def mapped_countdown(n: int, _dummy: Any = None) -> Any:
    if n <= 0:
        return "done"
    return mapped_countdown(n - 1, double.map(x=[n, 1, 2, 3]))


@cs.task
def jumping_countdown(n: int) -> Any:
    if n <= 0:
        return cs.Jump("stop", "done")
    return cs.Jump("again", n - 1)


@cs.task
def machine_countdown(n: int) -> Any:
    if n <= 0:
        return "done"
    return TailCall(args=[n - 1])


@cs.task
def total(*xs: int) -> int:
    return sum(xs)


@contextmanager
def counted(task: Any) -> Iterator[list[int]]:
    """Counts the calls of a task's function while the block runs; the one item of the list is the count."""
    calls, original = [0], task.func

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        return original(*args, **kwargs)

    task.func = counting
    try:
        yield calls
    finally:
        task.func = original


# ---------------------------------------------------------------------------------------------------------- workloads


def _simple(n: int, on: Engine | None = None) -> int:
    assert run(simple_countdown(n), on) == "done"
    return n


def _kwargs(n: int, on: Engine | None = None) -> int:
    assert run(kw_countdown(n=n, a=1, b="x"), on) == "done"
    return n


def _ring(n: int, on: Engine | None = None) -> int:
    assert run(ring_a(n), on) == "done"
    return n


def _heavy(n: int, on: Engine | None = None) -> int:
    assert run(heavy_complex_countdown(n), on) == "done"
    return n * (INNER_CALLS + 1)


def _stable(n: int, on: Engine | None = None) -> int:
    config = {"rate": 0.1, "names": ["a", "b"]}
    assert run(stable_complex_loop([n], config, _dummy=chain()), on) == "done"
    return n


def _big_state(n: int, on: Engine | None = None) -> int:
    assert run(big_state_loop(n, [0.0] * 20 * n), on) == "done"
    return n


def _fib(n: int, on: Engine | None = None) -> int:
    run(fib(n), on)
    return 2 * n


def _tree(n: int, on: Engine | None = None) -> int:
    small, large = 0, 1  # fib(n) and fib(n + 1)
    for _ in range(n):
        small, large = large, small + large
    assert run(tree(n), on) == small % 1_000_007
    return (2 * large - 1) + (large - 1)  # calls of tree, calls of add


def _async(n: int, on: Engine | None = None) -> int:
    assert run(async_countdown(n), on) == "done"
    return n


def _retry(n: int, on: Engine | None = None) -> int:
    assert run(retry_countdown(n), on) == "done"
    return n


def _map(n: int, on: Engine | None = None) -> int:
    assert run(double.map(x=list(range(n))), on)[-1:] == [2 * (n - 1)]
    return n


def _injected(n: int, on: Engine | None = None) -> int:
    on = on or engine()
    on.register(unit)
    assert run(injected_countdown(n), on) == "done"
    return n


def _conditional(n: int, on: Engine | None = None) -> int:
    assert run(conditional_countdown(n), on) == "done"
    return 3 * n


def _routed(n: int, on: Engine | None = None) -> int:
    assert run(routed_countdown(n), on) == "done"
    return 3 * n  # the selector, the route that it chose, the step


def _mapped(n: int, on: Engine | None = None) -> int:
    assert run(mapped_countdown(n), on) == "done"
    return 6 * n  # four items, the map, the step


def _jump(n: int, on: Engine | None = None) -> int:
    node: Any = jumping_countdown(n)
    cs.bind(node, cs.select_jump({"again": node, "stop": None}))
    assert run(node, on) == "done"
    return n


def _vm(n: int, on: Engine | None = None) -> int:
    assert asyncio.run((on or engine()).run(machine_countdown(n), use_vm=True)) == "done"
    return n


def _sleepy(n: int, on: Engine | None = None) -> int:
    assert run(sleepy_countdown(n), on) == "done"
    return n


def _warm(n: int, on: Engine | None = None) -> int:
    return _heavy(n, on or engine(hot=False))


def _loops(n: int, on: Engine | None = None) -> int:
    shared, runs = on or engine(), 100

    async def main() -> None:
        assert await asyncio.gather(*(shared.run(simple_countdown(n)) for _ in range(runs))) == ["done"] * runs

    asyncio.run(main())
    return runs * n


_seeds = random.Random(1)


def layered(layers: int, width: int) -> Any:
    """Returns an expression of ``layers * width + 1`` calls that has, with its random edges, never been seen before."""
    pick = random.Random(_seeds.random())
    layer = [double(i) for i in range(width)]
    for _ in range(layers - 1):
        layer = [add(pick.choice(layer), pick.choice(layer)) for _ in range(width)]
    return total(*layer)


def _cold(n: int, on: Engine | None = None) -> int:
    width = 50
    assert isinstance(run(layered(n, width), on), int)
    return n * width + 1


@dataclass(frozen=True)
class Workload:
    """What is run, at which size, and what it is compared with.

    ``work(size)`` returns the units done, ``yardstick(steps)`` the steps done. ``small`` is a size for runs that only
    have to show that the workload works.
    """

    name: str
    work: Callable[..., int]
    yardstick: Callable[[int], int]
    size: int
    small: int
    counts: str


WORKLOADS = {
    w.name: w
    for w in (
        Workload("simple", _simple, trampoline, 200_000, 300, "steps"),
        Workload("kwargs", _kwargs, trampoline, 150_000, 300, "steps with keyword arguments"),
        Workload("ring", _ring, trampoline, 150_000, 300, "steps of three tasks calling each other"),
        Workload("stable", _stable, trampoline, 150_000, 300, "steps carrying containers along"),
        Workload("bigstate", _big_state, trampoline, 5_000, 20, "steps carrying a list of 100,000 numbers along"),
        Workload("heavy", _heavy, trampoline, 15_000, 30, "nodes, an expression of twelve rebuilt each step"),
        Workload("fib", _fib, trampoline, 60_000, 100, "nodes, an expression of two each step"),
        Workload("tree", _tree, trampoline, 23, 8, "nodes of a recursion that is no tail call"),
        Workload("async", _async, coroutine, 100_000, 100, "steps of a coroutine function"),
        Workload("retry", _retry, trampoline, 100_000, 100, "steps with a retry policy"),
        Workload("injected", _injected, trampoline, 100_000, 100, "steps, a resource of the run injected"),
        Workload("condition", _conditional, trampoline, 20_000, 50, "nodes, each step with condition and predecessor"),
        Workload("router", _routed, trampoline, 10_000, 50, "nodes, each step with a Router of two routes"),
        Workload("maploop", _mapped, trampoline, 5_000, 30, "nodes, each step with a map of four items"),
        Workload("jump", _jump, trampoline, 100_000, 100, "steps of a task that jumps back to its own call"),
        Workload("vm", _vm, trampoline, 100_000, 100, "rounds of a blueprint that a tail call runs again"),
        Workload("sleepy", _sleepy, sleep0, 2_000, 50, "steps that go through the event loop"),
        Workload("loops", _loops, trampoline, 400, 5, "steps of a hundred concurrent runs in one engine"),
        Workload("map", _map, trampoline, 20_000, 50, "items"),
        Workload("warm", _warm, trampoline, 100, 10, "nodes, the heavy step with the hot tier off"),
        Workload("cold", _cold, trampoline, 20, 2, "nodes of an expression never seen before"),
    )
}

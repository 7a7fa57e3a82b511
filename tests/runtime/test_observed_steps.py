"""``observe="steps"``: whatever is run, the events are exactly those of an engine without a hot tier, one by one."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cascade.runtime.events import Event, LoopProgress, TaskBlocked
from cascade.runtime.strategies import _runs
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.resource import inject, resource
from cascade.spec.routing import Router
from cascade.spec.task import task
from tests.engines import make_engine, watch


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quanta that no run uses up: which of several coroutines goes on first is then no matter of time."""
    monkeypatch.setattr(_runs, "_SHARED_QUANTUM", 3600.0)
    monkeypatch.setattr(_runs, "_MINIMUM_QUANTUM", 3600.0)


#: What two runs never have in common.
TIMED = {"event_id", "timestamp", "run_id", "duration", "stats", "elapsed", "steps_per_second"}


@task
def ident(x: Any) -> Any:
    return x


@task
async def aident(x: Any) -> Any:
    await asyncio.sleep(0)
    return x


@task
def add(*values: int) -> int:
    return sum(values)


@task
def countdown(n: int, _: Any = None) -> Any:
    return countdown(n - 1, add(n, ident(1))) if n else "end"


@task
async def acountdown(n: int) -> Any:
    return acountdown(n - 1) if n else "end"


@task
def ping(n: int) -> Any:
    return pong(n=n - 1) if n else "end"


@task
def pong(*, n: int) -> Any:
    return ping(n - 1) if n else "end"


@task
def tree(n: int) -> Any:
    return add(tree(n - 1), tree(n - 2)) if n > 1 else n


@task
def fails(n: int) -> Any:
    if not n:
        raise ValueError("floor")
    return fails(n - 1)


@task
async def afails(n: int) -> Any:
    await asyncio.sleep(0)
    raise KeyError(n)


@task
def gather_of(n: int) -> Any:
    return [ident(n), {"k": aident(n)}, (add(n, 1),)] if n else gather_of(n + 1)


@task
def mapped(n: int) -> Any:
    return add(*()) if not n else total(ident.map(x=list(range(n))), mapped(n - 1))


@task
def total(*values: Any) -> Any:
    return values


@task
def routed(n: int) -> Any:
    chosen: Any = Router(ident(str(n % 2)), {"0": add(n, 1), "1": ident(n)})
    return ident(chosen) if n == 3 else routed_next(n, chosen)


@task
def routed_next(n: int, value: Any) -> Any:
    return routed(n + 1)


@task
def unfit() -> Any:
    return ident()


@resource
def number() -> Iterator[int]:
    yield 7


@resource(scope="task")
def fresh() -> Iterator[int]:
    yield 8


@task
def injected(n: int, one: int = inject("number"), other: int = inject("fresh")) -> Any:
    return injected(n - 1) if n else one + other


class Flaky:
    """A loop whose every call fails a few times before it succeeds."""

    def __init__(self, failures: int) -> None:
        self.left = self.failures = failures
        self.task: Any = task(self._step, name="flaky")

    def _step(self, n: int) -> Any:
        if self.left:
            self.left -= 1
            raise OSError(f"{self.left} left")
        self.left = self.failures
        return self.task(n - 1).with_retry(2) if n else "end"


@task
def conditional(n: int) -> Any:
    return conditional(n - 1).run_if(ident(n > 1)) if n else "end"


@task
def in_sequence(n: int) -> Any:
    return in_sequence(n - 1).after(ident(n), aident(n)) if n else "end"


SHAPES: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "an expression": (lambda: add(ident(1), ident(2), add(ident(3))), set()),
    "shared": (lambda: (lambda one: add(one, one, ident(one)))(ident(1)), set()),
    "a loop": (lambda: countdown(5), set()),
    "an async loop": (lambda: acountdown(5), set()),
    "a ring with keywords": (lambda: ping(6), set()),
    "expansion": (lambda: tree(5), set()),
    "containers": (lambda: gather_of(0), set()),
    "asynchronous siblings": (lambda: add(aident(1), aident(2), ident(3)), set()),
    "a list": (lambda: [ident(1), aident(2)], set()),
    "maps": (lambda: mapped(3), set()),
    "an async map": (lambda: total(aident.map(x=[1, 2, 3])), set()),
    "a map of a map": (lambda: task(lambda x: ident.map(x=[x, x]), name="m").map(x=[1, 2]), set()),
    "Routers": (lambda: routed(0), {"TaskSkipped"}),
    "conditions": (lambda: conditional(3), {"TaskSkipped"}),
    "sequences": (lambda: in_sequence(3), set()),
    "a failing loop": (lambda: fails(4), set()),
    "a failing argument": (lambda: add(ident(1), fails(2), ident(3)), set()),
    "a failing sibling": (lambda: add(aident(1), afails(2), aident(3)), set()),
    "a failing item": (lambda: fails.map(n=[1, 0]), set()),
    "retries": (lambda: Flaky(2).task(3).with_retry(2), {"TaskRetrying"}),
    "retries that do not help": (lambda: Flaky(9).task(3).with_retry(2), {"TaskRetrying"}),
    "retries of an async call": (lambda: add(1, afails(1).with_retry(1)), {"TaskRetrying"}),
    "arguments that do not fit": (lambda: unfit(), set()),
    "resources": (lambda: injected(3), {"ResourceAcquired", "ResourceReleased"}),
    "a limit": (lambda: countdown(2), {"TaskBlocked"}),
}


def events_of(target: Callable[[], Any], is_limited: bool, **options: Any) -> list[dict[str, Any]]:
    """Return the events of three runs on one engine, ids in order of appearance."""
    engine = make_engine(resources=(number, fresh), **options)
    seen: list[Event] = watch(engine)

    manager = engine.constraint_manager
    limit = GlobalConstraint("r", "task:ident", "rate_limit", {"rate": "1/h", "capacity": 1})

    def lift(event: TaskBlocked) -> None:
        asyncio.get_running_loop().call_soon(manager.remove_constraints_by_scope, "task:ident")

    engine.bus.subscribe(TaskBlocked, lift)

    async def main() -> None:
        for _ in range(3):
            if is_limited:
                manager.update_constraint(limit)
            await asyncio.gather(engine.run(target()), return_exceptions=True)

    asyncio.run(main())
    assert engine.stats.hot == 0
    ids: dict[str, int] = {}
    found = []
    for event in seen:
        assert not isinstance(event, LoopProgress)
        told = {key: value for key, value in dataclasses.asdict(event).items() if key not in TIMED}
        if "task_id" in told:
            told["task_id"] = ids.setdefault(told["task_id"], len(ids))
        found.append({"class": type(event).__name__, **told})
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_events_are_those_of_full_processing(shape: str) -> None:
    """Class, task, place, status, attempt, reason, error and preview of each event, in order, in three runs."""
    target, special = SHAPES[shape]
    is_limited = shape == "a limit"

    observed = events_of(target, is_limited, hot=True, observe="steps")
    plain = events_of(target, is_limited, hot=False)

    assert observed == plain
    assert {"RunStarted", "TaskExecutionStarted", "TaskExecutionFinished", "RunFinished", *special} <= {
        event["class"] for event in observed
    }

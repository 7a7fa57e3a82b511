"""What a workflow means: an eager evaluator, judge of every other way to run one.

It shares nothing with the engine but the public values of ``cascade.spec``. It is slow, recursive and plain on purpose.

    evaluate: a step; while its value is lazy, the next step          (tail calls)
    step:     find the calls, order them in levels, run level by level
    level:    synchronous calls one by one, each with what it returns, then the others together
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import ExitStack
from typing import Any

from cascade.spec.lazy_types import LazyResult, MappedLazyResult
from cascade.spec.resource import Inject
from cascade.spec.routing import Router
from cascade.spec.task import Task

__all__ = ["DependencyMissingError", "Reference", "TaskArgumentError", "UncalledTaskError"]

LAZY = (LazyResult, MappedLazyResult)
PARAMS = "cascade.params"


class UncalledTaskError(TypeError):
    """A task was passed or returned without being called."""


class TaskArgumentError(TypeError):
    """A call does not fit its function."""


class DependencyMissingError(Exception):
    """A value that is needed was skipped."""


GATHER: Any = Task(lambda value: value, "gather")


def is_marker(value: Any) -> bool:
    return type(value) in (*LAZY, Router, Inject)


def items_of(container: Any) -> list[Any]:
    return list(container.values()) if isinstance(container, dict) else list(container)


def holds_markers(value: Any, seen: frozenset[int] = frozenset()) -> bool:
    if is_marker(value):
        return True
    if not isinstance(value, (list, tuple, dict)) or id(value) in seen:
        return False
    return any(holds_markers(item, seen | {id(value)}) for item in items_of(value))


def continuation(value: Any) -> Any:
    """The expression that a returned value stands for, or None."""
    if type(value) is Task:
        raise UncalledTaskError(value)
    if type(value) in LAZY:
        return value
    return GATHER(value) if type(value) is not Inject and holds_markers(value) else None


class Node:
    """One call of a step."""

    def __init__(self, lazy: Any) -> None:
        self.lazy = lazy
        self.map = type(lazy) is MappedLazyResult
        self.task = lazy.factory if self.map else lazy.task
        self.args = () if self.map else tuple(lazy.args)
        self.kwargs = dict(lazy.mapping_kwargs if self.map else lazy.kwargs)
        self.condition = lazy._condition
        self.amounts = dict(lazy._constraints.requirements) if lazy._constraints else {}
        self.after = list(lazy._dependencies)
        self.routers: dict[int, Router] = {}  # what stands for each Router among the arguments
        self.level = 0
        self.inline = not self.map and not self.task.is_async and self.task.mode is None

    def arguments(self) -> list[Any]:
        return [*self.args, *self.kwargs.values()]

    def plain(self, router: Router) -> Router:
        """The Router with a lazy selector, and lazy or plain routes."""
        if id(router) not in self.routers:
            selector = router.selector if type(router.selector) in LAZY else GATHER(router.selector)
            routes = {
                key: GATHER(route) if type(route) not in LAZY and holds_markers(route) else route
                for key, route in router.routes.items()
            }
            self.routers[id(router)] = Router(selector, routes)
        return self.routers[id(router)]

    def lazies(self, value: Any, seen: frozenset[int] = frozenset()) -> list[tuple[Any, Any]]:
        """The lazies in an argument, each with the (selector, key) that it depends on, or None."""
        if type(value) in LAZY:
            return [(value, None)]
        if type(value) is Router:
            router = self.plain(value)
            routes = [(r, (router, key)) for key, r in router.routes.items() if type(r) in LAZY]
            return [(router.selector, None), *routes]
        if isinstance(value, (list, tuple, dict)) and id(value) not in seen:
            return [found for item in items_of(value) for found in self.lazies(item, seen | {id(value)})]
        return []

    def inputs(self) -> list[tuple[Any, Any]]:
        return [found for value in self.arguments() for found in self.lazies(value)]

    def dependencies(self) -> list[tuple[Any, Any]]:
        others = [self.condition, *self.amounts.values(), *self.after]
        return [*self.inputs(), *((one, None) for one in others if type(one) in LAZY)]


def literal_key(value: Any, ids: dict[int, Any]) -> Any:
    """Equal for arguments of calls of a pure task that are one call: types count."""
    if type(value) in LAZY:
        return ("lazy", id(ids[id(value)]))
    if type(value) is Inject:
        return ("inject", value.resource_name)
    if type(value) in (list, tuple):
        return (type(value), *(literal_key(item, ids) for item in value))
    if type(value) is dict:
        return (dict, frozenset((type(k), k, literal_key(v, ids)) for k, v in value.items()))
    if type(value) in (int, float, str, bool, bytes, type(None)):
        return (type(value), repr(value))
    return ("object", id(value))


class Step:
    """The evaluation of one expression, but for what its target returns."""

    def __init__(self, run: Reference, target: Any, active: dict[str, Any]) -> None:
        self.run = run
        self.active = active
        self.nodes: list[Node] = []
        self.node_of: dict[int, Node] = {}
        self.results: dict[Node, Any] = {}
        self.skipped: dict[Node, str] = {}
        self.visit(target, {})
        self.target = self.node_of[id(target)]

    def visit(self, lazy: Any, merged: dict[Any, Node]) -> None:
        """Post-order; a lazy met again is the same node, and so are equal calls of a pure task."""
        if id(lazy) in self.node_of:
            return
        node = Node(lazy)
        for value in node.arguments():
            if type(value) is Task:
                raise UncalledTaskError(value)
        for dependency, _ in node.dependencies():
            self.visit(dependency, merged)
        if not node.map and node.task.pure:
            policy = lazy._retry_policy
            retry = (policy.max_attempts, policy.delay, policy.backoff) if policy else None
            call = [list(node.args), node.kwargs, retry, node.condition, node.after, node.amounts]
            node = merged.setdefault((node.task, literal_key(call, self.node_of)), node)
        self.node_of[id(lazy)] = node
        if node not in self.nodes:
            levels = [self.node_of[id(d)].level for d, _ in node.dependencies()]
            node.level = max(levels, default=-1) + 1
            self.nodes.append(node)

    def resources(self) -> set[str]:
        """Names that the calls of this step ask for."""

        def markers(value: Any) -> set[str]:
            if type(value) is Inject:
                return {value.resource_name}
            if type(value) is Router or type(value) in LAZY or not isinstance(value, (list, tuple, dict)):
                return set()
            return set().union(*(markers(item) for item in items_of(value)))

        named = [name for node in self.nodes for _, name in injected(node.task)]
        return set(named).union(*(markers(v) for node in self.nodes for v in node.arguments()))

    async def process(self) -> Any:
        """Level by level; what only an open choice needs waits until the choice is known."""
        held: list[Node] = []
        for level in range(self.target.level + 1):
            stage = [node for node in self.nodes if node.level == level]
            held += await self.stage(stage)
            while held:
                ready = [n for n in held if n in self.needed()]
                if not ready:
                    break
                first = min(node.level for node in ready)
                stage = [node for node in ready if node.level == first]
                held = [node for node in held if node not in stage]
                await self.stage(stage)
        if self.target in self.results:
            return self.results[self.target]
        if self.skipped[self.target] == "UpstreamSkipped_Sequence":
            return None
        raise DependencyMissingError(self.target.task)

    def needed(self) -> set[Node]:
        found, pending = {self.target}, [self.target]
        while pending:
            for lazy, choice in pending.pop().dependencies():
                node = self.node_of[id(lazy)]
                if node not in found and (choice is None or self.chooses(*choice)):
                    found.add(node)
                    pending.append(node)
        return found

    def chooses(self, router: Router, key: Any) -> bool:
        selected = self.value(self.node_of[id(router.selector)])
        return selected is not None and key_of(router, selected[0]) == (key,)

    async def stage(self, nodes: list[Node]) -> list[Node]:
        """Run the nodes that are needed and return the others."""
        needed = self.needed()
        now = [node for node in nodes if node in needed]
        for node in now:
            if node.inline:
                await self.settle(node)
        await together([self.settle(node) for node in now if not node.inline])
        return [node for node in nodes if node not in needed]

    async def settle(self, node: Node) -> None:
        reason = self.reason(node)
        if reason is not None:
            self.skipped[node] = reason
            return
        value = await self.call(node)
        following = continuation(value) if node is not self.target else None
        if following is not None:
            value = await self.run.evaluate(following, dict(self.active))
        self.results[node] = value

    def value(self, node: Node) -> tuple[Any] | None:
        """The result, or the first input that a skipped call passes on."""
        if node in self.results:
            return (self.results[node],)
        for value in node.arguments() if node in self.skipped else ():
            for lazy, _ in node.lazies(value):
                source = self.node_of[id(lazy)]
                router = next((r for r in node.routers.values() if r.selector is lazy), None)
                if router is None or source not in self.results:
                    return self.value(source)
                key = key_of(router, self.results[source])
                if key is None:
                    return None
                route = router.routes[key[0]]
                return self.value(self.node_of[id(route)]) if type(route) in LAZY else (route,)
        return None

    def reason(self, node: Node) -> str | None:
        """Why a call is skipped."""
        condition = self.node_of.get(id(node.condition))
        if condition in self.skipped:
            return "UpstreamSkipped_Condition"
        if node.condition is not None and not (self.results[condition] if condition else node.condition):
            return "ConditionFalse"
        if any(self.node_of[id(one)] in self.skipped for one in node.after):
            return "UpstreamSkipped_Sequence"
        for lazy, choice in node.inputs():
            source = self.node_of[id(lazy)]
            if choice is not None and self.chooses(*choice) and source in self.skipped:
                return "UpstreamSkipped_Route"
            if choice is None and source in self.skipped and self.value(source) is None:
                return "UpstreamSkipped_Data"
        return None

    async def call(self, node: Node) -> Any:
        if any(type(a) in LAZY and self.node_of[id(a)] not in self.results for a in node.amounts.values()):
            raise DependencyMissingError(node.task)
        memo: dict[int, Any] = {}
        args = [self.resolve(value, node, memo) for value in node.args]
        kwargs = {name: self.resolve(value, node, memo) for name, value in node.kwargs.items()}
        if node.map:
            return await self.run.map(node, kwargs, self.active)
        for name, resource in injected(node.task):
            positional = inspect.getfullargspec(node.task.func).args
            if name not in kwargs and name not in positional[: len(args)]:
                kwargs[name] = self.active[resource]
        return await attempt(node.task, args, kwargs, node.lazy._retry_policy)

    def resolve(self, value: Any, node: Node, memo: dict[int, Any]) -> Any:
        """The value that an argument stands for; a container met twice is rebuilt once."""
        if type(value) in LAZY:
            return self.value(self.node_of[id(value)])[0]  # type: ignore[index]
        if type(value) is Inject:
            return self.active[value.resource_name]
        if type(value) is Router:
            router = node.plain(value)
            choice = self.resolve(router.selector, node, memo)
            key = key_of(router, choice)
            if key is None:
                raise ValueError("no matching route found in", choice)
            return self.resolve(router.routes[key[0]], node, memo)
        if not isinstance(value, (list, tuple, dict)) or not holds_markers(value):
            return value
        if id(value) not in memo:
            memo[id(value)] = self.rebuilt(value, node, memo)
        return memo[id(value)]

    def rebuilt(self, value: Any, node: Node, memo: dict[int, Any]) -> Any:
        cls = type(value)
        if isinstance(value, dict):
            return cls({key: self.resolve(item, node, memo) for key, item in value.items()})
        made = [self.resolve(item, node, memo) for item in value]
        return cls(*made) if hasattr(cls, "_make") else cls(made)


def key_of(router: Router, choice: Any) -> tuple[Any] | None:
    return next(((key,) for key in router.routes if key == choice), None)


def injected(task: Any) -> list[tuple[str, str]]:
    parameters = inspect.signature(task.func).parameters.values()
    return [(p.name, p.default.resource_name) for p in parameters if type(p.default) is Inject]


async def attempt(task: Any, args: list[Any], kwargs: dict[str, Any], policy: Any) -> Any:
    """Call a function until it succeeds or its retries are used up."""
    try:
        inspect.signature(task.func).bind(*args, **kwargs)
    except TypeError as misfit:
        raise TaskArgumentError(task.name) from misfit
    for left in range(policy.max_attempts if policy else 0, -1, -1):
        try:
            try:
                value = task.func(*args, **kwargs)
            except StopIteration as stop:
                raise RuntimeError("coroutine raised StopIteration") from stop
            return await value if inspect.iscoroutine(value) else value
        except Exception:
            if not left:
                raise


async def together(coroutines: list[Any]) -> list[Any]:
    """Run coroutines concurrently; if one fails, end the others first, then raise the first error in order."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    if tasks:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return [task.result() for task in sorted(tasks, key=lambda task: task.cancelled())]


class Reference:
    """Runs targets. ``resources`` are the definitions that may be injected."""

    def __init__(self, resources: Any = ()) -> None:
        self.definitions = {one.name: one for one in resources}

    def run(self, target: Any, params: dict[str, Any] | None = None) -> Any:
        """Return the final value of a target in an event loop of its own."""
        return asyncio.run(self.arun(target, params))

    async def arun(self, target: Any, params: dict[str, Any] | None = None) -> Any:
        self.shared: dict[str, Any] = {PARAMS: params or {}}
        with ExitStack() as self.stack:
            return await self.evaluate(continuation(target), dict(self.shared))

    async def evaluate(self, lazy: Any, active: dict[str, Any]) -> Any:
        """Steps, until the value is final; resources of scope "task" end with their step."""
        while True:
            active = {**active, **self.shared}
            with ExitStack() as stack:
                step = Step(self, lazy, dict(active))
                for name in sorted(step.resources()):
                    self.set_up(name, step.active, stack)
                value = await step.process()
            lazy = continuation(value)
            if lazy is None:
                return value

    def set_up(self, name: str, active: dict[str, Any], stack: ExitStack) -> None:
        if name in active:
            return
        definition = self.definitions[name]
        for _, needed in sorted(injected(definition), key=lambda pair: pair[1]):
            self.set_up(needed, active, stack)
        generator = definition.func(**{parameter: active[needed] for parameter, needed in injected(definition)})
        active[name] = next(generator)
        if definition.scope == "run":
            self.shared[name] = active[name]
        (self.stack if definition.scope == "run" else stack).push(lambda *failure: tear_down(generator, failure[1]))

    async def map(self, node: Node, kwargs: dict[str, Any], active: dict[str, Any]) -> list[Any]:
        """Synchronous items in order, then the others together."""
        lengths = {len(values) for values in kwargs.values()}
        if len(lengths) > 1:
            raise ValueError("mismatched lengths")
        items = [node.task(**{k: v[i] for k, v in kwargs.items()}) for i in range(max(lengths, default=0))]
        values: list[Any] = [None] * len(items)
        later = {}
        for index, item in enumerate(items):
            item._retry_policy = node.lazy._retry_policy or item._retry_policy
            evaluation = self.evaluate(item, dict(active))
            if all(one.inline for one in Step(self, item, {}).nodes):
                values[index] = await evaluation
            else:
                later[index] = evaluation
        for index, value in zip(later, await together(list(later.values())), strict=True):
            values[index] = value
        return values


def tear_down(generator: Any, error: BaseException | None) -> None:
    trace = error.__traceback__ if error is not None else None
    try:
        next(generator) if error is None else generator.throw(error)
    except StopIteration:
        pass
    except BaseException as other:
        if other is not error:
            raise
    finally:
        if error is not None:
            error.__traceback__ = trace  # without the generator's frames

"""What a workflow means, by a slow and plain evaluator that shares only the values of ``cascade.spec`` with the engine.

    evaluate: a step; while its value is lazy, the next step          (tail calls)
    step:     find the calls, order them in levels, run level by level
    level:    synchronous calls one by one, each with what it returns, then the others together
"""

from __future__ import annotations

import asyncio
import inspect
import os
from contextlib import ExitStack, suppress
from functools import lru_cache
from typing import Any

from cascade.spec.jump import Jump
from cascade.spec.lazy_types import MappedLazyResult
from cascade.spec.resource import Inject
from cascade.spec.routing import Router
from cascade.spec.task import Task
from tests.contents import GATHER, LAZY, PLAIN, content

__all__ = ["ERRORS", "Reference", "Step"]

signature = lru_cache(1024)(inspect.signature)
#: Errors with the names of the engine's, so that types can be compared; what they say is the engine's alone.
ERRORS = ("DependencyMissingError", "TaskArgumentError", "UncacheableError", "UncalledTaskError", "ValueError")
Missing, Misfit, Uncacheable, Uncalled, NoRoute = (type(name, (Exception,), {}) for name in ERRORS)


def markers(value: Any, deep: bool = False, around: tuple[int, ...] = ()) -> list[Any]:
    """The lazies, Routers and inject markers in a value; with ``deep`` also those in its Routers."""
    if type(value) is Router:  # what it has to put together before it can choose becomes a call like any other
        value.selector = value.selector if type(value.selector) in LAZY else GATHER(value.selector)
        compound = {key: GATHER(one) for key, one in value.routes.items() if markers(one) and type(one) not in LAZY}
        value.routes = {**value.routes, **compound}
    if type(value) in (*LAZY, Inject, Router):
        inner = [value.selector, *value.routes.values()] if deep and type(value) is Router else []
        return [value, *markers(inner, deep, around)]
    if not isinstance(value, (list, tuple, dict)) or id(value) in around:
        return []
    items = [item for item in (value.values() if isinstance(value, dict) else value) if type(item) not in PLAIN]
    return [one for item in items for one in markers(item, deep, (*around, id(value)))]


def continuation(value: Any) -> Any:
    """The expression that a returned value stands for, or None."""
    if type(value) is Task:
        raise Uncalled(value)
    if type(value) in LAZY:
        return value
    return GATHER(value) if type(value) is not Inject and markers(value) else None


class Node:
    """One call of a step."""

    def __init__(self, lazy: Any) -> None:
        self.lazy, self.map, self.level = lazy, type(lazy) is MappedLazyResult, 0
        self.task = lazy.factory if self.map else lazy.task
        self.func = self.task.func  # what is put in its place acts from the next step on
        self.inline = not self.map and not self.task.is_async and self.task.mode is None
        self.args, self.kwargs = ([], dict(lazy.mapping_kwargs)) if self.map else (list(lazy.args), dict(lazy.kwargs))
        self.condition = GATHER(lazy._condition) if type(lazy._condition) is Router else lazy._condition
        self.amounts = dict(lazy._constraints.requirements) if lazy._constraints else {}
        policies = [self.condition, *self.amounts.values(), *lazy._dependencies]
        self.needs = [*self.args, *self.kwargs.values(), *(one for one in policies if type(one) in LAZY)]


class Step:
    """The evaluation of one expression, but for what its target returns."""

    def __init__(self, run: Reference, target: Any, active: dict[str, Any]) -> None:
        self.run, self.active = run, active
        self.nodes, self.node_of = dict[Any, Node](), dict[Any, Node]()  # those of pure tasks are found by content
        self.results, self.skipped, self.keys = dict[Node, Any](), dict[Node, Any](), dict[Any, Any]()
        self.visit(target)
        self.target = self.node_of[target]

    def visit(self, lazy: Any) -> None:
        """Post-order; a lazy met again is the same node, and so are equal calls of a pure task."""
        if lazy in self.node_of:
            return
        key: Any = (node := Node(lazy))
        if any(type(value) is Task for value in node.needs):
            raise Uncalled(lazy)
        lazies = [one for one in markers(node.needs, deep=True) if type(one) in LAZY]
        for one in lazies:
            self.visit(one)
        node.level = 1 + max((self.node_of[one].level for one in lazies), default=-1)
        if node.task.pure:
            call = [node.args, node.kwargs, lazy._retry_policy, lazy._condition, lazy._dependencies, node.amounts]
            key = (node.map, node.task, lazy._cache_policy, content(call, self.identity))
        self.node_of[lazy] = self.nodes.setdefault(key, node)

    def identity(self, one: Any) -> int:
        return id(self.node_of[one] if type(one) in LAZY else one)

    def key(self, one: Any) -> Any:
        """What a cache knows a call by: its content as it was when that was first asked for."""
        if type(one) not in LAZY:
            raise Uncacheable(one)
        if one not in self.keys:
            self.keys[one] = type(one), content([(call := Node(one)).task, call.args, call.kwargs], self.key)
        return self.keys[one]

    async def process(self) -> Any:
        """Level by level; what only an open choice needs waits until the choice is known."""
        self.waiting = set(self.nodes.values())
        while ready := self.needed(self.target.lazy, set()):
            first = min(node.level for node in ready)
            stage = [node for node in self.nodes.values() if node in ready and node.level == first]
            self.waiting -= set(stage)
            for node in [one for one in stage if one.inline]:
                await self.settle(node)
            await together([self.settle(node) for node in stage if not node.inline])
        if self.skipped.get(self.target, ("predecessor",)) != ("predecessor",):
            raise Missing(self.target.task)
        return self.results.get(self.target)

    def needed(self, value: Any, found: set[Node]) -> set[Node]:
        """Add the waiting nodes that a value needs, whatever the selectors that have no value yet will choose."""
        for one in markers(value):
            if type(one) in LAZY and (node := self.node_of[one]) in self.waiting and node not in found:
                found.add(node)
                self.needed(node.needs, found)
            elif type(one) is Router:
                self.needed(one.selector, found)
                with suppress(Missing, NoRoute):
                    self.needed(self.route(one), found)
        return found

    async def settle(self, node: Node) -> None:
        """Skip a node, or look into its cache, call it, evaluate what an inner call returned, save."""
        condition = self.results.get(self.node_of[one], False) if type(one := node.condition) in LAZY else one
        try:
            if node.condition is not None and not condition:
                raise Missing("condition")
            if any(self.node_of[one] in self.skipped for one in node.lazy._dependencies):
                raise Missing("predecessor")
            for one in markers([node.args, node.kwargs]):  # what was skipped counts before a choice of no route
                with suppress(NoRoute):
                    self.value(one, {})
        except Missing as reason:
            self.skipped[node] = reason.args
            return
        if any(type(one) in LAZY and self.node_of[one] not in self.results for one in node.amounts.values()):
            raise Missing(node.task)
        args, kwargs = self.arguments(node)
        policy, key = node.lazy._cache_policy, None
        shown, named = self.value([node.args, node.kwargs], {})  # not the containers that the function may change
        inputs = {**{str(i): one for i, one in enumerate(shown)}, **named}
        value = await policy.check(key := self.key(node.lazy), inputs) if policy else None
        if value is None:
            value = await (self.map(node, kwargs) if node.map else self.attempts(node, args, kwargs))
            if (following := continuation(value)) is not None and node is not self.target:
                value, following = await self.run.evaluate(following, self.active), None
            if policy and following is None and not isinstance(value, Jump):  # which says what comes next
                await policy.save(key, inputs, value)
        self.results[node] = value

    def arguments(self, node: Node) -> Any:
        return self.value([node.args, node.kwargs], {})

    def value(self, value: Any, made: dict[int, Any]) -> Any:
        """What an argument stands for; a container that is met twice in a call is rebuilt once."""
        if type(value) in LAZY:
            node = self.node_of[value]
            if node in self.results:
                return self.results[node]
            inputs = [one for one in markers([node.args, node.kwargs]) if type(one) is not Inject]
            with suppress(NoRoute):
                if node in self.skipped and inputs:  # it passes its first input on
                    return self.value(self.route(inputs[0]) if type(inputs[0]) is Router else inputs[0], {})
            raise Missing(node.task)
        if type(value) is Inject:
            return self.active[value.resource_name]
        if markers(value) and id(value) not in made:
            made[id(value)] = self.rebuilt(value, made)
        return made.get(id(value), value)

    def rebuilt(self, value: Any, made: dict[int, Any]) -> Any:
        if type(value) is Router:
            if type(route := self.route(value)) in LAZY and self.node_of[route] in self.skipped:
                raise Missing(route)
            return self.value(route, made)
        if isinstance(value, dict):
            return type(value)({key: self.value(item, made) for key, item in value.items()})
        items = [self.value(item, made) for item in value]
        return type(value)(*items) if hasattr(value, "_make") else type(value)(items)

    def route(self, router: Router) -> Any:
        try:
            return router.routes[self.value(router.selector, {})]
        except (KeyError, TypeError):
            raise NoRoute(router) from None

    async def attempts(self, node: Node, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function until it succeeds or its retries are used up."""
        func, policy = node.func, node.lazy._retry_policy
        try:
            bound = signature(func).bind(*args, **kwargs)
        except TypeError as misfit:
            raise Misfit(node.task.name) from misfit
        missing = {name: self.active[one] for name, one in injected(func).items() if name not in bound.arguments}
        for left in range(policy.max_attempts if policy else 0, -1, -1):
            try:
                return await value if inspect.iscoroutine(value := func(*args, **kwargs, **missing)) else value
            except Exception:  # a StopIteration that leaves a coroutine becomes a RuntimeError by Python's own rule
                if not left:
                    raise
                await asyncio.sleep(0)

    async def map(self, node: Node, kwargs: dict[str, Any]) -> list[Any]:
        items = [node.task(**dict(zip(kwargs, row, strict=True))) for row in zip(*kwargs.values(), strict=True)]
        for item in items:
            item._retry_policy, item._cache_policy = node.lazy._retry_policy, node.lazy._cache_policy
            Step(self.run, item, {})  # what can never run is an error of the map, before any item runs
        if node.task.is_async or node.task.mode:
            return await together([self.run.evaluate(item, self.active) for item in items])
        return [await self.run.evaluate(item, self.active) for item in items]


def injected(func: Any) -> dict[str, str]:
    return {p.name: p.default.resource_name for p in signature(func).parameters.values() if type(p.default) is Inject}


async def together(coroutines: list[Any]) -> list[Any]:
    """Run concurrently; if one fails, end the others first, then raise the first error in order, noting the others."""
    with suppress(BaseExceptionGroup):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in coroutines]
    if errors := [error for task in tasks if not task.cancelled() and (error := task.exception())]:
        for other in errors[1:]:
            errors[0].add_note(f"also failed: {type(other).__name__}: {other}")
        raise errors[0]
    return [task.result() for task in tasks]


class Reference:
    """Gives final values: ``await Reference(definitions of resources).run(target, params)``."""

    step, follow = Step, staticmethod(lambda value, lazy, top: (value, continuation(value)))

    def __init__(self, resources: Any = ()) -> None:
        self.definitions = {one.name: one for one in resources}

    async def run(self, target: Any, params: dict[str, Any]) -> Any:
        self.shared: dict[str, Any] = {"cascade.params": params, "cascade.environment": dict(os.environ)}
        with ExitStack() as self.stack:
            return await self.evaluate(continuation(target), {})

    async def evaluate(self, lazy: Any, active: dict[str, Any]) -> Any:
        """Steps, until the value is final; resources of scope "task" end with their step."""
        while lazy is not None:
            with ExitStack() as stack:
                step = self.step(self, lazy, {**active, **self.shared})
                found = [one for node in step.nodes.values() for one in markers(node.needs, deep=True)]
                names = {one.resource_name for one in found if type(one) is Inject}
                for name in sorted(names.union(*(injected(node.func).values() for node in step.nodes.values()))):
                    self.set_up(name, step.active, stack)
                value = await step.process()
            value, lazy = self.follow(value, lazy, top=not active)
        return value

    def set_up(self, name: str, active: dict[str, Any], stack: ExitStack) -> None:
        if name in active:
            return
        needs = injected((definition := self.definitions[name]).func)
        for needed in sorted(needs.values()):
            self.set_up(needed, active, stack)
        active[name] = next(generator := definition.func(**{one: active[needs[one]] for one in needs}))
        if definition.scope == "run":
            self.shared[name], stack = active[name], self.stack

        def tear_down(_: Any, error: BaseException | None, trace: Any) -> None:
            try:
                next(generator, None) if error is None else generator.throw(error)
            except BaseException as other:
                if error is None:
                    raise
                if other is not error and type(other) is not StopIteration:
                    error.add_note(f"Teardown of resource {name!r} failed too: {type(other).__name__}: {other}")
                error.__traceback__ = trace  # without the generator's frames

        stack.push(tear_down)

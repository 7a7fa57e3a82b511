"""What explicit jumps mean, on top of the reference: where those of a run's target lead, and with which arguments."""

from __future__ import annotations

from typing import Any

from cascade.spec.jump import Jump
from cascade.spec.task import Task
from tests.contents import LAZY
from tests.reference import Node, Reference, Step, continuation, signature

__all__ = ["JumpingReference", "JumpingStep"]

ARRIVE: Any = Task(Jump, "_internal_jump")
UNBOUND = (
    "task {!r} returned a Jump, and its call has no bound 'select_jump': "
    "write bind(call, select_jump({{...}})) before it runs"
)


class JumpingStep(Step):
    """A step whose target takes what a jump has given."""

    def arguments(self, node: Node) -> Any:
        args, kwargs = super().arguments(node)
        landed, given = self.run.landed  # type: ignore[attr-defined]
        if node is not self.target or node.lazy is not landed:
            return args, kwargs
        names = list(signature(node.func).parameters)
        for key, one in given.items():
            place = int(key) if key.isdecimal() else names.index(key) if key in names else len(args)
            if place < len(args):
                args[place] = one
            else:
                kwargs[names[place] if key.isdecimal() else key] = one
        return args, kwargs


class JumpingReference(Reference):
    """A reference that interprets the jumps of a run's own target."""

    step = JumpingStep
    #: The call that the last jump has led to, and what it gives there.
    landed: tuple[Any, dict[str, Any]] = (None, {})

    async def run(self, target: Any, params: dict[str, Any]) -> Any:
        self.landed = (None, {})
        return await super().run(target, params)

    def follow(self, value: Any, lazy: Any, top: bool) -> tuple[Any, Any]:  # type: ignore[override]
        if not top or not isinstance(value, Jump):
            return value, continuation(value)
        selector = getattr(lazy, "_jump_selector", None)
        if selector is None:
            raise RuntimeError(UNBOUND.format(lazy.task.name))
        data, route = value.data, selector.routes.get(value.target_key)
        following = continuation(data)
        if route is None:
            return data, following
        if following is not None:
            again = ARRIVE(value.target_key, data)
            again._jump_selector = selector
            return None, again
        assert type(route) in LAZY
        self.landed = route, data if isinstance(data, dict) else {} if data is None else {"0": data}
        return None, route

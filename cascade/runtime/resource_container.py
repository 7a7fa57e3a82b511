"""Sets injected resources up before the tasks that need them and tears them down afterwards.

    required {pool, conn}; pool needs cfg:      cfg --> conn      cfg --> pool
    set-up order:  cfg, conn, pool    (names in order, each preceded by what it needs)
    teardown:      pool, conn, cfg

A run-scoped resource outlives the steps of a run, a task-scoped one does not. So a run-scoped resource that injects a
task-scoped one gets an instance of its own, which lives and ends with it on the run's stack and which no task sees;
tasks and task-scoped resources go on getting a fresh instance each step. (Handing out the step's instance would leave
the run-scoped resource holding something torn down; refusing it would forbid programs that are plainly meant.)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from cascade import _kernel
from cascade.graph.model import Node
from cascade.internal.inputs import ENVIRONMENT, PARAMS
from cascade.runtime._yields import is_guarded
from cascade.runtime.bus import MessageBus
from cascade.runtime.events import ResourceAcquired, ResourceReleased
from cascade.runtime.exceptions import ResourceCycleError
from cascade.spec.resource import Inject, ResourceDefinition

if TYPE_CHECKING:
    from cascade.graph.model import Graph

__all__ = ["ResourceContainer", "ResourceCycleError"]

#: A resource definition, or a generator function, which then counts as run-scoped.
_Provider: TypeAlias = Any
#: What the run itself serves.
_INPUTS = {PARAMS, ENVIRONMENT}
#: Parameters that are injected, with the names of their resources.
_Injects: TypeAlias = "tuple[tuple[str, str], ...]"


class _Instance(NamedTuple):
    """What is set up: a resource, shared (``owner`` is None) or private to the run-scoped resource ``owner``."""

    name: str
    owner: str | None = None


class ResourceContainer:
    """The resources that an engine knows, by name."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        #: Grows with every registration and override.
        self.epoch = 0
        #: Definitions and plain generator functions, as they were given.
        self._resource_providers: dict[str, _Provider] = {}
        #: By name: the provider function, and its injected parameters as read off its signature.
        self._injects: dict[str, tuple[Callable[..., Any], _Injects]] = {}

    # -- what is known ---

    def register(self, resource_def: ResourceDefinition[Any]) -> None:
        """Make a resource known under its name, in place of an earlier one.

        Raises:
            TypeError: this is no resource.
        """
        if isinstance(resource_def, str) or not hasattr(resource_def, "name"):
            raise TypeError(f"register() takes a resource, not {resource_def!r}: decorate it with @cs.resource")
        self.override_provider(resource_def.name, resource_def)

    def get_provider(self, name: str) -> Callable[..., Any]:
        """Return the generator function behind a name.

        Raises:
            KeyError: no such resource is registered.
        """
        function: Callable[..., Any] = _function(self._resource_providers[name])
        return function

    def override_provider(self, name: str, new_provider: _Provider) -> None:
        """Use a definition or a (run-scoped) generator function from the next set-up of that name on.

        Raises:
            TypeError: ``new_provider`` cannot be called.
        """
        if not callable(_function(new_provider)):
            raise TypeError(f"provider of resource {name!r} must be a generator function, not {new_provider!r}")
        self._resource_providers[name] = new_provider
        self._forget_signatures()

    @contextmanager
    def override(self, name: str, new_provider: _Provider) -> Generator[None, None, None]:
        """Override a provider for a while, then put back exactly what was there, or remove the name."""
        was_known = name in self._resource_providers
        original = self._resource_providers.get(name)
        self.override_provider(name, new_provider)
        try:
            yield
        finally:
            if was_known:
                self._resource_providers[name] = original
            else:
                self._resource_providers.pop(name, None)
            self._forget_signatures()

    def _forget_signatures(self) -> None:
        self._injects.clear()
        self.epoch += 1

    # -- what a graph needs ---

    def scan(self, graph: Graph) -> set[str]:
        """Return the names of the resources that the nodes of a graph ask for, directly; inputs of runs are none."""
        names: set[str] = set()
        for node in graph.nodes:
            if getattr(node, "awaits_jump", False) is not True:  # a mock of a node has an answer to everything
                names.update(_marked_in(node))
                names.update(_injected_into(node))
        return names - _INPUTS

    # -- set-up and teardown ---

    def setup(
        self,
        required_names: set[str],
        active_resources: dict[str, Any],
        run_stack: ExitStack,
        step_stack: ExitStack,
        run_id: str,
    ) -> None:
        """Set up what is required and not active, with everything that it needs.

        Instances are put into ``active_resources`` and leave it when their stack is closed. Close a stack with the
        exception of a failed task to have its resources see that exception at their ``yield``.

        Raises:
            NameError: a resource is not registered.
            ResourceCycleError: resources need each other.
        """
        private: dict[_Instance, Any] = {}
        for instance in self._in_order(required_names, active_resources):
            values = {
                parameter: active_resources[needed.name] if needed.owner is None else private[needed]
                for parameter, needed in self._needs(instance)
            }
            is_short_lived = instance.owner is None and self.scope_of(instance.name) == "task"
            stack = step_stack if is_short_lived else run_stack
            opened = _Opened(instance.name, self.get_provider(instance.name)(**values))
            if instance.owner is None:
                stack.push(self._teardown(opened, active_resources, run_id))
                active_resources[instance.name] = opened.value
            else:
                stack.push(self._teardown(opened, None, run_id))
                private[instance] = opened.value
            self.bus.publish(ResourceAcquired(run_id=run_id, resource_name=instance.name))

    def _in_order(self, required_names: Iterable[str], active: dict[str, Any]) -> list[_Instance]:
        """Return what to set up: names in order, each preceded by what it needs. Iterative, so of any depth."""
        order: dict[_Instance, None] = {}
        for name in sorted(required_names):
            path: dict[_Instance, Iterator[_Instance]] = {}
            upcoming: _Instance | None = _Instance(name)
            while True:
                if upcoming is not None and upcoming not in order and not _is_active(upcoming, active):
                    if upcoming in path:
                        raise ResourceCycleError(_cycle(list(path), upcoming))
                    path[upcoming] = self._needed_by(upcoming, next(reversed(path), None))
                if not path:
                    break
                current, needs = next(reversed(path.items()))
                upcoming = next(needs, None)
                if upcoming is None:
                    order[current] = None
                    del path[current]
        return list(order)

    def _needed_by(self, instance: _Instance, consumer: _Instance | None) -> Iterator[_Instance]:
        if instance.name not in self._resource_providers:
            raise _not_registered(instance.name, consumer)
        return iter(sorted({needed for _, needed in self._needs(instance)}, key=lambda needed: needed.name))

    def _needs(self, instance: _Instance) -> Iterator[tuple[str, _Instance]]:
        """Yield the injected parameters of an instance with the instances that they get."""
        owner = instance.owner or (instance.name if self.scope_of(instance.name) == "run" else None)
        for parameter, name in self._injects_of_provider(instance.name):
            is_private = owner is not None and name in self._resource_providers and self.scope_of(name) == "task"
            yield parameter, _Instance(name, owner if is_private else None)

    def _injects_of_provider(self, name: str) -> _Injects:
        function = self.get_provider(name)
        known = self._injects.get(name)
        if known is None or known[0] is not function:
            known = self._injects[name] = (function, _injects_in_signature(function))
        return known[1]

    def scope_of(self, name: str) -> str:
        """Return ``"run"`` or ``"task"``.

        Raises:
            KeyError: no such resource is registered.
        """
        provider = self._resource_providers[name]
        return provider.scope if isinstance(provider, ResourceDefinition) else "run"

    def _teardown(self, opened: _Opened, active: dict[str, Any] | None, run_id: str) -> _ExitCallback:
        """Return what the stack calls: it tears down, and lets an exception that ends the stack go on."""

        def close(_: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
            if active is not None:
                active.pop(opened.name, None)
            try:
                opened.close(error)
            finally:
                self.bus.publish(ResourceReleased(run_id=run_id, resource_name=opened.name))

        return close


_ExitCallback: TypeAlias = Callable[
    ["type[BaseException] | None", "BaseException | None", "TracebackType | None"], None
]


class _Opened:
    """A resource that is set up: its generator, suspended at its only ``yield``."""

    def __init__(self, name: str, generator: Generator[Any, Any, Any]) -> None:
        if not isinstance(generator, Generator):
            raise TypeError(f"provider of resource {name!r} must be a generator function: it returned {generator!r}")
        self.name = name
        self._generator = generator
        try:
            self.value = next(generator)
        except StopIteration:
            raise RuntimeError(f"Resource {name!r} ended without a yield: yield its value exactly once") from None

    def close(self, error: BaseException | None) -> None:
        """Run the teardown, with ``error``, if there is one, raised at a ``yield`` with a try or with around it.

        Elsewhere nothing could notice the error, and it would only keep what comes after the ``yield`` from running.
        ``error`` goes on whatever the generator makes of it. An exception of the teardown itself is raised when
        nothing else ended the run, otherwise it becomes a note on ``error``: the first error is the one to report.
        """
        if error is None:
            self._resume(None)
            return
        traceback = error.__traceback__
        try:
            self._resume(error)
        except Exception as other:
            if other is not error:
                error.add_note(f"Teardown of resource {self.name!r} failed too: {type(other).__name__}: {other}")
        except BaseException as other:  # a cancellation or an interrupt, unless it is what came in
            if other is not error:
                raise
        finally:
            error.__traceback__ = traceback  # without the frames of the generator

    def _resume(self, error: BaseException | None) -> None:
        try:
            if error is None or not is_guarded(self._generator):
                next(self._generator)
            else:
                self._generator.throw(error)
        except StopIteration:
            return
        self._generator.close()
        raise RuntimeError(f"Resource {self.name!r} yielded a second time: yield its value exactly once")


def _function(provider: _Provider) -> Any:
    return provider.func if isinstance(provider, ResourceDefinition) else provider


def _is_active(instance: _Instance, active: dict[str, Any]) -> bool:
    return instance.owner is None and instance.name in active


def _cycle(path: list[_Instance], repeated: _Instance) -> tuple[str, ...]:
    return tuple(instance.name for instance in path[path.index(repeated) :])


def _not_registered(name: str, consumer: _Instance | None) -> NameError:
    text = f"Resource '{name}' is required but not registered"
    if name == "_internal_connector":  # the engine registers it, if it has one
        return NameError(f"{text}: this run has no connector; give it one: cascade.run(..., connector=...)", name=name)
    error = NameError(text, name=name)
    needed_by = "" if consumer is None else f" Resource {consumer.name!r} needs it."
    error.add_note(f"Register it with engine.register(...) before the run.{needed_by}")
    return error


def _injected_into(node: Node) -> Iterator[str]:
    """Yield the resources that parameters of a node's function want; for a map, of the factory's function."""
    owner = node.mapping_factory if node.node_type == "map" else node
    injects = getattr(owner, "injects", None)
    if not isinstance(injects, tuple):  # not made from a task, or not by this builder
        injects = _injects_in_signature(getattr(owner, "func", None)) if owner is not node else _injects_by_hand(node)
    for inject in injects:
        yield inject[-1]


def _injects_by_hand(node: Node) -> _Injects:
    if node.signature is not None:
        return _injects_in(node.signature)
    return _injects_in_signature(node.callable_obj)


def _injects_in_signature(function: Any) -> _Injects:
    if not callable(function):
        return ()
    try:
        return _injects_in(inspect.signature(function))
    except (TypeError, ValueError):  # some builtins have none, and so no defaults either
        return ()


def _injects_in(signature: inspect.Signature) -> _Injects:
    return tuple(
        (parameter.name, parameter.default.resource_name)
        for parameter in signature.parameters.values()
        if isinstance(parameter.default, Inject)
    )


def _marked_in(node: Node) -> Iterator[str]:
    """Yield the resources whose markers are among the arguments of a node, as they were when its step began."""
    if node.call is None or not issubclass(type(node), Node):  # made by hand, or a stand-in
        return _markers_in(node.input_bindings.values())
    return (code[1] for code in node.call.codes or () if code[0] == _kernel.INJECT)


def _markers_in(values: Iterable[Any]) -> Iterator[str]:
    """Yield the resource names of the markers in nested lists, tuples and dict values, which may be cyclic."""
    seen: set[int] = set()
    pending = list(values)
    while pending:
        value = pending.pop()
        if isinstance(value, Inject):
            yield value.resource_name
        elif isinstance(value, (list, tuple, dict)) and id(value) not in seen:
            seen.add(id(value))
            pending.extend(value.values() if isinstance(value, dict) else value)

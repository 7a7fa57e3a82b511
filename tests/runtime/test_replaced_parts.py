"""What a user replaces on an engine is used from then on, in every tier."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.runtime.exceptions import TaskArgumentError
from cascade.runtime.processor import NodeProcessor
from cascade.runtime.resource_container import ResourceContainer
from cascade.runtime.strategies.graph import GraphExecutionStrategy
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.resource import inject, resource
from cascade.spec.task import task
from tests.engines import make_engine, run


@task
def one() -> Any:
    return 1


@task
def countdown(n: int) -> Any:
    return countdown(n - 1) if n else "end"


@pytest.mark.parametrize("hot", [True, False])
def test_a_bus_whose_publish_was_replaced_gets_every_event(hot: bool) -> None:
    """A subclass or a mock is called, although nobody has subscribed."""

    class Own(MessageBus):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def publish(self, event: Any) -> None:
            self.seen.append(type(event).__name__)
            super().publish(event)

    bus = Own()
    run(one(), Engine(NativeSolver(), LocalExecutor(), bus, hot=hot))
    assert bus.seen == ["RunStarted", "TaskExecutionStarted", "TaskExecutionFinished", "RunFinished"]

    engine = make_engine(hot=hot)
    engine.bus.publish = mock.Mock()  # type: ignore[method-assign]
    run(one(), engine)
    assert engine.bus.publish.call_count == 4


@pytest.mark.parametrize("hot", [True, False])
def test_collaborators_of_an_engine_are_replaceable(hot: bool) -> None:
    """``engine.node_processor = ...``, ``executor``, ``resource_container`` and ``solver`` take effect."""
    engine = make_engine(hot=hot)
    run(countdown(2), engine)
    names: list[str] = []

    class Processor(NodeProcessor):
        async def process(self, node: Any, *args: Any, **kwargs: Any) -> Any:
            names.append(node.name)
            return await super().process(node, *args, **kwargs)

    parts = (engine.executor, engine.bus, engine.resource_manager, engine.constraint_manager, engine.solver)
    engine.node_processor = Processor(*parts)
    run(countdown(2), engine)
    assert names == ["countdown"] * 3


@pytest.mark.parametrize("hot", [True, False])
def test_a_replaced_executor_takes_effect(hot: bool) -> None:
    """``engine.executor = ...`` is called for every node of later runs."""
    engine = make_engine(hot=hot)
    names: list[str] = []

    class Own(LocalExecutor):
        async def execute(self, node: Any, args: Any, kwargs: Any) -> Any:
            names.append(node.name)
            return await super().execute(node, args, kwargs)

    engine.executor = Own()
    run(countdown(2), engine)
    assert names == ["countdown"] * 3


@pytest.mark.parametrize("hot", [True, False])
def test_a_replaced_resource_container_takes_effect(hot: bool) -> None:
    """``engine.resource_container = ...`` is where later runs find their resources."""
    engine = make_engine(hot=hot)

    @resource
    def db() -> Any:
        yield 5

    @task
    def use(d: Any = inject("db")) -> Any:
        return d

    engine.resource_container = ResourceContainer(engine.bus)
    engine.resource_container.register(db)
    assert run(use(), engine) == 5


@pytest.mark.parametrize("method", ["check_permission", "get_extra_requirements"])
def test_a_replaced_constraint_manager_method_is_asked_for_every_node(method: str) -> None:
    """What a user replaced on the instance is honoured by hot runs too."""
    engine = make_engine()
    run(countdown(3), engine)
    manager = engine.constraint_manager
    wrapped = mock.Mock(side_effect=getattr(manager, method))
    setattr(manager, method, wrapped)
    run(countdown(3), engine)
    assert wrapped.call_count == 4


@pytest.mark.parametrize("hot", [True, False])
def test_a_backend_that_overrides_clear_is_not_stock(hot: bool) -> None:
    """It is cleared before each next step."""
    cleared = []

    class Own(InMemoryStateBackend):
        async def clear(self) -> None:
            cleared.append(1)
            await super().clear()

    run(countdown(3), hot=hot, state_backend_factory=Own)
    assert len(cleared) == 3


@pytest.mark.parametrize("hot", [True, False])
def test_arguments_that_do_not_fit_are_told_from_errors_of_the_body_through_any_executor(hot: bool) -> None:
    """An executor of the user's own, with frames of its own, makes nobody take a misfit for an error of the body."""

    class Own(LocalExecutor):
        async def execute(self, *args: Any, **kwargs: Any) -> Any:
            return await super().execute(*args, **kwargs)

    class Callable:
        def __call__(self) -> Any:
            raise TypeError("of the body")

    def raises() -> Any:
        raise TypeError("of the body")

    engine = make_engine(executor=Own(), hot=hot)
    for _ in range(2):
        with pytest.raises(TaskArgumentError, match="countdown"):
            run(countdown(), engine)  # type: ignore[call-arg]
        for function in (raises, Callable()):
            with pytest.raises(TypeError, match="of the body") as caught:
                run(task(function)(), engine)  # type: ignore[arg-type]
            assert type(caught.value) is TypeError


def test_a_replaced_node_method_of_the_strategy_is_called_for_plain_nodes_of_known_steps() -> None:
    """A spy in place of ``_execute_hot_node`` sees each node that would run hot; a limit or ``hot=False`` ends that."""

    @task
    def step(n: int, _: Any = None) -> Any:
        return step(n - 1, one()) if n else "end"

    engine = make_engine()
    strategy = engine.graph_strategy
    with mock.patch.object(strategy, "_execute_hot_node", wraps=strategy._execute_hot_node) as spy:
        assert run(step(5), engine) == "end"
        names = [given.args[0].name for given in spy.await_args_list]
        assert names == ["one", "step"] * 4  # of six steps the first two are new
        spy.reset_mock()
        spy.side_effect = lambda *_: mock.DEFAULT
        engine.constraint_manager.update_constraint(GlobalConstraint("c", "task:other", "pause", {}))
        assert run(step(5), engine) == "end"
        assert spy.await_count == 0

    class Own(GraphExecutionStrategy):
        async def _execute_hot_node(self, node: Any, *args: Any, **kwargs: Any) -> Any:
            return f"own {node.name}"

    engine.constraint_manager.remove_constraints_by_scope("task:other")
    parts = (engine.solver, engine.node_processor, engine.resource_container, engine.constraint_manager)
    engine.graph_strategy = Own(*parts, engine.bus, engine._wakeup_event)
    assert [run(one(), engine), run(one(), engine)] == [1, "own one"]

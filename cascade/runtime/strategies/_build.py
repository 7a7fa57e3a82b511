"""What one step runs: the graph of its expression bound to its values, cold or warm, and the record of a parked step.

    cold:  expression --build_graph, solve--> graph, plan --index, compile--> program, kept under the template key
    unseen: the same without a graph, where nobody would be given one: expression --layers, compile--> program
    warm:  expression + program --bind--> graph, plan
    parked: a step that waits for an expansion keeps the values of its expression; the rest is bound again afterwards
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cascade import _kernel
from cascade.graph._identity import Identity, InstanceMap
from cascade.graph._template import Template, positions
from cascade.graph.model import Graph, Node
from cascade.runtime._stock import is_stock
from cascade.runtime.strategies._plans import BoundedDict, IndexedPlan
from cascade.runtime.strategies._runs import Run

__all__ = ["Built", "Packed", "build_cold", "build_warm", "compile_unseen", "pack", "unpack"]

_PLAIN = _kernel.RETRY | _kernel.DIRECT
_PER_OPERATION = 4


class Built:
    """A graph bound to the values of one step, its plan, and its nodes by operation."""

    __slots__ = ("expression", "graph", "instance_map", "nodes", "plan", "program", "target")

    def __init__(self, graph: Graph, plan: Any, instance_map: Mapping[str, Node], target: Node) -> None:
        self.graph = graph
        self.plan = plan
        self.instance_map = instance_map
        self.target = target
        self.nodes: Sequence[Node] = ()  # by operation, if bound to a known template
        self.expression: Any = None  # not there if the step cannot be bound again
        self.program: Any = None


def build_cold(strategy: Any, frame: Any, run: Run, graph: Graph, instance_map: Mapping[str, Node]) -> Built:
    """Solve a graph that was just built for the step that waits; index, compile and keep what may be kept."""
    plans: BoundedDict[bytes, IndexedPlan] = strategy._template_plan_cache
    template = graph._template
    key = frame.key if template is not None else None
    indexed = plans.get(key) if key is not None else None
    if indexed is None:
        plan = _own_nodes(strategy.solver, graph, strategy.solver.resolve(graph))
    else:
        plan = strategy._rehydrate_plan(graph, indexed)
    built = Built(graph, plan, instance_map, instance_map[frame.lazy._uuid])
    run.cold += 1
    if key is not None:
        indexed = strategy._index_plan(graph, plan) if indexed is None else indexed
        if indexed is not None:
            built.expression = frame.expression
            built.program = _kernel.compile_program(frame, indexed.offsets, indexed.indices)
            _keep(strategy, run, key, built.program, indexed, template)
    return built


def _own_nodes(solver: Any, graph: Graph, plan: Any) -> Any:
    """Return a plan of this graph's nodes: a user's solver may have made it from another build of the same target."""
    if is_stock(solver, "layered", "resolve"):
        return plan
    own = set(map(id, graph.nodes))
    if all(id(node) in own for stage in plan for node in stage):
        return plan
    return [[graph.get_node(node.structural_id) or node for node in stage] for stage in plan]


def compile_unseen(strategy: Any, frame: Any, run: Run) -> Any:
    """Return the program of the step that waits as :func:`build_cold` would compile it; there is no graph of it.

    Only where the solver is the package's own and no part would be given the graph.
    """
    key = frame.key
    indexed = strategy._template_plan_cache.get(key)
    if indexed is None:
        indexed = IndexedPlan.of(*_kernel.layers(frame))
    program = _kernel.compile_program(frame, indexed.offsets, indexed.indices)
    distinct = len(indexed.indices) == len(program) or positions(frame.expression.operations)
    template = Template(len(program), None if distinct is True else distinct)
    if not run.through:
        template.number()  # no backend and no part asks for the content of a node
    run.cold += 1
    _keep(strategy, run, key, program, indexed, template)
    return program


def _keep(strategy: Any, run: Run, key: bytes, program: Any, indexed: IndexedPlan, template: Template) -> None:
    indexed.owned = program.names
    strategy._template_plan_cache[key] = indexed
    program.plan, program.table = indexed, template
    strategy._cycle_cache.add(program)
    run.templates += 1


def build_warm(expression: Any, program: Any) -> Built:
    """Bind the nodes of a known template to the values of an expression."""
    indexed = program.plan
    graph, plan, nodes = program.table.bind(expression, indexed.offsets, indexed.indices)
    instance_map = InstanceMap([operation.lazy for operation in expression.operations], nodes)
    graph._identity = Identity(graph.nodes, expression.operations, program.table)
    built = Built(graph, plan, instance_map, nodes[-1])
    built.nodes, built.expression, built.program = nodes, expression, program
    return built


# ---------------------------------------------------------------------------------------------------- parked steps


class _Common:
    """What an operation has in common in all expressions with one key, without its values."""

    __slots__ = ("after", "amounts", "codes", "condition", "constant", "factory", "flags", "keywords")

    def __init__(self, operation: Any) -> None:
        self.keywords = operation.keywords
        self.codes = operation.codes
        self.flags = operation.flags
        self.condition = operation.condition
        self.constant = operation.constant
        self.factory = operation.factory
        self.amounts = operation.amounts
        self.after = operation.after


class _Operation(_Common):
    """An operation put together again; it reads as the kernel's."""

    __slots__ = ("callee", "lazy", "retry", "values")

    def __init__(self, common: _Common, callee: Any, values: Any, retry: Any, lazy: Any) -> None:
        super().__init__(common)
        self.callee = callee
        self.values = values
        self.retry = retry
        self.lazy = lazy


class _Expression:
    """As much of a traced expression as binding needs."""

    __slots__ = ("leaves", "operations")

    def __init__(self, operations: list[_Operation], leaves: Sequence[Any]) -> None:
        self.operations = operations
        self.leaves = leaves


class Packed:
    """A step that is parked: the values of its expression, its place in the plan, and the results so far."""

    __slots__ = ("at", "leaves", "program", "results", "stage", "values")

    def __init__(
        self, program: Any, values: tuple[Any, ...], leaves: Sequence[Any], stage: int, at: int, results: Any
    ) -> None:
        self.program = program
        self.values = values  # callee, values, retry policy and lazy of each operation in turn
        self.leaves = leaves
        self.stage = stage
        self.at = at
        self.results = results


def pack(built: Built, stage: int, at: int, results: tuple[Any, ...]) -> Packed | None:
    """Return the record of a step from which it can be bound again; None if policies or Routers forbid it."""
    expression, program = built.expression, built.program
    if expression is None:
        return None
    plan: IndexedPlan = program.plan
    if plan.common is None:
        plan.common = _common(expression.operations)
    if not plan.common:
        return None
    values: list[Any] = []
    for operation in expression.operations:
        values += (operation.callee, operation.values, operation.retry, operation.lazy)
    return Packed(program, tuple(values), expression.leaves or (), stage, at, results)


def _common(operations: Sequence[Any]) -> tuple[_Common, ...]:
    """The common parts of a template's operations; empty where more than values would have to be kept."""
    for operation in operations:
        routed = any(code[0] == _kernel.ROUTER for code in operation.codes or ())
        if routed or operation.flags > _PLAIN:
            return ()
    return tuple(_Common(operation) for operation in operations)


def unpack(packed: Packed) -> Built:
    """Bind a parked step again, to the values that it had when it began."""
    program, values = packed.program, packed.values
    operations = [
        _Operation(common, *values[i * _PER_OPERATION : (i + 1) * _PER_OPERATION])
        for i, common in enumerate(program.plan.common)
    ]
    return build_warm(_Expression(operations, packed.leaves), program)

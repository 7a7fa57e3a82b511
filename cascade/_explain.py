"""What the engine will do with a target, without running it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cascade import _kernel
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.graph.build import build_graph
from cascade.internal.inputs import ENVIRONMENT, PARAMS, _internal_gather
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine

__all__ = ["Explanation", "Part", "explain"]

_SHOWN_LINES = 40

#: In words, what the kernel says of a call that no program serves.
_REASONS = {
    "cache": "with_cache(): a policy is asked before the call and told after it",
    "mode='blocking'": "mode='blocking': runs in a thread",
    "mode='compute'": "mode='compute': runs in another process",
    "with_constraints": "with_constraints(): may have to wait for capacity",
}

#: Containers of more items than this are not walked where the kernel can tell without that they hold no calls.
_LARGE = 256

_WALKED = (
    "It is searched for calls at every step"
    if _kernel.kernel_name != "compiled"
    else "It is searched for calls at every step in which calls exist that are neither in the expression nor in local "
    "variables of functions that wait for the run (from Python 3.13 on: that are not in the expression), say in a "
    "list, an attribute or a global variable, or dozens of calls; the same holds for Routers, and for inject markers "
    "that are no defaults of a task"
)

#: How the kernel begins to tell of a container; only here is it known of which type.
_CONTAINER = "container of "


@dataclass(frozen=True)
class Part:
    """One call of an expression: the name of its task, the tier that it allows, and what keeps it from being hot."""

    name: str
    tier: str
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """How a target would run; ``str()`` of it is a report.

    Attributes:
        kernel: the kernel that is loaded.
        tier: in which its steps run once its template is known: the slowest tier that a part needs.
        why: what keeps the whole from being hot; empty if it is hot.
        parts: the calls of the expression, dependencies first.
        stages: names of the calls in the order of the plan; those of one stage do not need each other.
        requires: names of the resources that it injects.
        notes: what may cost time all the same.
    """

    kernel: str
    tier: str
    why: tuple[str, ...]
    parts: tuple[Part, ...]
    stages: tuple[tuple[str, ...], ...]
    requires: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _whole(self) -> tuple[str, ...]:
        needing = sum(part.tier != "hot" for part in self.parts)
        return (*self.why, f"{needing} of its parts, see there; a step has one tier") if needing else self.why

    def _lines(self) -> Iterator[str]:
        yield f"kernel  {self.kernel}"
        yield f"tier    {_TIERS[self.tier]}"
        yield from (f"why     {why}" for why in self._whole())
        yield from (f"note    {note}" for note in self.notes)
        if self.requires:
            yield f"injects {', '.join(self.requires)}"
        yield f"parts   {_count(len(self.parts), 'call')}"
        yield from _table(self.parts)
        yield f"plan    {_count(len(self.stages), 'stage')}"
        stages = (f"  {number:>4}  {_run_lengths(names)}" for number, names in enumerate(self.stages, 1))
        yield from _shortened(list(stages))


_TIERS = {
    "hot": "hot: planned once, then every step runs as a compiled program",
    "warm": "warm: planned once, then every step gets full processing, call by call",
    "cold": "cold: planned anew at every step",
}


def explain(target: Any, *, engine: Engine | None = None) -> Explanation:
    """Tell in which tier each part of a target would run, and why not hot; nothing is run.

    The calls that its tasks return are expressions of their own, and known only when they have run.

    Args:
        target: a lazy result, or a list or tuple of them.
        engine: whose settings and resources to go by; a plain one by default.

    Raises:
        TypeError: the target is no lazy result.
        CycleError, UncalledTaskError: it can never run.
    """
    if isinstance(target, (list, tuple)):
        target = _internal_gather(*target)
    graph, _ = build_graph(target)
    engine = engine or Engine(NativeSolver(), LocalExecutor(), MessageBus())
    strategy = engine.graph_strategy
    plan = engine.solver.resolve(graph)
    frame = _kernel.Frame(_kernel.ProgramCache(), {}, False)
    frame.begin(target)
    try:
        program = _compiled(frame, strategy._index_plan(graph, plan))
        expression = frame.expression
        parts = tuple(_part(operation, expression.leaves, engine) for operation in expression.operations)
        notes = tuple(_notes(expression.operations))
        tier, why = _tier(frame.unkeyed, program, parts, strategy)
    finally:
        frame.close()
    stages = tuple(tuple(node.name for node in stage) for stage in plan)
    return Explanation(_kernel.kernel_name, tier, why, parts, stages, _required(program), notes)


def _compiled(frame: Any, indexed: Any) -> Any:
    return None if indexed is None else _kernel.compile_program(frame, indexed.offsets, indexed.indices)


def _required(program: Any) -> tuple[str, ...]:
    return () if program is None else tuple(name for name in program.requires if name not in (PARAMS, ENVIRONMENT))


def _tier(unkeyed: str, program: Any, parts: Sequence[Part], strategy: Any) -> tuple[str, tuple[str, ...]]:
    """Return the tier of the whole, and what keeps it from being hot beyond what its parts say themselves."""
    if unkeyed:
        return "cold", (unkeyed,)
    if program is None:
        return "cold", ("a plan with nodes that are not in the graph",)
    of_parts = {why for part in parts for why in part.why}
    why = [_REASONS.get(text, text) for text in program.why if not text.startswith(_CONTAINER)]
    why = [text for text in why if text not in of_parts]
    if program.hot:
        strategy._look_again()
        closed = strategy._why_closed(program)
        why += [closed] if closed else []
    return ("warm" if why or of_parts else "hot"), tuple(why)


def _part(operation: Any, leaves: Sequence[Any], engine: Engine) -> Part:
    why = [_REASONS.get(text, text) for text in _reasons(operation, leaves)]
    if operation.flags & _kernel.MAP:
        name = f"map({getattr(operation.lazy.factory, 'name', 'factory')})"
    else:
        name = operation.callee.name
    injects = operation.callee.injects if operation.callee is not None else ()
    names = [resource for _, _, resource in injects]
    names += [code[1] for code in operation.codes or () if code[0] == _kernel.INJECT]
    why += [f"resource {one!r} has task scope" for one in dict.fromkeys(names) if _is_task_scoped(engine, one)]
    return Part(name, "warm" if why else "hot", tuple(why))


_FLAGS = (
    (_kernel.CACHE, "cache"),
    (_kernel.CONSTRAINTS, "with_constraints"),
)


def _reasons(operation: Any, leaves: Sequence[Any]) -> Iterator[str]:
    """Say what the kernel found in one call, in its words."""
    yield from (text for flag, text in _FLAGS if operation.flags & flag)
    kinds = (leaves[code[1]] for code in operation.codes or () if code[0] == _kernel.KIND)
    yield from (f"{_CONTAINER}type {type(kind).__name__}" for kind in kinds)
    if not operation.flags & _kernel.MAP and operation.callee.mode is not None:
        yield f"mode={operation.callee.mode!r}"


def _notes(operations: Sequence[Any]) -> Iterator[str]:
    """Say when large data is searched for calls at every step."""
    for operation in operations:
        if operation.flags & _kernel.MAP:
            continue  # its items are walked anyway
        _, values, _ = _kernel.call_of(operation.lazy)
        for value in values:
            if isinstance(value, (list, tuple, dict)) and len(value) > _LARGE:
                kind = type(value).__name__
                yield f"{operation.callee.name} takes a {kind} of {len(value):,} items. {_WALKED}"


def _is_task_scoped(engine: Engine, name: str) -> bool:
    try:
        return engine.resource_container.scope_of(name) == "task"
    except KeyError:
        return False


# ------------------------------------------------------------------------------------------------------------- the text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _table(parts: Sequence[Part]) -> Iterator[str]:
    """Write equal parts once, in order of their first appearance."""
    counts: dict[Part, int] = {}
    for part in parts:
        counts[part] = counts.get(part, 0) + 1
    rows = [(part.tier, part.name + (f" x {n}" if n > 1 else ""), "; ".join(part.why)) for part, n in counts.items()]
    width = min(max((len(name) for _, name, _ in rows), default=0), 30)
    yield from _shortened([f"  {tier:<4}  {name:<{width}}  {why}".rstrip() for tier, name, why in rows])


def _run_lengths(names: Sequence[str]) -> str:
    """Write names in order, a name that follows itself once with its count."""
    runs: list[tuple[str, int]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return ", ".join(_shortened([name if count == 1 else f"{name} x {count}" for name, count in runs]))


def _shortened(lines: list[str]) -> list[str]:
    hidden = len(lines) - _SHOWN_LINES
    return lines if hidden <= 0 else [*lines[:_SHOWN_LINES], f"  ... and {hidden} more"]

"""Fewest stages under resource limits, by constraint satisfaction.

Greedy list scheduling gives a plan and so an upper bound; the longest chain and the amounts give a lower bound. Only
stage counts between the two are searched, with python-constraint. Nodes that could be swapped are searched in one order
only, but the search stays exponential at worst, so it has a limit: this solver is for small graphs (tens of nodes
with amounts) in which every stage counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count as count_from
from math import ceil, fsum
from typing import TYPE_CHECKING, Any

from cascade.graph._shadows import is_drawn_only
from cascade.graph.model import EdgeType

if TYPE_CHECKING:
    from cascade.graph.model import Graph, Node

try:
    import constraint
except ImportError:  # said when a solver is made
    constraint = None

__all__ = ["CSPSolver"]

#: Amounts are floats, and three times 0.1 must fit into 0.3.
_TOLERANCE = 1e-9


class CSPSolver:
    """Plans the fewest stages whose static constraint amounts fit ``system_resources``.

    Resources that are not listed are unlimited; an amount that is lazy counts as 0. A stage is sorted by name.
    A number of stages that is neither proved nor refuted in ``max_checks`` looks at the amounts (seconds) is given
    up: the plan is valid, but may then be longer than the shortest.

    Raises:
        ImportError: python-constraint is not installed.
    """

    max_checks = 100_000

    def __init__(self, system_resources: dict[str, Any]) -> None:
        if constraint is None:
            raise ImportError(
                "The 'python-constraint' library is required for CSPSolver: pip install 'cascade-hot[csp]'"
            )
        self.system_resources = system_resources

    def resolve(self, graph: Graph) -> list[list[Node]]:
        """Return the stages of a graph, shadow nodes left out.

        Raises:
            RuntimeError: no schedule exists, because a node needs more than there is or nodes need each other.
        """
        nodes = [node for node in graph.nodes if not is_drawn_only(node)]
        jobs = _Jobs(nodes, graph, self.system_resources)
        if not jobs.nodes:
            return []
        plan = jobs.greedy()
        for count in range(jobs.least_stages(), max(plan) + 1):  # the greedy plan has max(plan) + 1
            found = jobs.search(count, self.max_checks)
            if found is not None:
                plan = found
                break
        stages: list[list[Node]] = [[] for _ in range(max(plan) + 1)]
        for node, stage in zip(jobs.nodes, plan, strict=True):
            stages[stage].append(node)
        return [sorted(stage, key=lambda node: node.name) for stage in stages]


@dataclass
class _Limit:
    """A resource: its capacity, and how much of it each job needs."""

    name: str
    capacity: float
    amounts: list[float]

    def fits(self, amounts: Sequence[float]) -> bool:
        return fsum(amounts) <= self.capacity + _TOLERANCE * max(1.0, abs(self.capacity))


class _Jobs:
    """The scheduling problem: jobs are nodes by position, with sources, consumers and amounts."""

    def __init__(self, nodes: list[Node], graph: Graph, resources: dict[str, Any]) -> None:
        self.nodes = nodes
        self.sources: list[set[int]] = [set() for _ in nodes]
        self.consumers: list[set[int]] = [set() for _ in nodes]
        self._link(graph)
        self.limits = [
            _Limit(name, float(capacity), [_amount(node, name) for node in nodes])
            for name, capacity in resources.items()
        ]
        for limit in self.limits:
            self._check(limit)
        self.order = self._topological_order()
        self.earliest = [0] * len(nodes)
        self.tail = [0] * len(nodes)
        for job in self.order:
            self.earliest[job] = max((self.earliest[source] + 1 for source in self.sources[job]), default=0)
        for job in reversed(self.order):
            self.tail[job] = max((self.tail[consumer] + 1 for consumer in self.consumers[job]), default=0)

    def _link(self, graph: Graph) -> None:
        position = {id(node): index for index, node in enumerate(self.nodes)}
        for edge in graph.edges:
            if edge.edge_type in (EdgeType.POTENTIAL, EdgeType.ITERATIVE_JUMP):
                continue
            source, target = position.get(id(edge.source)), position.get(id(edge.target))
            if source is not None and target is not None:
                self.sources[target].add(source)
                self.consumers[source].add(target)

    def _check(self, limit: _Limit) -> None:
        for node, amount in zip(self.nodes, limit.amounts, strict=True):
            if not limit.fits([amount]):
                raise _no_schedule(
                    f"task {node.name!r} needs {limit.name}={amount:g}, and system_resources has {limit.capacity:g}"
                )

    def _topological_order(self) -> list[int]:
        waiting = [len(sources) for sources in self.sources]
        order = [job for job, count in enumerate(waiting) if not count]
        for job in order:
            for consumer in sorted(self.consumers[job]):
                waiting[consumer] -= 1
                if not waiting[consumer]:
                    order.append(consumer)
        if len(order) < len(self.nodes):
            names = sorted({self.nodes[job].name for job, count in enumerate(waiting) if count})
            raise _no_schedule(f"tasks need each other: {', '.join(names)}")
        return order

    def greedy(self) -> list[int]:
        """Return a stage for each job: stage by stage, what fits of what is ready, longest chains first."""
        plan = [-1] * len(self.nodes)
        waiting = [len(sources) for sources in self.sources]
        ready = [job for job, count in enumerate(waiting) if not count]
        stage = 0
        while ready:
            ready.sort(key=lambda job: (-self.tail[job], -sum(limit.amounts[job] for limit in self.limits), job))
            taken: list[int] = []
            for job in ready:
                if self._fits([*taken, job]):
                    taken.append(job)
                    plan[job] = stage
            ready = [job for job in ready if plan[job] < 0]
            for job in taken:
                for consumer in self.consumers[job]:
                    waiting[consumer] -= 1
                    if not waiting[consumer]:
                        ready.append(consumer)
            stage += 1
        return plan

    def _fits(self, jobs: Sequence[int]) -> bool:
        return all(limit.fits([limit.amounts[job] for job in jobs]) for limit in self.limits)

    def least_stages(self) -> int:
        """Return a count below which no schedule exists."""
        return max(1 + max(self.earliest), *(_least_bins(limit) for limit in self.limits), 1)

    def search(self, count: int, max_checks: int) -> list[int] | None:
        """Return a stage below ``count`` for each job, or None if that cannot be or takes too long to find out."""
        checks = count_from(1)
        problem = constraint.Problem()
        for job in range(len(self.nodes)):
            # The library tries the values of a domain from its end, so the earliest stage comes last.
            problem.addVariable(job, range(count - 1 - self.tail[job], self.earliest[job] - 1, -1))
        for job, sources in enumerate(self.sources):
            for source in sources:
                problem.addConstraint(_before, (source, job))
        for first, second in self._twins():
            problem.addConstraint(_not_after, (first, second))
        for limit in self.limits:
            jobs = [job for job, amount in enumerate(limit.amounts) if amount > 0]
            if not limit.fits(limit.amounts):
                problem.addConstraint(_capacity_constraint(limit, count, lambda: next(checks) > max_checks), jobs)
        try:
            found = problem.getSolution()
        except _GivenUp:
            return None
        return None if found is None else [found[job] for job in range(len(self.nodes))]

    def _twins(self) -> list[tuple[int, int]]:
        """Pairs of jobs that are alike in all that matters here, each the next of its kind."""
        last: dict[Any, int] = {}
        pairs = []
        for job in range(len(self.nodes)):
            amounts = tuple(limit.amounts[job] for limit in self.limits)
            kind = (frozenset(self.sources[job]), frozenset(self.consumers[job]), amounts)
            if kind in last:
                pairs.append((last[kind], job))
            last[kind] = job
        return pairs


def _before(source: int, consumer: int) -> bool:
    return source < consumer


def _not_after(first: int, second: int) -> bool:
    return first <= second


def _least_bins(limit: _Limit) -> int:
    """Return how many stages the amounts need at least.

    At most j amounts above capacity / (j + 1) fit together; and the stages must hold the sum.
    """
    amounts = [amount for amount in limit.amounts if amount > 0]
    if not amounts or limit.capacity <= 0:
        return 0
    least = ceil(fsum(amounts) / limit.capacity - _TOLERANCE)
    for j in range(1, len(amounts) + 1):
        large = sum(amount > limit.capacity / (j + 1) * (1 + _TOLERANCE) for amount in amounts)
        least = max(least, -(-large // j))
    return least


class _GivenUp(Exception):
    """The search has used up its checks."""


def _capacity_constraint(limit: _Limit, count: int, is_over: Callable[[], bool]) -> Any:
    """Return a constraint that fails as soon as ``count`` stages cannot take the jobs that are not placed yet."""

    class Capacity(constraint.Constraint):  # type: ignore[misc, name-defined, unused-ignore]
        def __call__(
            self,
            variables: Sequence[int],
            domains: Any,
            assignments: dict[int, int],
            forwardcheck: bool = False,
            _unassigned: Any = None,
        ) -> bool:
            if is_over():
                raise _GivenUp
            loads: list[list[float]] = [[] for _ in range(count)]
            waiting = []
            for job in variables:
                if job in assignments:
                    loads[assignments[job]].append(limit.amounts[job])
                else:
                    waiting.append(job)
            if not all(map(limit.fits, loads)):
                return False
            if not waiting or not forwardcheck:
                return True
            return _prune(limit, loads, waiting, domains)

    return Capacity()


def _prune(limit: _Limit, loads: Sequence[Sequence[float]], waiting: Sequence[int], domains: Any) -> bool:
    """Hide the stages that are too full for a job; say whether all jobs may still find a place."""
    for job in waiting:
        domain = domains[job]
        for stage in domain[:]:
            if not limit.fits([*loads[stage], limit.amounts[job]]):
                domain.hideValue(stage)
        if not domain:
            return False
    # Room that is smaller than the smallest job that waits is lost.
    amounts = [limit.amounts[job] for job in waiting]
    smallest = min(amounts)
    room = fsum(limit.capacity - fsum(load) for load in loads if limit.fits([*load, smallest]))
    return fsum(amounts) <= room + _TOLERANCE * max(1.0, room)


def _amount(node: Node, resource: str) -> float:
    """Return the static amount that a node needs; an amount that is still to come counts as 0."""
    amount = node.constraints.requirements.get(resource, 0.0) if node.constraints else 0.0
    if hasattr(amount, "_uuid"):
        return 0.0
    try:
        return float(amount)
    except (TypeError, ValueError):
        raise TypeError(f"task {node.name!r} needs {resource}={amount!r}: give a number or a lazy result") from None


def _no_schedule(reason: str) -> RuntimeError:
    return RuntimeError(f"CSPSolver failed to find a valid schedule: {reason}")

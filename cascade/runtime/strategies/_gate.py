"""Which programs may run hot now: whatever decides it is looked at again at every control point.

    something has changed --> a new epoch of the program cache --> each program is judged again when it is met
"""

from __future__ import annotations

import math
from typing import Any

from cascade.runtime._stock import is_stock

__all__ = ["Gate"]


class Gate:
    """Judges the programs of one strategy, each once in an epoch."""

    __slots__ = ("_flags", "_fresh", "_seen", "strategy")

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        #: What the current epoch was opened with.
        self._seen: tuple[Any, ...] = ()
        #: The part of it that costs little to look at.
        self._flags: tuple[Any, ...] = ()
        #: Until when the rest need not be looked at: many runs need not look for each other.
        self._fresh = 0.0

    def look_again(self, now: float = math.inf, quantum: float = 0.0) -> bool:
        """Notice whatever decides which programs may run hot; whether anything has changed.

        Whether a part of the engine was replaced is looked at again after a ``quantum``, or when nobody says that it is
        ``now``.
        """
        strategy = self.strategy
        manager = strategy.constraint_manager
        if getattr(manager, "_constraints", True):
            manager.cleanup_expired_constraints()
        flags = (getattr(manager, "epoch", 0), strategy.hot, strategy.observe)
        if now < self._fresh and flags == self._flags:
            return False
        self._flags, self._fresh = flags, now + quantum if now < math.inf else 0.0
        seen = (*flags, self._is_stock())
        if seen == self._seen:
            return False
        self._seen = seen
        strategy._cycle_cache.epoch += 1
        return True

    def _is_stock(self) -> bool:
        """Whether every part that a hot program leaves out is the package's own."""
        strategy = self.strategy
        processor = strategy.node_processor
        return (
            is_stock(processor.executor, "inline", "execute")
            and is_stock(processor, "stock", "process", "_execute_internal", "_execute_map_node", "_map_item")
            and is_stock(processor.arg_resolver, "stock", "resolve")
            and is_stock(processor.constraint_resolver, "stock", "resolve")
            and is_stock(strategy.constraint_manager, "stock", "check_permission", "get_extra_requirements", "concerns")
            and is_stock(strategy, "stock", "_execute_graph", "_execute_hot_node")
        )

    def is_unseen(self) -> bool:
        """Whether nobody would notice that a step has neither graph nor nodes: no part of the user's is given them."""
        strategy = self.strategy
        is_stock_plan = is_stock(strategy.solver, "layered", "resolve") and strategy.is_stock_build
        return bool(is_stock_plan and self._seen[-1] and not strategy.tell.wants_graph())

    def allows(self, program: Any) -> bool:
        """Decide whether a program may run hot in this epoch."""
        epoch = self.strategy._cycle_cache.epoch
        if program.epoch != epoch:
            program.epoch = epoch
            program.open = program.hot and not self.why_closed(program)
        return bool(program.open)

    def why_closed(self, program: Any) -> str:
        """Say why a program that could be hot may not be now; empty if it may."""
        strategy = self.strategy
        if not strategy.hot:
            return "hot=False"
        if strategy.observe == "steps":
            return "observe='steps'"
        if not self._seen[-1]:
            return "a part of the engine was replaced"
        manager = strategy.constraint_manager
        if manager._constraints and any(manager.concerns(name) for name in set(program.tasks)):
            return "a constraint applies"
        return ""

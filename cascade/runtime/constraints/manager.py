"""Keeps the global constraints of an engine and judges nodes by them.

The manager knows no constraint type: a handler gives each its meaning. Time matters in one place only: every question
first drops what has expired, and an alarm on the event loops in use does the same when nobody asks.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cascade.runtime.constraints._alarm import Alarm
from cascade.runtime.constraints._scope import matches
from cascade.runtime.constraints.protocols import ConstraintHandler
from cascade.runtime.resource_manager import ResourceManager
from cascade.spec.constraint import GlobalConstraint

if TYPE_CHECKING:
    from cascade.graph.model import Node

__all__ = ["ConstraintManager"]


class ConstraintManager:
    """The active constraints of an engine.

    Besides the methods of ``ConstraintHandler`` a handler may have ``withdraw_permission(task, constraint, manager)``:
    it is called when ``check_permission`` has granted something that a later constraint then denied.
    """

    #: Hot programs ask nothing of it where no constraint concerns their tasks, unless a method is replaced.
    stock = True

    def __init__(self, resource_manager: ResourceManager) -> None:
        self.resource_manager = resource_manager
        #: Grows with every change of what is in force: update, removal, expiry.
        self.epoch = 0
        #: Constraints in force by id; no two of one scope and type.
        self._constraints: dict[str, GlobalConstraint] = {}
        #: Handlers by constraint type.
        self._handlers: dict[str, ConstraintHandler] = {}
        self._wakeup_callback: Callable[[], object] | None = None
        #: Held while constraints change; reentrant because handlers call back.
        self._lock = threading.RLock()
        self._alarm = Alarm(self._on_alarm)

    def register_handler(self, handler: ConstraintHandler) -> None:
        """Give a constraint type its meaning, also for constraints of that type that are here already."""
        constraint_type = handler.handles_type()
        with self._lock:
            self._handlers[constraint_type] = handler
            present = [c for c in self._constraints.values() if c.type == constraint_type]
            for constraint in present:
                handler.on_constraint_add(constraint, self)
        if present:
            self._changed()

    def set_wakeup_callback(self, callback: Callable[[], object] | None) -> None:
        """Call ``callback()`` after each change and at each requested moment, on whichever thread that happens."""
        self._wakeup_callback = callback

    def request_wakeup(self, delay: float) -> None:
        """Have the wake-up callback called after ``delay`` seconds on the running event loop.

        Without a running loop it is called on every loop that has asked this manager about a constrained node.
        """
        self._alarm.ring_in(delay)

    # -- changes ---

    def update_constraint(self, constraint: GlobalConstraint) -> None:
        """Put a constraint into force in place of those with its id, or with its scope and type.

        One that has expired already only takes their place. Whatever the handler raises leaves everything as it was.
        """
        is_expired = _is_expired(constraint, time.time())
        with self._lock:
            replaced = [c for c in self._constraints.values() if _is_replaced_by(c, constraint)]
            for old in replaced:
                del self._constraints[old.id]
            if not is_expired:
                self._constraints[constraint.id] = constraint  # first, so that a handler sees who succeeds `old`
            self._tell_removed(replaced)
            if not is_expired:
                self._tell_added(constraint, replaced)
        self._changed()

    def remove_constraints_by_scope(self, scope: str) -> None:
        """Lift all constraints of a scope."""
        self._remove(lambda constraint: constraint.scope == scope)

    def remove_constraint(self, constraint_id: str) -> None:
        """Lift one constraint, if it is there."""
        self._remove(lambda constraint: constraint.id == constraint_id)

    def cleanup_expired_constraints(self) -> None:
        """Lift the constraints whose time is over."""
        now = time.time()
        self._remove(lambda constraint: _is_expired(constraint, now))

    def _remove(self, is_removed: Callable[[GlobalConstraint], bool]) -> None:
        with self._lock:
            removed = [constraint for constraint in self._constraints.values() if is_removed(constraint)]
            for constraint in removed:
                del self._constraints[constraint.id]
            self._tell_removed(removed)
        if removed:
            self._changed()

    def _tell_added(self, constraint: GlobalConstraint, replaced: list[GlobalConstraint]) -> None:
        handler = self._handlers.get(constraint.type)
        if handler is None:
            return
        try:
            handler.on_constraint_add(constraint, self)
        except BaseException:
            del self._constraints[constraint.id]
            for old in replaced:
                self._constraints[old.id] = old
                self._tell_added(old, [])
            raise

    def _tell_removed(self, constraints: list[GlobalConstraint]) -> None:
        for constraint in constraints:
            handler = self._handlers.get(constraint.type)
            if handler is not None:
                handler.on_constraint_remove(constraint, self)

    def _changed(self) -> None:
        self.epoch += 1
        self._arm_expiry()
        self._wake()

    # -- questions ---

    def has_constraint(self, scope: str, constraint_type: str) -> bool:
        """Whether a constraint of this scope and type is in force."""
        return any(c.scope == scope and c.type == constraint_type for c in list(self._constraints.values()))

    def concerns(self, name: str) -> bool:
        """Whether a constraint in force may apply to a node of that name."""
        return bool(self._constraints) and bool(self._applying_to(name))

    def check_permission(self, task: Node) -> bool:
        """Whether the node may start now; all constraints must agree, or none is used up."""
        if not self._constraints:
            return True
        granted: list[tuple[GlobalConstraint, ConstraintHandler]] = []
        for constraint, handler in self._applying_to(task.name):
            if not handler.check_permission(task, constraint, self):
                self._withdraw(task, granted)
                return False
            granted.append((constraint, handler))
        return True

    def get_extra_requirements(self, task: Node) -> dict[str, Any]:
        """Return the amounts that constraints want the node to hold while it runs."""
        requirements: dict[str, Any] = {}
        if self._constraints:
            for constraint, handler in self._applying_to(task.name):
                handler.append_requirements(task, constraint, requirements, self)
        return requirements

    def _applying_to(self, name: str) -> list[tuple[GlobalConstraint, ConstraintHandler]]:
        if self._next_expiry() <= time.time():
            self.cleanup_expired_constraints()
        applying = [
            (constraint, self._handlers[constraint.type])
            for constraint in list(self._constraints.values())
            if constraint.type in self._handlers and matches(constraint.scope, name)
        ]
        if applying:  # whoever asks may come to wait on the running loop, even if the manager was filled elsewhere
            self._alarm.note_loop()
            self._arm_expiry(everywhere=False)
        return applying

    def _withdraw(self, task: Node, granted: list[tuple[GlobalConstraint, ConstraintHandler]]) -> None:
        for constraint, handler in reversed(granted):
            withdraw = getattr(handler, "withdraw_permission", None)
            if withdraw is not None:
                withdraw(task, constraint, self)

    # -- time ---

    def _next_expiry(self) -> float:
        moments = [float(c.expires_at) for c in list(self._constraints.values()) if c.expires_at is not None]
        return min(moments, default=math.inf)

    def _arm_expiry(self, everywhere: bool = True) -> None:
        next_expiry = self._next_expiry()
        if next_expiry < math.inf:
            ring = self._alarm.ring_everywhere_in if everywhere else self._alarm.ring_in
            ring(next_expiry - time.time())

    def _on_alarm(self) -> None:
        self.cleanup_expired_constraints()
        self._arm_expiry(everywhere=False)  # the wall clock may have been set back meanwhile
        self._wake()

    def _wake(self) -> None:
        callback = self._wakeup_callback
        if callback is not None:
            callback()


def _is_expired(constraint: GlobalConstraint, now: float) -> bool:
    return constraint.expires_at is not None and float(constraint.expires_at) <= now


def _is_replaced_by(old: GlobalConstraint, new: GlobalConstraint) -> bool:
    return old.id == new.id or (old.scope == new.scope and old.type == new.type)

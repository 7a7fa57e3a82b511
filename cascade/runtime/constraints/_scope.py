"""Which nodes a constraint speaks of."""

from __future__ import annotations

from fnmatch import fnmatchcase

__all__ = ["is_known", "matches"]

_TASK = "task:"


def matches(scope: str, task_name: str) -> bool:
    """Whether ``scope`` covers a node of that name: ``global`` all, ``task:<pattern>`` by wildcard, others none."""
    if scope == "global":
        return True
    return scope.startswith(_TASK) and fnmatchcase(task_name, scope[len(_TASK) :])


def is_known(scope: str) -> bool:
    """Whether a scope is of a kind that may cover nodes."""
    return scope == "global" or scope.startswith(_TASK)

"""Constraints that nobody has to answer for: retained by a broker, or stored in a database."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import quote

from cascade.connectors._constraint_topics import scope_of
from cascade.spec.constraint import GlobalConstraint

__all__ = ["Retained", "stored"]


class Retained:
    """Collects constraints while a subscription delivers them; what is no constraint is reported."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        #: By scope and type, of which an engine keeps one.
        self._found: dict[tuple[str, str], GlobalConstraint] = {}
        self._report = report
        self._arrived = asyncio.Event()

    async def take(self, topic: str, payload: Any) -> None:
        """Take a message: a constraint, or an empty one, which lifts all of the scope."""
        self._arrived.set()
        if not payload:
            scope = scope_of(topic)
            self._found = {key: one for key, one in self._found.items() if one.scope != scope}
            return
        try:
            constraint = _constraint(payload)
        except (KeyError, TypeError, ValueError) as error:
            self._report(topic, f"{type(error).__name__}: {error}")
        else:
            self._found[constraint.scope, constraint.type] = constraint

    async def until_quiet(self, seconds: float) -> list[GlobalConstraint]:
        """Wait until nothing has come for some time, and return what has."""
        while True:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), seconds)
            except TimeoutError:
                return list(self._found.values())


def _constraint(payload: Any) -> GlobalConstraint:
    expires_at = payload.get("expires_at") if isinstance(payload, dict) else None
    return GlobalConstraint(
        id=str(payload["id"]),
        scope=str(payload["scope"]),
        type=str(payload["type"]),
        params=payload["params"],
        expires_at=None if expires_at is None else float(expires_at),
    )


def stored(path: str) -> list[GlobalConstraint]:
    """Return what a database file has; it is neither made nor changed.

    Raises:
        sqlite3.Error: it cannot be read, or is no such database.
    """
    full = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(full):
        return []
    with closing(sqlite3.connect(f"file:{quote(full)}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT id, scope, type, params, expires_at FROM constraints").fetchall()
    return [_constraint(dict(zip(_FIELDS, (*row[:3], json.loads(row[3]), row[4]), strict=True))) for row in rows]


_FIELDS = ("id", "scope", "type", "params", "expires_at")

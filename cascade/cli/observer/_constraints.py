"""Constraints that nobody has to answer for: retained by a broker, or stored in a database."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any
from urllib.parse import quote

from cascade.connectors._constraint_topics import scope_of, topic_of
from cascade.connectors.errors import ControlDatabaseError
from cascade.connectors.local._store import check_version
from cascade.runtime.constraints._message import constraint_of
from cascade.spec.constraint import GlobalConstraint

__all__ = ["Retained", "stored"]


#: The columns of the table.
_FIELDS = ("id", "scope", "type", "params", "expires_at")

#: Told of what is no constraint: topic and error.
Report = Callable[[str, str], None]


class Retained:
    """Collects constraints while a subscription delivers them; what is no constraint is reported."""

    def __init__(self, report: Report) -> None:
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
        constraint = _checked(topic, payload, self._report)
        if constraint is not None:
            self._found[constraint.scope, constraint.type] = constraint

    async def until_quiet(self, seconds: float) -> list[GlobalConstraint]:
        """Wait until nothing has come for some time, and return what has."""
        while True:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), seconds)
            except TimeoutError:
                return list(self._found.values())


def stored(path: str, report: Report) -> list[GlobalConstraint]:
    """Return what a database file has, which is neither made nor changed; what is no constraint is reported.

    Raises:
        ControlDatabaseError: the file cannot be read, or a newer version has written it.
    """
    full = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(full):
        return []
    try:
        with closing(sqlite3.connect(f"file:{quote(full)}?mode=ro", uri=True)) as database:
            check_version(database, full)
            rows = database.execute(f"SELECT {', '.join(_FIELDS)} FROM constraints").fetchall()
    except sqlite3.Error as error:
        raise ControlDatabaseError(full, str(error)) from error
    found = [_checked(topic_of(str(row[1])), _fields(row), report) for row in rows]
    return [constraint for constraint in found if constraint is not None]


def _fields(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return the fields of a row, which has the parameters as JSON; what is none stays text."""
    fields = dict(zip(_FIELDS, row, strict=True))
    with suppress(TypeError, ValueError, RecursionError):
        fields["params"] = json.loads(fields["params"])
    return fields


def _checked(topic: str, fields: Any, report: Report) -> GlobalConstraint | None:
    try:
        return constraint_of(fields)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        report(topic, f"{type(error).__name__}: {error}")
        return None

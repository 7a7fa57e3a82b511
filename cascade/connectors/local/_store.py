"""The table of constraints that engines and controllers of one machine share."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cascade.connectors.errors import ControlDatabaseError

__all__ = ["ConstraintStore", "Row", "check_version"]

_log = logging.getLogger(__name__)

#: What ``PRAGMA user_version`` says of files that this version writes; older ones say 0.
VERSION = 1
#: Seconds to wait for another process that writes.
LOCK_WAIT = 5.0

_COLUMNS = "id, scope, type, params, expires_at, updated_at"
_TABLE = """
CREATE TABLE IF NOT EXISTS constraints (
    id TEXT PRIMARY KEY, scope TEXT NOT NULL, type TEXT NOT NULL, params TEXT NOT NULL,
    expires_at REAL, updated_at REAL NOT NULL
)
"""
_INDEX = "CREATE INDEX IF NOT EXISTS idx_constraints_scope ON constraints (scope)"


@dataclass(frozen=True)
class Row:
    """A stored constraint. Writing the same again gives another row (``place`` differs), which counts as a change."""

    place: int
    id: str
    scope: str
    type: str
    params: Any
    expires_at: float | None
    updated_at: float

    def payload(self) -> dict[str, Any]:
        """Return the message that was stored."""
        return {
            "id": self.id,
            "scope": self.scope,
            "type": self.type,
            "params": self.params,
            "expires_at": self.expires_at,
        }


class ConstraintStore:
    """An SQLite file. Its methods block, so they are called in threads, one at a time.

    Every method raises :class:`ControlDatabaseError` where SQLite fails.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        #: The open connection, or None.
        self.connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        #: Rows that cannot be read and were reported.
        self._reported: set[tuple[Any, ...]] = set()

    def open(self) -> None:
        """Open the file, and make it (and its directory) if there is none; only this user may read what is made."""
        with self._lock:
            try:
                _make_private(self.path)
                self.connection = sqlite3.connect(
                    self.path, timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False
                )
                self._prepare(self.connection)
            except (OSError, sqlite3.Error) as error:
                raise ControlDatabaseError(self.path, f"cannot be opened: {error}") from error

    def close(self) -> None:
        """Close the file, if it is open."""
        with self._lock:
            if self.connection is not None:
                self.connection.close()
                self.connection = None

    def put(self, payload: dict[str, Any]) -> None:
        """Store a constraint in place of the one with its id.

        Raises:
            ValueError: it is no constraint.
        """
        if not isinstance(payload, dict):
            raise ValueError(f"a constraint is a dict, not {payload!r}")
        missing = [key for key in ("id", "scope", "type", "params") if key not in payload]
        if missing:
            raise ValueError(f"a constraint needs {', '.join(map(repr, missing))}: {payload!r}")
        values = (payload["id"], payload["scope"], payload["type"], json.dumps(payload["params"]))
        self._execute(
            f"INSERT OR REPLACE INTO constraints ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
            (*values, payload.get("expires_at"), time.time()),
        )

    def delete(self, scope: str) -> None:
        """Delete the constraints of a scope."""
        self._execute("DELETE FROM constraints WHERE scope = ?", (scope,))

    def rows(self) -> list[Row]:
        """Return all constraints, the newest last; what cannot be read is reported once and left out."""
        found = self._execute(f"SELECT rowid, {_COLUMNS} FROM constraints ORDER BY updated_at, rowid")
        return [row for row in map(self._row, found) if row is not None]

    def _row(self, columns: tuple[Any, ...]) -> Row | None:
        place, id_, scope, type_, params, expires_at, updated_at = columns
        try:
            return Row(place, id_, scope, type_, json.loads(params), expires_at, updated_at)
        except (TypeError, ValueError, RecursionError) as error:
            if columns not in self._reported:
                self._reported.add(columns)
                _log.error("constraint %r in %s is ignored: its params are no JSON: %s", id_, self.path, error)
            return None

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            if self.connection is None:
                raise ControlDatabaseError(self.path, "was closed")
            try:
                return self.connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise ControlDatabaseError(self.path, str(error)) from error

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = check_version(connection, self.path)
        connection.execute(_TABLE)
        connection.execute(f"SELECT {_COLUMNS} FROM constraints LIMIT 0")  # before anything is changed
        connection.execute(_INDEX)
        with suppress(sqlite3.OperationalError):  # busy: then it stays as it is, only slower
            connection.execute("PRAGMA journal_mode = WAL")  # writing waits for no disk, so a pause acts at once
        connection.execute("PRAGMA synchronous = NORMAL")
        if version != VERSION:
            connection.execute(f"PRAGMA user_version = {VERSION}")


def check_version(connection: sqlite3.Connection, path: str) -> int:
    """Return which version has written a file.

    Raises:
        ControlDatabaseError: a newer one than this.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise ControlDatabaseError(
            path,
            f"was written by a newer version of Cascade (format {version}, this one knows {VERSION}): "
            "update this one, or give another db_path",
        )
    return version


def _make_private(path: str) -> None:
    """Make the directory and an empty file, so that neither is ever open to others."""
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    if not os.path.exists(path):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))

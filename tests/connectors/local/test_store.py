"""The table of constraints on disk."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from cascade.connectors.errors import ControlDatabaseError
from cascade.connectors.local._store import ConstraintStore
from cascade.runtime.exceptions import CascadeRuntimeError
from tests.connectors.inbox import constraint

PAUSE = constraint("global", "pause")
LIMIT = constraint("task:a", "concurrency", limit=2, expires_at=12.5)


@pytest.fixture
def path(tmp_path):
    """A file in a directory that is not there yet."""
    return str(tmp_path / "new" / "control.db")


@pytest.fixture
def store(path):
    """An open store."""
    store = ConstraintStore(path)
    store.open()
    yield store
    store.close()


def test_the_table_is_as_documented(store, path):
    """Columns, types, primary key and the index on the scope."""
    with sqlite3.connect(path) as other:
        columns = other.execute("SELECT name, type, pk FROM pragma_table_info('constraints')").fetchall()
        indices = [row[1] for row in other.execute("PRAGMA index_list('constraints')")]
        indexed = [row[2] for name in indices for row in other.execute(f"PRAGMA index_info('{name}')")]
    other.close()

    assert columns == [
        ("id", "TEXT", 1),
        ("scope", "TEXT", 0),
        ("type", "TEXT", 0),
        ("params", "TEXT", 0),
        ("expires_at", "REAL", 0),
        ("updated_at", "REAL", 0),
    ]
    assert "scope" in indexed


def test_file_and_directory_are_private(store, path):
    """What is made is for its user only."""
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


def test_constraints_are_stored_by_id_and_read_newest_last(store):
    """The same id replaces; times of expiry and params come back as they were."""
    store.put(PAUSE)
    store.put(LIMIT)
    store.put(PAUSE)

    assert [row.payload() for row in store.rows()] == [LIMIT, PAUSE]


def test_an_equal_constraint_written_again_is_news(store):
    """Whoever compares rows sees that somebody has written."""
    store.put(PAUSE)
    before = store.rows()
    store.put(PAUSE)

    assert store.rows() != before


def test_a_scope_is_deleted_as_a_whole(store):
    """All types of it, and nothing else."""
    for one in (PAUSE, LIMIT, constraint("global", "rate_limit")):
        store.put(one)
    store.delete("global")

    assert [row.payload() for row in store.rows()] == [LIMIT]


@pytest.mark.parametrize(
    "payload, names",
    [({"id": "x", "scope": "global"}, "'type', 'params'"), ([1], r"not \[1\]"), ("text", "not 'text'")],
)
def test_what_is_no_constraint_is_refused(store, payload, names):
    """With what is missing; nothing is stored."""
    with pytest.raises(ValueError, match=names):
        store.put(payload)

    assert store.rows() == []


def test_a_row_that_cannot_be_read_is_reported_once_and_left_out(store, path, caplog):
    """The others are read."""
    store.put(PAUSE)
    with sqlite3.connect(path) as other:
        other.execute("INSERT INTO constraints VALUES ('bad', 'global', 'pause', '{', NULL, 0)")
    other.close()

    assert [row.id for row in store.rows() + store.rows()] == ["pause-global"] * 2
    assert [record.getMessage().partition(" is ignored")[0] for record in caplog.records] == [
        f"constraint 'bad' in {path}"
    ]


def test_a_file_of_the_older_engine_is_taken(path):
    """It has the same table and says nothing of versions."""
    os.makedirs(os.path.dirname(path))
    with sqlite3.connect(path) as other:
        other.execute(
            "CREATE TABLE constraints (id TEXT PRIMARY KEY, scope TEXT, type TEXT, params TEXT, "
            "expires_at REAL, updated_at REAL)"
        )
        other.execute("INSERT INTO constraints VALUES ('p', 'global', 'pause', '{}', NULL, 1.0)")
    other.close()
    store = ConstraintStore(path)
    store.open()

    assert [row.id for row in store.rows()] == ["p"]
    store.close()


def newer(path):
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 999")
    other.close()


def other_table(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE constraints (key TEXT, scope TEXT)")
    other.close()


def garbage(path):
    Path(path).write_bytes(b"no database" * 1000)


def content(path):
    return Path(path).read_bytes() if os.path.isfile(path) else b""


@pytest.mark.parametrize(
    "spoil, text",
    [
        (newer, r"newer version of Cascade \(format 999, this one knows 1\): update"),
        (other_table, "no such column"),
        (garbage, "not a database"),
        (os.mkdir, "cannot be opened"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_typed_error(spoil, text, path):
    """It names the file and says why; the file stays as it is, and nothing stays open."""
    os.makedirs(os.path.dirname(path))
    spoil(path)
    before = content(path)
    store = ConstraintStore(path)
    with pytest.raises(ControlDatabaseError, match=text) as caught:
        store.open()
    store.close()

    assert isinstance(caught.value, CascadeRuntimeError)
    assert caught.value.path == path
    assert path in str(caught.value)
    assert content(path) == before


def test_a_closed_store_says_so(store):
    """And closing twice is closing once."""
    store.close()
    store.close()
    with pytest.raises(ControlDatabaseError, match="was closed"):
        store.rows()


def test_an_error_in_use_is_the_same_type(store, path):
    """Whatever SQLite complains of."""
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE constraints")
    other.close()
    with pytest.raises(ControlDatabaseError, match="no such table"):
        store.rows()

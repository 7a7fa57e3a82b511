"""SQL statements on a database that a resource gives, by SQLAlchemy."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, cast

from cascade.providers._sql_statement import Statement, run_statement
from cascade.providers.registry import LazyFactory
from cascade.spec.lazy_types import LazyResult
from cascade.spec.resource import inject
from cascade.spec.task import task

try:
    import sqlalchemy
    from sqlalchemy import text
except ImportError:  # said when a statement is made
    sqlalchemy = None  # type: ignore[assignment, unused-ignore]
    text = None  # type: ignore[assignment, unused-ignore]

__all__ = ["SqlProvider"]

_Rows = list[dict[str, Any]]


# mode="blocking" lets statements of one stage run together; the coroutine that this returns at once is then awaited by
# the event loop. It, and not this function, waits for the database: what is cancelled has to be rolled back first.
@task(name="sql_query", mode="blocking")
def _sql_task(query: str, params: dict[str, Any], conn: Any) -> Coroutine[Any, Any, _Rows]:
    """Execute a statement in a thread, commit, and return its rows."""
    _require_library()
    return run_statement(Statement(conn, text(query), params))


def _sql_factory(query: str, db: str, params: dict[str, Any] | None = None) -> LazyResult[_Rows]:
    """Execute a statement and return its rows as dicts by column; none is ``[]``.

    An Engine is connected for the call. The transaction is committed, and rolled back when the statement fails or is
    cancelled; only a Connection that its resource holds in ``with connection.begin()`` is left to that. Statements on
    one Connection run one after the other. SQLite in memory runs on the event loop's thread, which it is bound to.

    Args:
        query: the statement, with ``:name`` for a parameter.
        db: name of a resource that gives an SQLAlchemy Engine or Connection.
        params: values by name; shown in no error. SQLite keeps a Decimal as a float, other databases as it is.

    Raises:
        ImportError: SQLAlchemy is not installed.
        TypeError: ``db`` is no name.
    """
    _require_library()
    if not isinstance(db, str):
        raise TypeError(f"db must be the name of a resource, not {type(db).__name__}: resources are known by name")
    call = _sql_task(query=query, params={} if params is None else params, conn=inject(db))
    return cast("LazyResult[_Rows]", call)


def _require_library() -> None:
    if sqlalchemy is None:
        raise ImportError("The 'sqlalchemy' library is required for SQL: pip install 'cascade-hot[sql]'")


class SqlProvider:
    """``cascade.sql``."""

    name = "sql"

    def create_factory(self) -> LazyFactory:
        return cast(LazyFactory, _sql_factory)

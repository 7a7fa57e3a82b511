"""One SQL statement in its transaction, run in a thread and abandoned when its run is cancelled.

    event loop    run_statement:  wait ........ cancelled: abandon() until the thread is done, raise
    thread        Statement.run:  connect, execute, commit ........ or roll back, close

The event loop waits for the thread also when it is cancelled, because the resource that the thread uses is torn down
next. It asks the driver to interrupt what the database does, so that this is short where the driver can.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import copy_context
from datetime import date, time
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

from cascade.adapters.executors._threads import ThreadPool
from cascade.providers._sql_errors import hide_parameters
from cascade.providers._threads import look

__all__ = ["Statement", "run_statement"]

_Rows: TypeAlias = "list[dict[str, Any]]"

#: Seconds between two looks at whether something has changed.
_PATIENCE = 0.05

#: What SQLite's driver does not take, or takes with a warning, and SQLAlchemy converts when it knows the type.
_NOT_FOR_SQLITE = (Decimal, date, time, UUID)

#: Threads of statements only, so that slow ones do not hold up others that wait for a thread.
_threads = ThreadPool("cascade_sql", 32)

#: One lock for each Connection, and for each pool that has one only: neither can be used by two threads at once.
_locks: weakref.WeakKeyDictionary[Any, threading.Lock] = weakref.WeakKeyDictionary()
_locks_lock = threading.Lock()


class Statement:
    """A statement and its parameters for an Engine or a Connection."""

    def __init__(self, target: Any, clause: Any, params: Any) -> None:
        is_async = hasattr(type(target), "sync_engine")
        if is_async or not (hasattr(target, "connect") or hasattr(target, "execute")):
            raise TypeError(
                "the resource must give an Engine of sqlalchemy.create_engine, or a Connection of one, "
                f"not {type(target).__name__}"
            )
        self.target = target
        self.is_engine = hasattr(target, "connect")
        self._clause = _typed(clause, params) if _dialect(target) == "sqlite" else clause
        self._params = params
        #: Whether the thread waits for a connection, which nothing can interrupt.
        self.is_connecting = False
        #: Whether nobody waits for the rows any more.
        self._abandoned = False
        #: The connection, while it executes this statement; and the lock for looking at it.
        self._executing: Any = None
        self._guard = threading.Lock()

    def run(self) -> _Rows:
        """Execute the statement, commit, and return its rows; roll back when that fails, or when abandoned.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: it failed; the error shows no parameters.
        """
        with self._sole_use():
            try:
                with self._connect() if self.is_engine else nullcontext(self.target) as connection:
                    return self._run_on(connection)
            except Exception as error:
                hide_parameters(error, self._params)
                raise

    def abandon(self) -> None:
        """See to it that the statement is not committed, and ends soon; may be called again and again."""
        self._abandoned = True
        with self._guard:
            if self._executing is not None:
                _interrupt(self._executing)

    def _connect(self) -> Any:
        self.is_connecting = True
        try:
            connection = self.target.connect()
        finally:
            self.is_connecting = False
        if self._abandoned:  # and so, perhaps, is the engine: let no pool keep what it would not close
            with connection:
                connection.detach()
            raise _Abandoned
        return connection

    def _run_on(self, connection: Any) -> _Rows:
        is_ours = not _is_held(connection)
        try:
            with self._interruptible(connection):
                result = connection.execute(self._clause, self._params)
                rows = [dict(row) for row in result.mappings()] if result.returns_rows else []
            if self._abandoned:
                raise _Abandoned
            if is_ours:
                connection.commit()
        except BaseException as error:
            if is_ours:
                _roll_back(connection, error)
            raise
        return rows

    @contextmanager
    def _interruptible(self, connection: Any) -> Iterator[None]:
        with self._guard:
            if self._abandoned:
                raise _Abandoned
            self._executing = connection
        try:
            yield
        finally:
            with self._guard:
                self._executing = None

    @contextmanager
    def _sole_use(self) -> Iterator[None]:
        """Wait for other statements on the same connection."""
        lock = _lock_of(self.target, self.is_engine)
        while lock is not None and not lock.acquire(timeout=_PATIENCE):
            if self._abandoned:
                raise _Abandoned
        try:
            yield
        finally:
            if lock is not None:
                lock.release()


class _Abandoned(Exception):
    """The run was cancelled."""


async def run_statement(statement: Statement) -> _Rows:
    """Run a statement without holding the event loop; when cancelled, raise as soon as it is rolled back.

    A second cancellation does not wait.
    """
    if await _must_stay(statement):
        return statement.run()
    job = _threads.submit(partial(copy_context().run, statement.run))
    running = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if not job.cancel():  # a thread has begun
            await _end(running, statement)
        raise


async def _end(running: asyncio.Future[_Rows], statement: Statement) -> None:
    """Abandon a statement until its thread is done."""
    running.add_done_callback(_look_at)
    while not running.done():
        await look(statement.abandon)
        if statement.is_connecting:
            return  # it uses nothing yet, and closes what it gets
        await asyncio.wait((running,), timeout=_PATIENCE)


def _look_at(done: asyncio.Future[_Rows]) -> None:
    """Look at an error that nobody waits for, or asyncio reports it as forgotten."""
    if not done.cancelled():
        done.exception()


async def _must_stay(statement: Statement) -> bool:
    """Whether only this thread, where resources are set up, can use the connection, as with SQLite in memory."""
    target = statement.target
    if _dialect(target) != "sqlite":
        return False
    from sqlalchemy.pool import SingletonThreadPool, StaticPool

    pool = target.engine.pool
    if not statement.is_engine:
        raw = target.connection.dbapi_connection
    elif isinstance(pool, StaticPool):
        raw = pool.connection.dbapi_connection
    else:
        return isinstance(pool, SingletonThreadPool)  # in another thread that opens another database
    return not await look(_is_usable, raw)


def _is_usable(raw: Any) -> bool:
    """Whether SQLite lets the current thread use a connection."""
    from sqlite3 import ProgrammingError

    try:
        raw.cursor().close()
    except ProgrammingError:
        return False
    return True


def _dialect(target: Any) -> Any:
    return getattr(getattr(target, "dialect", None), "name", None)


def _typed(clause: Any, params: Any) -> Any:
    """Tell SQLAlchemy the types of the values that SQLite's driver does not take."""
    if not isinstance(params, Mapping):
        return clause
    foreign = {name: value for name, value in params.items() if isinstance(value, _NOT_FOR_SQLITE)}
    return clause.bindparams(**foreign) if foreign else clause


def _lock_of(target: Any, is_engine: bool) -> threading.Lock | None:
    from sqlalchemy.pool import StaticPool

    pool = getattr(getattr(target, "engine", None), "pool", None)
    if isinstance(pool, StaticPool):
        target = pool
    elif is_engine:
        return None
    with _locks_lock:
        return _locks.setdefault(target, threading.Lock())


def _is_held(connection: Any) -> bool:
    """Whether a ``with connection.begin()`` is open around it: then that commits, and fails if others did."""
    from sqlalchemy import Transaction

    return isinstance(getattr(connection, "_trans_context_manager", None), Transaction)


def _roll_back(connection: Any, error: BaseException) -> None:
    try:
        connection.rollback()
    except Exception as other:  # the connection is lost, and the transaction with it; the first error says why
        error.add_note(f"Rolling back failed too: {type(other).__name__}")


def _interrupt(connection: Any) -> None:
    """Ask the driver to stop what the database does: sqlite3 has ``interrupt``, psycopg and others ``cancel``."""
    with suppress(Exception):  # it has ended meanwhile, or the server cannot be reached
        raw = connection.connection.dbapi_connection
        stop = getattr(raw, "interrupt", None) or getattr(raw, "cancel", None)
        if callable(stop):
            stop()

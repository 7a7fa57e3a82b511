"""SQL statements on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import cascade as cs
from tests.engines import make_engine, run, watch

sqlalchemy = pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy: pip install 'cascade-hot[sql]'")
from sqlalchemy import Engine, create_engine, event  # noqa: E402
from sqlalchemy.pool import StaticPool  # noqa: E402

from cascade.adapters.executors._threads import ThreadPool  # noqa: E402
from cascade.providers import _sql_statement, sql  # noqa: E402
from cascade.providers.sql import text  # noqa: E402

PATIENCE = 30


def giving(value: Any, name: str = "db") -> Any:
    """Return a resource that gives a value."""

    def give() -> Iterator[Any]:
        yield value

    return cs.resource(give, name=name)


def connected(engine: Engine) -> Any:
    """Return a resource that gives a Connection."""

    def give() -> Iterator[Any]:
        with engine.connect() as connection:
            yield connection

    return cs.resource(give, name="db")


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def add_function(engine: Engine, name: str, function: Callable[[], Any]) -> None:
    """Let the statements of an SQLite engine call a function."""

    @event.listens_for(engine, "connect")
    def _(raw: Any, __: Any) -> None:
        raw.create_function(name, 0, function)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    """A database in a file with a table of people, and every connection closed at the end."""
    engine = create_engine(f"sqlite:///{tmp_path / 'data.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"))
    yield engine
    in_use = engine.pool.checkedout() if hasattr(engine.pool, "checkedout") else 0
    engine.dispose()
    gc.collect()  # an open connection that is collected is a ResourceWarning, and so an error

    assert in_use == 0


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Engine]:
    """The same in PostgreSQL."""
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS people"))
        connection.execute(text("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"))
    yield engine
    in_use = engine.pool.checkedout()  # type: ignore[attr-defined]
    engine.dispose()

    assert in_use == 0


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.getfixturevalue(request.param)
    return engine


INSERT = "INSERT INTO people (id, name) VALUES (:id, :name)"
ADA = {"id": 1, "name": "Ada"}


# -- what a statement gives ---


@pytest.mark.row("06-providers", "Built-in providers", "sql")
def test_rows_are_dicts_and_writes_are_committed(database: Engine) -> None:
    """A write gives ``[]`` and is there for others; a query gives a dict for each row, in order."""
    resource = giving(database)

    assert run(cs.sql(INSERT, "db", ADA), resources=[resource]) == []
    assert run(cs.sql(INSERT, db="db", params={"id": 2, "name": "Bob"}), resources=[resource]) == []
    assert rows(database, "SELECT id FROM people ORDER BY id") == [(1,), (2,)]
    query = "SELECT name, id * 10 AS tens FROM people WHERE id >= :least ORDER BY id"
    found = run(cs.sql(query, "db", {"least": 1}), resources=[resource])
    assert found == [{"name": "Ada", "tens": 10}, {"name": "Bob", "tens": 20}]
    assert [type(row) for row in found] == [dict, dict]
    assert run(cs.sql("SELECT id FROM people WHERE id = 3", "db"), resources=[resource]) == []


def test_the_task_is_a_synchronous_one() -> None:
    """It is named ``sql_query``, and not a coroutine function; the provider is a function that makes calls of it."""
    assert (sql._sql_task.name, sql._sql_task.is_async) == ("sql_query", False)
    assert cs.sql is sql._sql_factory


def test_statement_and_parameters_may_be_lazy(sqlite: Engine) -> None:
    """Other calls give the statement, and values of parameters."""
    lazy = cs.sql(cs.format("SELECT {} AS it", ":x"), "db", {"x": cs.Param("x")})

    assert run(lazy, params={"x": 5}, resources=[giving(sqlite)]) == [{"it": 5}]


def test_values_of_other_types_pass_in_postgresql(postgres: Engine) -> None:
    """Decimals, dates, times, UUIDs and lists arrive as they are, and come back so."""
    values = {
        "d": Decimal("12345678901234567890.10"),
        "on": date(2024, 2, 29),
        "at": datetime(2024, 2, 29, 12, 30, 0, 5),
        "u": UUID(int=7),
        "l": [1, 2],
        "b": b"\x00\xff",
        "n": None,
    }
    types = {"d": "numeric", "on": "date", "at": "timestamp", "u": "uuid", "l": "int[]", "b": "bytea", "n": "text"}
    query = "SELECT " + ", ".join(f'CAST(:{name} AS {kind}) AS "{name}"' for name, kind in types.items())

    assert run(cs.sql(query, "db", values), resources=[giving(postgres)]) == [values]


def test_values_of_other_types_pass_in_sqlite(sqlite: Engine) -> None:
    """SQLite knows neither: a Decimal is kept as a float, dates as ISO text, as SQLAlchemy's types do."""
    values = {"d": Decimal("1.50"), "on": date(2024, 2, 29), "u": UUID(int=7), "b": b"\xff"}
    found = run(cs.sql("SELECT :d AS d, :on AS 'on', :u AS u, :b AS b", "db", values), resources=[giving(sqlite)])

    assert found == [{"d": 1.5, "on": "2024-02-29", "u": UUID(int=7).hex, "b": b"\xff"}]


# -- transactions ---


def test_a_failing_statement_leaves_nothing(database: Engine) -> None:
    """An error rolls back, keeps SQLAlchemy's type, and the connection serves the next statement."""
    resource = giving(database)
    run(cs.sql(INSERT, "db", ADA), resources=[resource])

    with pytest.raises(sqlalchemy.exc.IntegrityError):
        run(cs.sql(INSERT, "db", ADA), resources=[resource])

    assert run(cs.sql("SELECT count(*) AS n FROM people", "db"), resources=[resource]) == [{"n": 1}]


def test_rows_that_cannot_be_read_undo_what_the_statement_did(sqlite: Engine) -> None:
    """What fails after the execution is rolled back too."""

    def fail() -> None:
        raise ArithmeticError

    add_function(sqlite, "fail", fail)
    sqlite.dispose()
    query = "INSERT INTO people (id, name) VALUES (1, 'a'), (2, fail()) RETURNING id"
    with pytest.raises(sqlalchemy.exc.OperationalError):
        run(cs.sql(query, "db"), resources=[giving(sqlite)])

    assert rows(sqlite, "SELECT * FROM people") == []


def test_a_connection_is_committed_after_each_statement(database: Engine) -> None:
    """A resource may give a Connection; others see what was written, and an error leaves it usable."""
    seen = []

    def give() -> Iterator[Any]:
        with database.connect() as connection:
            try:
                yield connection
            finally:
                seen.append(rows(database, "SELECT name FROM people"))

    resource = cs.resource(give, name="db")
    run(cs.sql(INSERT, "db", ADA), resources=[resource])
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        run(cs.sequence([cs.sql(INSERT, "db", ADA)]), resources=[resource])

    assert seen == [[("Ada",)], [("Ada",)]]


def test_a_statement_that_failed_on_a_connection_can_be_tried_again(database: Engine) -> None:
    """What it began is rolled back at once: the next attempt fails for the same reason, and not for the first one."""
    run(cs.sql(INSERT, "db", ADA), resources=[giving(database)])

    with pytest.raises(sqlalchemy.exc.IntegrityError):
        run(cs.sql(INSERT, "db", ADA).with_retry(max_attempts=1, delay=0), resources=[connected(database)])


def test_a_connection_held_in_begin_is_left_to_it(sqlite: Engine) -> None:
    """Statements within ``with connection.begin()`` are one transaction of the resource's; a failure undoes both."""

    def give() -> Iterator[Any]:
        with sqlite.begin() as connection:
            yield connection

    resource = cs.resource(give, name="db")
    second = {"id": 2, "name": "Bob"}
    run(cs.sequence([cs.sql(INSERT, "db", ADA), cs.sql(INSERT, "db", second)]), resources=[resource])
    third = {"id": 3, "name": "Eve"}
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        run(cs.sequence([cs.sql(INSERT, "db", third), cs.sql(INSERT, "db", ADA)]), resources=[resource])

    assert rows(sqlite, "SELECT name FROM people ORDER BY id") == [("Ada",), ("Bob",)]


def test_retries_begin_a_transaction_of_their_own(sqlite: Engine) -> None:
    """A statement that failed is tried again; the policy covers the statement."""
    tries = []

    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise ArithmeticError
        return len(tries)

    add_function(sqlite, "flaky", flaky)
    sqlite.dispose()
    lazy = cs.sql("SELECT flaky() AS n", "db").with_retry(max_attempts=3, delay=0)

    assert run(lazy, resources=[giving(sqlite)]) == [{"n": 3}]


# -- SQLite in memory ---


@pytest.mark.parametrize("options", [{}, {"poolclass": StaticPool}])
def test_sqlite_in_memory_is_the_one_that_the_resource_made(options: dict[str, Any]) -> None:
    """It is bound to the thread that opened it, so statements run there: they see its tables."""

    def give() -> Iterator[Any]:
        engine = create_engine("sqlite://", **options)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE t (x INTEGER)"))
        yield engine
        engine.dispose()

    write, read = cs.sql("INSERT INTO t VALUES (1)", "db"), cs.sql("SELECT x FROM t", "db")

    assert run(cs.sequence([write, read]), resources=[cs.resource(give, name="db")]) == [{"x": 1}]


def test_a_connection_to_sqlite_in_memory() -> None:
    """The same for a Connection."""
    engine = create_engine("sqlite://")

    assert run(cs.sql("SELECT 1 AS x", "db"), resources=[connected(engine)]) == [{"x": 1}]
    engine.dispose()


# -- the event loop, other statements ---


def test_the_event_loop_is_not_held(sqlite: Engine) -> None:
    """A statement may wait for what a task on the event loop does meanwhile."""
    told = threading.Event()
    add_function(sqlite, "told", lambda: told.wait(PATIENCE))
    sqlite.dispose()

    @cs.task
    async def tell() -> None:
        told.set()

    targets = [cs.sql("SELECT told() AS it", "db"), tell()]

    assert run(targets, resources=[giving(sqlite)])[0] == [{"it": 1}]


def test_a_shared_connection_in_memory_does_not_hold_the_loop_where_threads_may_use_it() -> None:
    """With ``check_same_thread=False`` the statement leaves the event loop's thread."""
    options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    engine = create_engine("sqlite://", **options)
    add_function(engine, "thread", lambda: threading.current_thread().name)

    found = run(cs.sql("SELECT thread() AS name", "db"), resources=[giving(engine)])
    engine.dispose()

    assert found[0]["name"].startswith("cascade_sql")


def test_statements_on_an_engine_run_together(sqlite: Engine) -> None:
    """Two that wait for each other both end."""
    meet = threading.Barrier(2)
    add_function(sqlite, "meet", lambda: meet.wait(PATIENCE))
    sqlite.dispose()
    targets = [cs.sql(f"SELECT meet() < 2 AS it, {n} AS n", "db") for n in range(2)]

    assert run(targets, resources=[giving(sqlite)]) == [[{"it": 1, "n": n}] for n in range(2)]


@pytest.mark.parametrize("kind", ["connection", "static"])
def test_statements_on_one_connection_run_one_by_one(kind: str, tmp_path: Path) -> None:
    """A connection is never used by two threads at once, though there is time for a second one to come."""
    options = {"poolclass": StaticPool} if kind == "static" else {}
    engine = create_engine(f"sqlite:///{tmp_path / 'one.db'}", **options)
    second = threading.Event()
    running: list[int] = []
    most = []

    @event.listens_for(engine, "before_cursor_execute")
    def _(*_: Any) -> None:
        running.append(1)
        most.append(len(running))
        second.wait(0.3) if len(running) == 1 else second.set()

    @event.listens_for(engine, "commit")
    def _(_: Any) -> None:
        running.clear()

    resource = giving(engine) if kind == "static" else connected(engine)
    run([cs.sql(f"SELECT {n}", "db") for n in range(3)], resources=[resource])
    engine.dispose()

    assert most == [1, 1, 1]


# -- cancelling ---

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT begun() UNION ALL SELECT x + 1 FROM c) "


async def cancelled(lazy: Any, resource: Any, begun: threading.Event) -> None:
    """Run a call, cancel it once it has begun, and wait for its end."""
    running = asyncio.ensure_future(make_engine(resources=[resource]).run(lazy))
    await asyncio.to_thread(begun.wait, PATIENCE)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("kind", ["engine", "connection"])
def test_a_cancelled_statement_is_interrupted_and_undone(sqlite: Engine, kind: str) -> None:
    """It ends though it would run for ever, writes nothing, and its connection is back when the run has ended."""
    begun = threading.Event()
    add_function(sqlite, "begun", lambda: begun.set() or 1)
    sqlite.dispose()
    query = f"INSERT INTO people (id, name) {ENDLESS} SELECT x, NULL FROM c"
    resource = giving(sqlite) if kind == "engine" else connected(sqlite)
    asyncio.run(cancelled(cs.sql(query, "db"), resource, begun))

    assert sqlite.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert rows(sqlite, "SELECT * FROM people") == []


def test_a_cancelled_statement_is_interrupted_in_postgresql(postgres: Engine) -> None:
    """The server is told to stop it."""
    begun = threading.Event()

    @event.listens_for(postgres, "before_cursor_execute")
    def _(*_: Any) -> None:
        begun.set()

    query = "INSERT INTO people (id, name) SELECT 1, pg_sleep(600)::text"
    asyncio.run(cancelled(cs.sql(query, "db"), giving(postgres), begun))

    assert rows(postgres, "SELECT * FROM people") == []


def test_a_statement_that_waits_for_its_connection_is_cancelled_too(tmp_path: Path) -> None:
    """Of two on one connection the second is cancelled while the first is executed; neither is committed."""
    engine = create_engine(f"sqlite:///{tmp_path / 'one.db'}")
    begun = threading.Event()
    add_function(engine, "begun", lambda: begun.set() or 1)
    query = f"{ENDLESS} SELECT count(*) FROM c"
    targets = [cs.sql(query, "db"), cs.sql(query + " WHERE 1", "db")]
    asyncio.run(cancelled(targets, connected(engine), begun))
    engine.dispose()


def test_what_connects_when_it_is_cancelled_closes_its_connection_later(tmp_path: Path) -> None:
    """Connecting cannot be interrupted, and nobody waits for it: the connection is closed when it comes."""
    engine = create_engine(f"sqlite:///{tmp_path / 'slow.db'}")
    begun, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    @event.listens_for(engine, "do_connect")
    def _(*_: Any) -> None:
        begun.set()
        go_on.wait(PATIENCE)

    @event.listens_for(engine, "close_detached")
    def _(_: Any) -> None:
        closed.set()

    asyncio.run(cancelled(cs.sql("SELECT 1", "db"), giving(engine), begun))
    was_closed = closed.is_set()
    go_on.set()

    assert (was_closed, closed.wait(PATIENCE)) == (False, True)
    engine.dispose()


def test_a_cancelled_statement_that_ends_all_the_same_is_undone(
    sqlite: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the driver cannot interrupt it, the run waits for its end, and it is not committed."""
    begun, go_on = threading.Event(), threading.Event()
    add_function(sqlite, "begun", lambda: begun.set() or go_on.wait(PATIENCE))
    sqlite.dispose()
    monkeypatch.setattr(_sql_statement, "_interrupt", lambda _: go_on.set())
    asyncio.run(cancelled(cs.sql("INSERT INTO people (id) VALUES (begun())", "db"), giving(sqlite), begun))

    assert rows(sqlite, "SELECT * FROM people") == []


def test_a_statement_that_waits_for_a_thread_is_cancelled_at_once(
    sqlite: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not begun, and never does; nobody waits for those before it."""
    begun, queued, go_on = threading.Event(), threading.Event(), threading.Event()
    add_function(sqlite, "begun", lambda: begun.set() or go_on.wait(PATIENCE))
    sqlite.dispose()

    class One(ThreadPool):
        def submit(self, function: Callable[[], Any]) -> Any:
            if begun.is_set():
                queued.set()
            return super().submit(function)

    monkeypatch.setattr(_sql_statement, "_threads", One("one", 1))

    async def main() -> Any:
        engine = make_engine(resources=[giving(sqlite)])
        first = asyncio.ensure_future(engine.run(cs.sql("SELECT begun() AS it", "db")))
        await asyncio.to_thread(begun.wait, PATIENCE)
        await cancelled(cs.sql("SELECT 2", "db"), giving(sqlite), queued)
        assert not first.done()
        go_on.set()
        return await first

    assert asyncio.run(main()) == [{"it": 1}]


# -- errors ---


@pytest.mark.parametrize(
    "query, params",
    [
        (INSERT, {"id": 1, "name": "hunter2hunter2"}),
        ("SELECT * FROM nothing WHERE x = :x", {"x": "hunter2hunter2"}),
        ("SELECT CAST(:x AS INTEGER) + :y", {"x": "hunter2hunter2"}),
        ("INSERT INTO people (id, name) VALUES (:id, :name)", {"id": "hunter2hunter2", "name": None}),
    ],
)
def test_no_parameter_shows_when_a_statement_fails(
    database: Engine, query: str, params: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in the texts of the error and its causes, nor in events, nor in the log."""
    with database.begin() as connection:
        connection.execute(text(INSERT), {"id": 1, "name": "hunter2hunter2"})
    engine = make_engine(resources=[giving(database)])
    events = watch(engine)

    with pytest.raises(sqlalchemy.exc.SQLAlchemyError) as caught:
        run(cs.sql(query, "db", params).with_retry(max_attempts=1, delay=0), engine)

    shown = [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value), *map(repr, events)]
    assert [text for text in shown if "hunter2" in text] == []


def test_an_error_says_what_is_wrong_with_the_statement(database: Engine) -> None:
    """Only values are hidden: the statement and the driver's words are there."""
    with pytest.raises(sqlalchemy.exc.DBAPIError, match=r"(?s)nothing.*SELECT 1 FROM nothing"):
        run(cs.sql("SELECT 1 FROM nothing WHERE :x = 1", "db", {"x": 1}), resources=[giving(database)])


def test_pieces_of_values_that_postgresql_quotes_do_not_show(postgres: Engine) -> None:
    """Details and context of an error quote pieces of a value; they are left out."""
    lazy = cs.sql("SELECT CAST(:x AS json)", "db", {"x": '{"key": hunter2, "b": 1}'})
    with pytest.raises(sqlalchemy.exc.DataError) as caught:
        run(lazy, resources=[giving(postgres)])

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "invalid input syntax for type json" in str(caught.value)


@pytest.mark.parametrize("value", [5, "sqlite://", None])
def test_a_resource_that_is_no_database(value: Any) -> None:
    """What has neither ``connect`` nor ``execute`` is named in a TypeError."""
    with pytest.raises(TypeError, match=f"Engine.*Connection.*not {type(value).__name__}"):
        run(cs.sql("SELECT 1", "db"), resources=[giving(value)])


def test_an_async_engine_is_refused() -> None:
    """The error says which engine to make."""

    class AsyncEngine:
        """What SQLAlchemy's is known by; that one cannot be imported without greenlet."""

        __slots__ = ("sync_engine",)

        async def connect(self) -> None: ...

    with pytest.raises(TypeError, match=r"create_engine.*not AsyncEngine"):
        run(cs.sql("SELECT 1", "db"), resources=[giving(AsyncEngine())])


def test_the_name_of_the_resource_is_a_name() -> None:
    """A lazy or an engine in its place is refused when the call is made; a name nobody registered when it runs."""
    for db in (cs.Param("db"), create_engine("sqlite://")):
        with pytest.raises(TypeError, match="name of a resource"):
            cs.sql("SELECT 1", db)

    with pytest.raises(NameError, match="'db' is required but not registered"):
        run(cs.sql("SELECT 1", "db"))


# -- without the library ---


def test_without_sqlalchemy_a_call_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module attribute is None then, and the error names library and extra."""
    monkeypatch.setattr(sql, "sqlalchemy", None)

    with pytest.raises(ImportError, match=r"'sqlalchemy'.*pip install 'cascade-hot\[sql\]'"):
        cs.sql("SELECT 1", "db")


def test_the_module_can_be_imported_without_sqlalchemy() -> None:
    """Asking for the provider is no error yet."""
    program = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "import cascade as cs, cascade.providers.sql as sql\n"
        "assert sql.sqlalchemy is None and sql.text is None and callable(cs.sql)\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True)

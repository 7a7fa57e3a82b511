"""``cs-observer``: show what running engines do, and what limits them.

    watch:   telemetry of a broker or a socket -> on_message -> messages
    status:  retained constraints or a database -> a table
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Coroutine
from typing import Annotated, Any, NoReturn

from cascade.cli._commands import application, run
from cascade.cli._endpoint import Endpoint, endpoint
from cascade.cli._usage import UsageError
from cascade.cli.observer._constraints import Retained, stored
from cascade.cli.observer._table import show_constraints
from cascade.cli.observer._uds import SocketWatcher
from cascade.cli.observer.rendering import RichCliRenderer
from cascade.common.messaging import bus
from cascade.connectors.errors import ControlDatabaseError
from cascade.connectors.local.connector import DEFAULT_TELEMETRY_UDS_PATH, LocalConnector
from cascade.connectors.mqtt import MqttConnector
from cascade.spec.constraint import GlobalConstraint

try:
    import typer
except ImportError:  # said by main; the functions work without
    typer = None  # type: ignore[assignment]

__all__ = ["DEFAULT_TELEMETRY_UDS_PATH", "app", "main", "on_message", "seen_run_ids", "status", "watch"]

DEFAULT_DB_PATH: str = inspect.signature(LocalConnector).parameters["db_path"].default
#: Runs whose first message was shown.
seen_run_ids: set[str] = set()
#: So many are remembered, then all are forgotten: an observer may run for years.
_MOST_RUNS = 100_000
#: Seconds without a retained message after which there are no more.
_QUIET = 0.5


# ------------------------------------------------------------------------------------------------------------- commands


def watch(
    backend: Annotated[str, typer.Option("--backend", help="mqtt or local.")] = "mqtt",
    project: Annotated[str, typer.Option("--project", help="Whose engines (mqtt); + for all.")] = "default",
    hostname: Annotated[str, typer.Option("--host", help="Of the broker: [USER:PASSWORD@]HOST.")] = "localhost",
    port: Annotated[int, typer.Option("--port", help="Of the broker.")] = 1883,
) -> None:
    """Show what engines do while they do it, until Ctrl-C."""
    if backend == "mqtt":
        _check_project(project)
        watching = _run_mqtt_watcher(project=project, hostname=hostname, port=port)
    elif backend == "local":
        watching = _run_uds_watcher()
    else:
        _refuse(backend)
    try:
        _finish(watching)
    except KeyboardInterrupt:
        bus.info("observer.shutdown")


def status(
    backend: Annotated[str, typer.Option("--backend", help="mqtt or local.")] = "mqtt",
    hostname: Annotated[
        str, typer.Option("--hostname", "--host", help="Of the broker: [USER:PASSWORD@]HOST.")
    ] = "localhost",
    port: Annotated[int, typer.Option("--port", help="Of the broker.")] = 1883,
) -> None:
    """List the constraints that engines obey or will obey."""
    if backend not in ("mqtt", "local"):
        _refuse(backend)
    _finish(_get_status(backend=backend, hostname=hostname, port=port))


def _finish(doing: Coroutine[Any, Any, bool]) -> None:
    if asyncio.run(doing) is False:
        raise SystemExit(1)


def _refuse(backend: str) -> NoReturn:
    bus.error("observer.error_invalid_backend", backend=backend)
    raise SystemExit(1)


def _check_project(project: str) -> None:
    if project != "+" and (not project.strip() or not project.isprintable() or any(sign in project for sign in "+#/")):
        raise UsageError(f"--project: {project!r} is none; write a name without + # and /, or + for all projects")


# ---------------------------------------------------------------------------------------------------------------- watch


async def on_message(topic: str, payload: dict[str, Any]) -> None:
    """Show a telemetry message; what is none is ignored."""
    if not isinstance(payload, dict):
        return
    run_id, body = payload.get("run_id"), payload.get("body")
    if not (run_id and isinstance(run_id, str) and body and isinstance(body, dict)):
        return
    _show_run(run_id)
    kind = body.get("type")
    if kind == "LifecycleEvent":
        bus.info(f"observer.telemetry.lifecycle.{body.get('event')}")
    elif kind == "TaskStateEvent":
        bus.info(
            f"observer.telemetry.task_state.{body.get('state')}",
            task_name=body.get("task_name", "N/A"),
            duration_ms=body.get("duration_ms", 0),
            error=body.get("error", ""),
        )
    else:
        bus.info("observer.telemetry.unknown_event", type=kind)


def _show_run(run_id: str) -> None:
    if run_id in seen_run_ids:
        return
    if len(seen_run_ids) >= _MOST_RUNS:
        seen_run_ids.clear()
    seen_run_ids.add(run_id)
    bus.info("observer.telemetry.run_header", run_id=run_id)


async def _run_mqtt_watcher(project: str, hostname: str, port: int) -> bool:
    """Watch until cancelled; return False if the broker cannot be watched, which was said."""
    place = endpoint(hostname, port)
    try:
        connector = MqttConnector(hostname=place.hostname, port=place.port, **place.credentials)
        bus.info("observer.startup.watching", project=project, hostname=place.hostname, port=place.port)
        try:
            await connector.connect()
            await connector.subscribe(f"cascade/telemetry/+/{project}/+/events", on_message)
            bus.info("observer.startup.connected")
            await asyncio.Event().wait()  # for ever
        finally:
            await connector.disconnect()
    except Exception as error:
        _report_broker(place, error)
        return False
    return True


async def _run_uds_watcher() -> bool:
    """Watch until cancelled; return False on a platform without Unix sockets, which was said."""
    if not hasattr(asyncio, "open_unix_connection"):
        bus.error("observer.error_uds_unsupported")
        return False
    bus.info("observer.startup.watching_uds", path=DEFAULT_TELEMETRY_UDS_PATH)
    await SocketWatcher(DEFAULT_TELEMETRY_UDS_PATH, on_message, bus).watch()
    return True


# --------------------------------------------------------------------------------------------------------------- status


async def _get_status(backend: str, hostname: str, port: int) -> bool:
    """Show the constraints; return False if they cannot be had, which was said."""
    if backend == "local":
        return await _get_status_sqlite()
    place = endpoint(hostname, port)
    try:
        constraints = await _retained_constraints(place)
    except Exception as error:
        _report_broker(place, error)
        return False
    _render_constraints_table(constraints)
    return True


async def _retained_constraints(place: Endpoint) -> list[GlobalConstraint]:
    retained = Retained(_report_payload)
    connector = MqttConnector(hostname=place.hostname, port=place.port, **place.credentials)
    try:
        await connector.connect()
        await connector.subscribe("cascade/constraints/#", retained.take)
        return await retained.until_quiet(_QUIET)
    finally:
        await connector.disconnect()


async def _get_status_sqlite() -> bool:
    """Show the constraints of this machine's database; return False if it cannot be read, which was said."""
    try:
        constraints = stored(DEFAULT_DB_PATH, _report_payload)
    except ControlDatabaseError as error:
        bus.error("observer.status.database_error", path=error.path, error=error.problem)
        return False
    _render_constraints_table(constraints)
    return True


def _report_payload(topic: str, error: str) -> None:
    bus.warning("observer.status.malformed", topic=topic, error=error)


def _report_broker(place: Endpoint, error: Exception) -> None:
    text = str(error) or type(error).__name__
    bus.error("observer.startup.error", hostname=place.hostname, port=place.port, error=text)


def _render_constraints_table(constraints: list[GlobalConstraint]) -> None:
    """Show a table of constraints, or that there are none."""
    show_constraints(constraints)


# ---------------------------------------------------------------------------------------------------------- the process

app = application("Watch running engines, and list what limits them.", watch=watch, status=status)


def main() -> int:
    """Run ``cs-observer``."""
    return run("cs-observer", app, bus, lambda: RichCliRenderer(bus.store))


if __name__ == "__main__":
    sys.exit(main())

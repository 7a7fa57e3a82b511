"""Running a target with the package's own parts: ``run``, ``arun`` and ``run_outcome``."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from cascade import app
from cascade._state_backends import BackendFactory
from cascade.runtime.stats import Outcome
from cascade.spec.lazy_types import LazyResult
from cascade.spec.protocols import Connector

__all__ = ["arun", "run", "run_outcome"]

T = TypeVar("T")


@overload
def run(
    target: LazyResult[T],
    params: dict[str, Any] | None = None,
    system_resources: dict[str, Any] | None = None,
    log_level: str = "INFO",
    log_format: str = "human",
    connector: Connector | None = None,
    state_backend: str | BackendFactory | None = None,
) -> T: ...


@overload
def run(
    target: T,
    params: dict[str, Any] | None = None,
    system_resources: dict[str, Any] | None = None,
    log_level: str = "INFO",
    log_format: str = "human",
    connector: Connector | None = None,
    state_backend: str | BackendFactory | None = None,
) -> T: ...


def run(
    target: Any,
    params: dict[str, Any] | None = None,
    system_resources: dict[str, Any] | None = None,
    log_level: str = "INFO",
    log_format: str = "human",
    connector: Connector | None = None,
    state_backend: str | BackendFactory | None = None,
) -> Any:
    """Run a lazy result, or a list or tuple of them, and return its value.

    Args:
        target: what to run; a list or tuple gives the list of values.
        params: values for ``cascade.Param`` by name.
        system_resources: capacity by name, for ``with_constraints``.
        log_level: DEBUG, INFO, WARNING or ERROR: what is told on standard error.
        log_format: ``"json"`` writes one JSON object a line, anything else text.
        connector: brings constraints while the run goes on, and carries its telemetry.
        state_backend: a function from run id to backend, or a ``redis://`` URL, which keeps results of plain data
            (``cascade.adapters.serializers``); in memory by default.

    Raises:
        RuntimeError: an event loop is running in this thread; ``await cascade.arun(...)`` there.
        ImportError: the library that ``state_backend`` needs is missing.
        ValueError, TypeError: ``state_backend`` is nothing of the above, or the target cannot run.
        Exception: whatever a task raised, unchanged.
    """
    return app.CascadeApp(target, params, system_resources, log_level, log_format, connector, state_backend).run()


async def arun(
    target: Any,
    params: dict[str, Any] | None = None,
    system_resources: dict[str, Any] | None = None,
    log_level: str = "INFO",
    log_format: str = "human",
    connector: Connector | None = None,
    state_backend: str | BackendFactory | None = None,
) -> Any:
    """Do what :func:`run` does, inside a running event loop."""
    made = app.CascadeApp(target, params, system_resources, log_level, log_format, connector, state_backend)
    return await made.arun()


def run_outcome(
    target: Any,
    params: dict[str, Any] | None = None,
    system_resources: dict[str, Any] | None = None,
    log_level: str = "INFO",
    log_format: str = "human",
    connector: Connector | None = None,
    state_backend: str | BackendFactory | None = None,
) -> Outcome[Any]:
    """Do what :func:`run` does, and return how the run ended instead of raising.

    Raises:
        RuntimeError, ImportError, ValueError, TypeError: as :func:`run`, before anything runs.
    """
    made = app.CascadeApp(target, params, system_resources, log_level, log_format, connector, state_backend)
    return made.run_outcome()

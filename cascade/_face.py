"""Running a target with the package's own parts: ``run``, ``arun`` and ``run_outcome``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from cascade.runtime.stats import Outcome
from cascade.spec.lazy_types import LazyResult
from cascade.spec.protocols import Connector, StateBackend

if TYPE_CHECKING:
    from cascade.app import CascadeApp

__all__ = ["arun", "run", "run_outcome"]

T = TypeVar("T")

#: Makes the state backend of a run from the run's id.
_Factory: TypeAlias = Callable[[str], StateBackend]


@overload
def run(
    target: LazyResult[T],
    params: dict[str, Any] | None = None,
    system_resources: dict[str, Any] | None = None,
    log_level: str = "INFO",
    log_format: str = "human",
    connector: Connector | None = None,
    state_backend: str | _Factory | None = None,
) -> T: ...


@overload
def run(
    target: T,
    params: dict[str, Any] | None = None,
    system_resources: dict[str, Any] | None = None,
    log_level: str = "INFO",
    log_format: str = "human",
    connector: Connector | None = None,
    state_backend: str | _Factory | None = None,
) -> T: ...


def run(
    target: Any,
    params: dict[str, Any] | None = None,
    system_resources: dict[str, Any] | None = None,
    log_level: str = "INFO",
    log_format: str = "human",
    connector: Connector | None = None,
    state_backend: str | _Factory | None = None,
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
    return _app(target, params, system_resources, log_level, log_format, connector, state_backend).run()


async def arun(
    target: Any,
    params: dict[str, Any] | None = None,
    system_resources: dict[str, Any] | None = None,
    log_level: str = "INFO",
    log_format: str = "human",
    connector: Connector | None = None,
    state_backend: str | _Factory | None = None,
) -> Any:
    """Do what :func:`run` does, inside a running event loop."""
    return await _app(target, params, system_resources, log_level, log_format, connector, state_backend).arun()


def run_outcome(
    target: Any,
    params: dict[str, Any] | None = None,
    system_resources: dict[str, Any] | None = None,
    log_level: str = "INFO",
    log_format: str = "human",
    connector: Connector | None = None,
    state_backend: str | _Factory | None = None,
) -> Outcome[Any]:
    """Do what :func:`run` does, and return how the run ended instead of raising.

    Raises:
        RuntimeError, ImportError, ValueError, TypeError: as :func:`run`, before anything runs.
    """
    return _app(target, params, system_resources, log_level, log_format, connector, state_backend).run_outcome()


def _app(*arguments: Any) -> CascadeApp:
    from cascade.app import CascadeApp  # it takes the state backends from here

    return CascadeApp(*arguments)


def _create_state_backend_factory(backend_spec: str | _Factory | None) -> _Factory | None:
    """Return the function that makes the state backend of a run; None stands for the engine's own.

    Raises:
        ImportError: the library that it needs is missing.
        ValueError: a text that is no ``redis://`` URL.
        TypeError: neither text nor callable.
    """
    if backend_spec is None or callable(backend_spec):
        return backend_spec
    if not isinstance(backend_spec, str):
        raise TypeError(
            f"Invalid state_backend type: {type(backend_spec).__name__}; "
            "give a URL, or a function from run id to backend"
        )
    if backend_spec.startswith("redis://"):
        return _RedisBackends(backend_spec)
    scheme = backend_spec.partition(":")[0]  # what follows may hold a password
    raise ValueError(f"Unsupported state backend URI scheme: {scheme!r}; give a URL that begins with redis://")


class _RedisBackends:
    """Makes the state backends of runs, which share one client."""

    def __init__(self, url: str) -> None:
        try:
            redis = import_module("redis")
        except ImportError as error:
            raise ImportError(
                "The 'redis' library is required for state_backend='redis://...': pip install 'cascade-hot[redis]'"
            ) from error
        self._backend: Any = import_module("cascade.adapters.state.redis").RedisStateBackend
        self._client: Any = redis.from_url(url)

    def __call__(self, run_id: str) -> StateBackend:
        return self._backend(run_id, self._client)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

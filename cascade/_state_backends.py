"""What ``state_backend`` may be where a target is run: a factory, or the URL of a server."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

from cascade.spec.protocols import StateBackend

__all__ = ["BackendFactory", "RedisBackends"]

#: Makes the state backend of a run from the run's id.
BackendFactory: TypeAlias = Callable[[str], StateBackend]


def _create_state_backend_factory(backend_spec: str | BackendFactory | None) -> BackendFactory | None:
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
        return RedisBackends(backend_spec)
    scheme = backend_spec.partition(":")[0]  # what follows may hold a password
    raise ValueError(f"Unsupported state backend URI scheme: {scheme!r}; give a URL that begins with redis://")


class RedisBackends:
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

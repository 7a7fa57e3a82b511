"""Tasks that read the inputs of a run, and the one that gathers a list of targets.

Params and environment are injected like resources, under names that are always active: so every tier serves them alike,
and what a run sees is what was there when it started.
"""

from __future__ import annotations

import os
from typing import Any

from cascade.context import get_current_context
from cascade.spec.resource import Inject, inject
from cascade.spec.task import task

__all__ = [
    "ENVIRONMENT",
    "PARAMS",
    "Environment",
    "_get_env_var",
    "_get_param_value",
    "_internal_gather",
    "environment",
]

#: Names under which the inputs of a run are injected.
PARAMS = "cascade.params"
ENVIRONMENT = "cascade.environment"


class Environment:
    """A snapshot of the environment variables; decoded one by one when they are read."""

    __slots__ = ("_encoded", "_raw")

    def __init__(self) -> None:
        raw = getattr(os.environ, "_data", None)  # bytes on POSIX: a copy of these costs next to nothing
        self._encoded = type(raw) is dict
        self._raw: dict[Any, Any] = raw.copy() if raw is not None and self._encoded else dict(os.environ)

    def get(self, name: str) -> str | None:
        """Return the value of a variable, or None."""
        if not self._encoded:
            return self._raw.get(name)
        value = self._raw.get(os.environ.encodekey(name))
        return None if value is None else str(os.environ.decodevalue(value))

    def is_current(self) -> bool:
        """Whether the variables are still what they were."""
        return self._encoded and getattr(os.environ, "_data", None) == self._raw


_latest = Environment()


def environment() -> Environment:
    """Return a snapshot of the environment variables; runs that start while none changes share one."""
    global _latest
    if not _latest.is_current():
        _latest = Environment()
    return _latest


@task(name="_get_param_value")
def _get_param_value(name: str, params_context: Any = inject(PARAMS)) -> Any:
    """Return a parameter of the run, or the default of its spec."""
    if name in params_context:
        return params_context[name]
    spec = get_current_context().input_specs.get(name)
    if spec is not None and spec.default is not None:
        return spec.default
    raise KeyError(name)


@task(name="_get_env_var")
def _get_env_var(name: str, environment: Any = inject(ENVIRONMENT)) -> str | None:
    """Return an environment variable as it was when the run started, or the default of its spec."""
    source = os.environ if type(environment) is Inject else environment  # called by hand, nothing is injected
    value = source.get(name)
    if value is not None:
        return str(value)
    spec = get_current_context().input_specs.get(name)
    return None if spec is None else spec.default


@task(name="_internal_gather", pure=True)
def _internal_gather(*args: Any) -> Any:
    """Return the values of all arguments as a list."""
    return list(args)

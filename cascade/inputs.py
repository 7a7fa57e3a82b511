"""Declaring what a workflow is given from outside: parameters and environment variables."""

from __future__ import annotations

from typing import Any, cast

from cascade.context import get_current_context
from cascade.internal.inputs import _get_env_var, _get_param_value
from cascade.spec.input import EnvSpec, ParamSpec
from cascade.spec.lazy_types import LazyResult

__all__ = ["Env", "Param"]


def Param(name: str, default: Any = None, type: Any = str, description: str = "") -> LazyResult[Any]:
    """Declare a parameter and return the call that reads it from ``run(..., params={...})``.

    The first declaration of a name counts. A parameter that the run is not given has its default; a default of None is
    no default, and then reading it raises ``KeyError``.

    Args:
        name: key in ``params``.
        default: value where ``params`` does not have the key.
        type: what command lines convert the text to; values given in Python are taken as they are.
        description: shown by command lines.
    """
    get_current_context().register(ParamSpec(name, default, description, type))
    return cast("LazyResult[Any]", _get_param_value(name=name))


def Env(name: str, default: Any = None, description: str = "") -> LazyResult[Any]:
    """Declare an environment variable and return the call that reads it, as it is when the run starts.

    The first declaration of a name counts. A variable that is not set has its default.
    """
    get_current_context().register(EnvSpec(name, default, description))
    return cast("LazyResult[Any]", _get_env_var(name=name))

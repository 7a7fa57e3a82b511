"""Values of ``--param k=v``, read as the workflow declares them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cascade import _kernel
from cascade.cli._errors import CommandError
from cascade.context import get_current_context
from cascade.internal.inputs import _get_param_value
from cascade.spec.input import ParamSpec
from cascade.tools._texts import read_value

__all__ = ["read_params"]


def read_params(given: Sequence[tuple[str, str]], target: Any) -> dict[str, Any]:
    """Return the values of parameters by name; of a name that is given twice the last one counts.

    Raises:
        CommandError: nobody has declared such a parameter, its text is no value of its type, or one is missing that
            ``target`` reads and that has no default.
    """
    declared = {spec.name: spec for spec in get_current_context().get_all_specs() if isinstance(spec, ParamSpec)}
    unknown = [name for name, _ in given if name not in declared]
    if unknown:
        known = f"it declares {', '.join(declared)}" if declared else "it declares none"
        raise CommandError(f"the workflow has no parameter {unknown[0]!r}; {known}")
    params = {name: _value(declared[name], text) for name, text in given}
    for name in _read_by(target):
        if name not in params and name in declared and declared[name].default is None:
            raise CommandError(f"parameter {name!r} has no default; give it with --param {name}=...")
    return params


def _value(spec: ParamSpec, text: str) -> Any:
    try:
        return read_value(spec.type, text)
    except (TypeError, ValueError) as error:
        kind = getattr(spec.type, "__name__", spec.type)
        raise CommandError(f"--param {spec.name}={text}: not a value of type {kind} ({error})") from error


def _read_by(target: Any) -> list[str]:
    """Return the names of the parameters that an expression reads, not counting what its tasks will return."""
    targets = [one for one in target if _is_lazy(one)] if isinstance(target, (list, tuple)) else [target]
    calls = [operation.lazy for one in targets for operation in _kernel.trace(one).operations]
    return [call.kwargs["name"] for call in calls if getattr(call, "task", None) is _get_param_value]


def _is_lazy(value: Any) -> bool:
    return isinstance(value, (_kernel.LazyResult, _kernel.MappedLazyResult))

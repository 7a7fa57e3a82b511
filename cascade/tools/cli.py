"""A command line for one workflow: an option for each of its parameters. Needs typer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import cascade
from cascade.context import get_current_context
from cascade.spec.input import ParamSpec
from cascade.tools._texts import read_value

try:
    import typer
except ImportError:  # said when a command line is made
    typer = None  # type: ignore[assignment]

__all__ = ["create_cli"]

#: Types whose text typer reads, with errors and help of its own; it reads an Enum by its values.
_KNOWN_TYPES = (str, int, float, bool, Path, UUID, datetime)


class _Parameter(NamedTuple):
    """A parameter of the workflow, and the option for it."""

    spec: ParamSpec
    option: str


def create_cli(target: Any) -> Callable[[], None]:
    """Return a typer application that runs ``target``.

    Each parameter that the current context declares is an option ``--<name>``; one without a default is required. A
    character that no option can have becomes a dash. ``--log-level``, ``--log-format`` and ``--help`` are called
    ``--cascade-log-level`` and so on where a parameter has that name. The result is printed on standard output unless
    it is None; logs go to standard error.

    Raises:
        ImportError: typer is not installed.
    """
    if typer is None:
        raise ImportError("The 'typer' library is required for create_cli: pip install 'cascade-hot[cli]'")
    specs = [spec for spec in get_current_context().get_all_specs() if isinstance(spec, ParamSpec)]
    parameters = [_Parameter(spec, option) for spec, option in zip(specs, _option_names(specs), strict=True)]
    taken = {parameter.option for parameter in parameters}
    # Plain help and tracebacks: descriptions are no markup, and a traceback must not show the values of variables.
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"help_option_names": [_built_in("--help", taken)]}
    app.command(context_settings=settings)(_command(target, parameters, taken))
    return app


def _command(target: Any, parameters: list[_Parameter], taken: set[str]) -> Callable[..., None]:
    """Return the function that typer calls, with a signature that says what it reads from the command line."""

    def command(log_level: str, log_format: str, **values: Any) -> None:
        params = dict(_given(parameters, values.values()))
        result = cascade.run(target, params=params, log_level=log_level, log_format=log_format)
        if result is not None:
            print(result)

    # Names that the user gave are no names of Python's, and may be those of the two others: so these are numbered.
    fields = {f"p{index}": _field(parameter, taken) for index, parameter in enumerate(parameters)}
    fields["log_level"] = (str, typer.Option("INFO", _built_in("--log-level", taken), help="What is told of the run."))
    fields["log_format"] = (str, typer.Option("human", _built_in("--log-format", taken), help="human or json."))
    command.__annotations__ = {name: kind for name, (kind, _) in fields.items()}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind)
            for name, (kind, option) in fields.items()
        ]
    )
    command.__doc__ = f"Run {getattr(getattr(target, 'task', None), 'name', 'the workflow')}."
    return command


def _given(parameters: Iterable[_Parameter], values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """The parameters of the run: what the command line says, else the default as it was declared."""
    for parameter, value in zip(parameters, values, strict=True):
        value = parameter.spec.default if value is None else value
        if value is not None:
            yield parameter.spec.name, value


def _field(parameter: _Parameter, taken: set[str]) -> tuple[Any, Any]:
    """Return type and option of a parameter."""
    spec, option = parameter
    known = isinstance(spec.type, type) and (spec.type in _KNOWN_TYPES or issubclass(spec.type, Enum))
    more: dict[str, Any] = {"help": spec.description or None}
    if not known:
        more["parser"] = _parser(spec)
        more["metavar"] = f"<{getattr(spec.type, '__name__', 'text').strip('<>')}>"
    if spec.default is None:
        default = ...
    elif spec.type in _KNOWN_TYPES and type(spec.default) is spec.type:
        default = spec.default
    else:  # typer would convert it, but the run is to have it as it is
        default = None
        more["show_default"] = str(spec.default.value if isinstance(spec.default, Enum) else spec.default)
    off = f"--no-{option.removeprefix('--')}"
    if spec.type is bool and off not in taken:
        option = f"{option}/{off}"
    return spec.type if known else Any, typer.Option(default, option, **more)


def _parser(spec: ParamSpec) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return read_value(spec.type, text)
        except Exception as error:  # the type may be any function
            raise typer.BadParameter(str(error) or type(error).__name__) from error

    return parse


def _option_names(specs: Sequence[ParamSpec]) -> list[str]:
    """The option of each parameter: its name, where need be with dashes, and then numbered if that is another's."""
    names = [spec.name for spec in specs]
    taken = {name for name in names if _is_possible(name)}
    return [f"--{name if _is_possible(name) else _dashed(name, taken)}" for name in names]


def _is_possible(name: str) -> bool:
    """Whether an option can have the name: a slash would name a second option, an equals sign begin the value."""
    return name != "" and "/" not in name and "=" not in name


def _dashed(name: str, taken: set[str]) -> str:
    base = name = re.sub("[/=]", "-", name) or "param"
    count = 1
    while name in taken:
        count += 1
        name = f"{base}-{count}"
    taken.add(name)
    return name


def _built_in(option: str, taken: set[str]) -> str:
    while option in taken:
        option = f"--cascade-{option.removeprefix('--')}"
    return option

"""From ``FILE[:NAME]`` to something that an engine can run."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from cascade._kernel import LazyResult, MappedLazyResult, Task
from cascade.cli._errors import CommandError
from cascade.spec.resource import ResourceDefinition

__all__ = ["Workflow", "check_file", "load", "load_file", "maker", "resources_of", "split"]

_LAZY = (LazyResult, MappedLazyResult)
_REMEDY = "name a lazy result, a task, or a function without arguments that returns a lazy result"


class Workflow(NamedTuple):
    """What a file has to run, and the resources that it defines."""

    target: Any
    resources: list[ResourceDefinition[Any]]


def load(place: str) -> Workflow:
    """Execute the file that ``FILE[:NAME]`` names and return what NAME, by default ``main``, stands for.

    Raises:
        CommandError: there is no such file or name, or nothing can be run under it.
        Exception: whatever the file raised.
    """
    path, name = split(place)
    module = load_file(path)
    return Workflow(maker(module, path, name or "main")(), resources_of(module))


def resources_of(module: ModuleType) -> list[ResourceDefinition[Any]]:
    """Return the resources that a file defines."""
    return [value for value in vars(module).values() if isinstance(value, ResourceDefinition)]


def maker(module: ModuleType, path: str, name: str) -> Callable[[], Any]:
    """Return what makes the target called ``name`` of a file, anew at each call where a task or a function stands.

    Raises:
        CommandError: there is no such name, or nothing can be run under it; so does a call that makes nothing to run.
    """
    if not hasattr(module, name):
        raise CommandError(f"{path} has no {name!r}{_offer(module)}")
    return _maker(getattr(module, name), f"{name!r} in {path}")


def split(place: str) -> tuple[str, str]:
    """Return path and name of ``FILE[:NAME]``; the name is empty if there is none."""
    path, colon, name = place.rpartition(":")
    if colon and name.isidentifier() and not os.path.exists(place):
        return path, name
    return place, ""


def check_file(path: str) -> None:
    """See that there is a file.

    Raises:
        CommandError: there is none.
    """
    if not os.path.isfile(path):
        raise CommandError(f"{path} is a directory; name a Python file" if os.path.isdir(path) else f"no file {path}")


def load_file(path: str) -> ModuleType:
    """Execute a file as a module of its own name, with its folder on the path, as ``python FILE`` would.

    The name has to be one under which another process can import the file too: tasks of mode ``compute`` need that.
    """
    check_file(path)
    stem = os.path.splitext(os.path.basename(path))[0]
    name = stem if stem.isidentifier() and stem not in sys.modules else f"_cascade_file_{stem}"
    full = os.path.abspath(path)
    spec = spec_from_file_location(name, full, loader=SourceFileLoader(name, full))
    assert spec is not None
    assert spec.loader is not None
    sys.path.insert(0, os.path.dirname(full))
    sys.argv = [path]
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _offer(module: ModuleType) -> str:
    names = [name for name, value in vars(module).items() if _is_runnable(value, module) and not name.startswith("_")]
    file = os.path.basename(str(module.__file__))
    return f"; name one of these: {', '.join(f'{file}:{name}' for name in names)}" if names else f"; {_REMEDY}"


def _is_runnable(value: Any, module: ModuleType) -> bool:
    if isinstance(value, _LAZY):
        return True
    if isinstance(value, Task):
        return value.func.__module__ == module.__name__ and not _needed(value.func)
    is_own = type(value) is FunctionType and value.__module__ == module.__name__
    return is_own and not inspect.iscoroutinefunction(value) and not _needed(value)


def _needed(function: Any) -> list[str]:
    """Return the parameters without which a function cannot be called."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not tell
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


def _maker(value: Any, where: str) -> Callable[[], Any]:
    if isinstance(value, _LAZY):
        return lambda: value
    if not callable(value):
        raise CommandError(f"{where} is of type {type(value).__name__}; {_REMEDY}")
    needed = _needed(value.func if isinstance(value, Task) else value)
    if needed:
        what = "task" if isinstance(value, Task) else "function"
        raise CommandError(f"the {what} {where} needs arguments ({', '.join(needed)}); {_REMEDY}")
    return lambda: _checked(value(), where)


def _checked(made: Any, where: str) -> Any:
    if isinstance(made, (*_LAZY, list, tuple)):
        return made
    if isinstance(made, Task):
        raise CommandError(f"{where} returned the task {made.name!r} without calling it; write return {made.name}(...)")
    if inspect.iscoroutine(made):
        made.close()
        raise CommandError(f"{where} is async and no task; decorate it with @cascade.task, or make it a plain function")
    raise CommandError(f"{where} returned a value of type {type(made).__name__}, not a lazy result; call a task in it")

"""Stubs for the providers that other distributions bring, so that type checkers and editors know them as well.

    python -m cascade.tools.stubs [FOLDER]

writes them below ``FOLDER/cascade``; the folder is ``typings`` by default, where Pyright looks by itself, and mypy with
``mypy_path = "typings"``. The files there stand for those of the package itself, and have all that is in them. Where
Pyright uses them, import modules such as ``cascade.runtime`` by that name; it does not know them as attributes then.
"""

from __future__ import annotations

import argparse
import inspect
import keyword
import sys
from collections.abc import Callable
from pathlib import Path
from types import EllipsisType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from cascade.providers._builtin import BUILTIN
from cascade.providers.registry import ProviderRegistry, registry
from cascade.spec.lazy_types import LazyResult, MappedLazyResult
from cascade.spec.resource import Inject
from cascade.spec.task import Task

__all__ = ["main", "stubs", "write_stubs"]

_HEAD = """\
# Providers of other distributions.
import builtins as _builtins
import typing as _typing
from cascade.spec.lazy_types import LazyResult as _LazyResult
from cascade.spec.task import task as _task"""
_ANY = "_typing.Any"
_LAZY = "_LazyResult[_typing.Any]"
#: Defaults that are shown as they are.
_PLAIN = (NoneType, bool, int, float, str, bytes)


def stubs(providers: ProviderRegistry = registry) -> dict[str, str]:
    """Return the stub files by path: all that there are, or none if the package's own say everything.

    Pyright does not look for the rest of a package of which it has found a part.
    """
    names = [name for name in providers.names() if name not in BUILTIN and _is_reachable(name, providers)]
    folders = {parent for name in (*names, *BUILTIN) for parent in _parents(name)} if names else set()
    return {_path(folder): _file(folder, folders, names, providers) for folder in sorted(folders)}


def write_stubs(folder: str | Path, providers: ProviderRegistry = registry) -> list[Path]:
    """Write the stub files below a folder and return where they are."""
    written = []
    for path, text in stubs(providers).items():
        file = Path(folder, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        written.append(file)
    return written


def main(arguments: list[str] | None = None) -> int:
    """Write stubs and print what was written."""
    parser = argparse.ArgumentParser(prog="python -m cascade.tools.stubs", description=str(__doc__).partition("\n")[0])
    parser.add_argument("folder", nargs="?", default="typings", help="where to write them (%(default)s)")
    written = write_stubs(parser.parse_args(arguments).folder)
    for path in written:
        print(path)
    if not written:
        print("no distribution brings providers, so there is nothing to write", file=sys.stderr)
    return 0


def _is_reachable(name: str, providers: ProviderRegistry) -> bool:
    """Whether a name can be written as attributes, and none of the names above it is a provider itself."""
    parts = name.split(".")
    known = set(providers.names())
    return all(p.isidentifier() and not keyword.iskeyword(p) for p in parts) and not known & set(_parents(name))


def _parents(name: str) -> list[str]:
    """Return the names above a name, that of the package itself (an empty text) included."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts))]


def _path(folder: str) -> str:
    return "/".join(["cascade", *folder.split("."), "__init__.pyi"] if folder else ["cascade", "__init__.pyi"])


def _file(folder: str, folders: set[str], names: list[str], providers: ProviderRegistry) -> str:
    module = f"cascade.{folder}" if folder else "cascade"
    types = _Types()
    lines = []
    for child in sorted(folders):
        parent, _, name = child.rpartition(".")
        if name and parent == folder and not _own(child):
            lines.append(f"from {module} import {name} as {name}")
    for full in names:
        parent, _, name = full.rpartition(".")
        if parent == folder:
            lines.append(_function(name, _factory(full, providers), types))
    return "\n".join([_own(folder), _HEAD, *types.imports(), *lines, ""]) if lines else _own(folder)


def _own(folder: str) -> str:
    """Return the stub that the package itself has of a namespace; an empty text if there is none."""
    file = Path(__file__).parents[2] / _path(folder)
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _factory(name: str, providers: ProviderRegistry) -> Any:
    """Return a factory, or what says nothing of its parameters if it needs a library that is missing."""
    try:
        return providers.get(name)
    except ImportError:
        return lambda *args, **kwargs: None


def _function(name: str, factory: Any, types: _Types) -> str:
    function = factory.func if isinstance(factory, Task) else factory
    hints = _hints(function)
    parameters = [
        parameter.replace(annotation=types.of_argument(hints.get(parameter.name)), default=_default(parameter.default))
        for parameter in _parameters(function)
        if not isinstance(parameter.default, Inject)
    ]
    returned = types.of_result(hints.get("return", Any), isinstance(factory, Task))
    head = "@_task\n" if isinstance(factory, Task) else ""
    return f"{head}def {name}{inspect.Signature(parameters, return_annotation=returned)}: ..."


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a callable that does not tell
        return _parameters(lambda *args, **kwargs: None)


def _hints(function: Any) -> dict[str, Any]:
    try:
        return get_type_hints(function if hasattr(function, "__annotations__") else type(function).__call__)
    except Exception:  # names that only a type checker imports, for one
        return {}


def _default(value: Any) -> Any:
    return value if value is inspect.Parameter.empty or type(value) in _PLAIN else _Text("...")


class _Text:
    """Stands in a signature for the text that its ``repr`` is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class _Types:
    """Writes types as text, and remembers the modules that have to be imported for it.

    Modules get names of their own, because a provider may be called like the module that it comes from.
    """

    def __init__(self) -> None:
        self._modules: set[str] = set()

    def imports(self) -> list[str]:
        """Return the import statements."""
        return [f"import {module} as {_alias(module)}" for module in sorted(self._modules)]

    def of_argument(self, hint: Any) -> _Text:
        """Return the type of an argument, which may be lazy."""
        text = _ANY if hint is None else self._text(hint)
        return _Text(text if text == _ANY else f"{text} | {_LAZY}")

    def of_result(self, hint: Any, is_task: bool) -> _Text:
        """Return the type of a call: lazy, whatever a function is declared to return."""
        if is_task:
            return _Text(f"_LazyResult[{self._text(hint)}]")
        is_lazy = hint in (LazyResult, MappedLazyResult) or get_origin(hint) in (LazyResult, MappedLazyResult)
        return _Text(self._text(hint) if is_lazy else _LAZY)

    def _text(self, hint: Any) -> str:
        if hint is None or hint is NoneType:
            return "None"
        if isinstance(hint, EllipsisType):
            return "..."
        origin, items = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._text(items[0])
        if origin is Union or origin is UnionType:
            return " | ".join(map(self._text, items))
        if origin is Literal:
            return f"_typing.Literal[{', '.join(map(repr, items))}]" if {*map(type, items)} <= {*_PLAIN} else _ANY
        if origin is not None:
            name = self._name(origin)
            return name if name == _ANY or not items else f"{name}[{', '.join(map(self._item, items))}]"
        return self._name(hint) if isinstance(hint, type) else _ANY

    def _item(self, item: Any) -> str:
        """Return an item between brackets; the parameters of a callable are a list."""
        return f"[{', '.join(map(self._text, item))}]" if isinstance(item, list) else self._text(item)

    def _name(self, cls: Any) -> str:
        module, name = cls.__module__, cls.__qualname__
        if cls is LazyResult:
            return "_LazyResult"
        if module == "builtins":
            return f"_builtins.{name}"
        if module == "__main__" or "<" in name:  # not to be imported
            return _ANY
        self._modules.add(module)
        return f"{_alias(module)}.{name}"


def _alias(module: str) -> str:
    return f"_{module.replace('.', '_')}"


if __name__ == "__main__":
    sys.exit(main())

"""The stub of the package says where its names come from, as the package itself does."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import cascade
from cascade.providers._builtin import BUILTIN

STUB = ast.parse(Path(cascade.__file__).with_name("__init__.pyi").read_text(encoding="utf-8")).body
#: What the stub passes on, by name: an import counts only if it gives a name again, as in ``import run as run``.
PASSED_ON = {
    alias.name: str(node.module)
    for node in STUB
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
    if alias.asname == alias.name
}
EARLY = {"LazyResult", "Router", "inject", "resource", "task", "with_constraints"}
NAMESPACES = {name.partition(".")[0] for name in BUILTIN if "." in name}


def test_every_name_is_passed_on_from_its_home() -> None:
    """What the package loads late comes from the same module in the stub; the others from where they are defined."""
    modules = dict.fromkeys(cascade._MODULES | NAMESPACES, "cascade")
    early = {name: getattr(cascade, name) for name in EARLY}

    assert PASSED_ON.items() >= cascade._HOMES.items()
    assert PASSED_ON.items() >= modules.items()
    assert PASSED_ON.keys() == cascade._HOMES.keys() | modules.keys() | EARLY
    for name, value in early.items():
        assert getattr(importlib.import_module(PASSED_ON[name]), name) is value


def test_public_names_are_those_of_the_package() -> None:
    """``__all__`` is the same, so that a star import gives to type checkers what it gives to Python."""
    [listed] = [node.value for node in STUB if isinstance(node, ast.Assign)]

    assert ast.literal_eval(listed) == cascade.__all__


def test_functions_are_the_providers_of_the_package() -> None:
    """What the stub declares itself are the providers without a namespace."""
    functions = {node.name for node in STUB if isinstance(node, ast.FunctionDef)}

    assert functions == {name for name in BUILTIN if "." not in name}

"""The providers of the package as a whole: entry points, the fallback table, stubs, and the way to them by name."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.providers import registry
from cascade.providers._builtin import BUILTIN
from cascade.spec.resource import Inject
from cascade.spec.task import Task

PACKAGE = Path(cs.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMESPACES = ["fs", "http", "io", "io.local", "io.s3", "io.stdin", "io.stdout", "ipfs", "read", "write"]


def function_of(name: str) -> Any:
    """Returns the function behind a provider; skips where it needs a library that is missing."""
    try:
        factory = registry.get(name)
    except ImportError as error:
        pytest.skip(str(error))
    return factory.func if isinstance(factory, Task) else factory


def stub_of(name: str) -> ast.FunctionDef:
    """Returns the declaration of a provider in the stub of its namespace."""
    folder, _, last = name.rpartition(".")
    stub = PACKAGE.joinpath(*folder.split("."), "__init__.pyi")
    body = ast.parse(stub.read_text(encoding="utf-8")).body
    return next(node for node in body if isinstance(node, ast.FunctionDef) and node.name == last)


def shape(name: str, default: Any, kind: Any) -> tuple[Any, ...]:
    return (name, default, str(kind))


def declared(stub: ast.FunctionDef) -> list[tuple[Any, ...]]:
    """Returns names, defaults and kinds of the parameters of a stub."""
    source = ast.unparse(ast.FunctionDef(stub.name, stub.args, [ast.Pass()], [], None, None, lineno=0))
    names: dict[str, Any] = {}
    exec(f"from __future__ import annotations\n{source}", names)
    return [shape(p.name, p.default, p.kind) for p in inspect.signature(names[stub.name]).parameters.values()]


def test_table_is_what_the_project_declares() -> None:
    """The fallback for source trees, the entry points of the project, and the 33 providers are the same."""
    assert PROJECT["entry-points"]["cascade.providers"] == BUILTIN
    assert len(BUILTIN) == 33


@pytest.mark.parametrize("name", BUILTIN)
def test_entry_has_the_name_of_its_provider(name: str) -> None:
    """The registry relies on it: a provider of the package is found without loading its class."""
    assert EntryPoint(name, BUILTIN[name], "cascade.providers").load()().name == name


@pytest.mark.parametrize("name", BUILTIN)
def test_stub_declares_the_provider(name: str) -> None:
    """Each provider is declared as a function that returns a LazyResult, with the parameters that users may give."""
    given = inspect.signature(function_of(name)).parameters.values()
    stub = stub_of(name)

    assert declared(stub) == [shape(p.name, p.default, p.kind) for p in given if not isinstance(p.default, Inject)]
    assert stub.returns is not None
    assert ast.unparse(stub.returns).startswith("LazyResult[")


@pytest.mark.parametrize("name", BUILTIN)
def test_stub_says_whether_it_is_a_task(name: str) -> None:
    """A task has ``map``, so the stub of one is decorated as the task is."""
    function_of(name)

    assert [ast.unparse(d) for d in stub_of(name).decorator_list] == ["task"] * isinstance(registry.get(name), Task)


@pytest.mark.parametrize("name", NAMESPACES)
def test_namespaces_have_all_that_is_below_them(name: str) -> None:
    """The packages, their ``__all__`` and their stubs list the same names."""
    for full in BUILTIN:
        if full.startswith(f"{name}."):
            function_of(full)  # skips where a library is missing
    module = importlib.import_module(f"cascade.{name}")
    stub = ast.parse((PACKAGE.joinpath(*name.split("."), "__init__.pyi")).read_text(encoding="utf-8"))
    [listed] = [
        ast.literal_eval(node.value)
        for node in stub.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]

    assert module.__all__ == listed == registry.below(name) == dir(module)


def test_importing_a_namespace_hides_no_provider() -> None:
    """Before and after ``import cascade.read`` the same names lead to the same provider."""
    program = """
import cascade as cs
before = cs.read.text, cs.io.local.read_text, cs.fs.exists
import cascade.read, cascade.io, cascade.io.local, cascade.fs
import cascade.io.stdin
print(before == (cs.read.text, cs.io.local.read_text, cs.fs.exists), type(cs.read).__name__)
print(cascade.io.stdout.write.name, cascade.io.stdin.read_line.name)
from cascade.write import text
from cascade.read import *
print(text is cs.read.text, bytes is cs.read.bytes)
for name in ("nothing", "__wrapped__"):
    try:
        getattr(cascade.io.local, name)
    except AttributeError as error:
        print(error)
"""
    shown = subprocess.run([sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True)

    assert shown.stderr == ""
    assert shown.stdout.splitlines() == [
        "True module",
        "stdout_write stdin_read_line",
        "True True",
        "Cascade provider 'io.local.nothing' not found",
        "module 'cascade.io.local' has no attribute '__wrapped__'",
    ]


def test_every_provider_is_an_attribute_of_the_package() -> None:
    """``cascade.shell`` and ``cascade.read.text`` are what the registry has, and ``dir`` lists the first names."""
    for name in ("shell", "wait", "read.text", "io.local.exists"):
        value: Any = cs
        for part in name.split("."):
            value = getattr(value, part)
        assert value is registry.get(name)

    assert set(registry.below()) <= set(dir(cs))
    assert {"shell", "read", "http", "io"} <= set(registry.below())


def test_what_a_program_registers_is_an_attribute_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the registry is remembered by the package."""
    monkeypatch.setattr(registry, "_providers", dict(registry._providers))
    registry.register("mine", cs.wait)
    first = cs.mine  # type: ignore[attr-defined]
    registry.register("mine", cs.shell)

    assert first is cs.wait
    assert cs.mine is cs.shell  # type: ignore[attr-defined]


def test_names_that_python_asks_for_load_nothing() -> None:
    """Unknown names that begin with an underscore are refused without a look at the registry."""
    program = """
import sys, cascade
for name in ("__wrapped__", "_repr_html_", "__path_hooks__"):
    try:
        getattr(cascade, name)
    except AttributeError as error:
        print(error)
print("cascade.providers.registry" in sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True)

    assert shown.stdout.splitlines() == [
        "module 'cascade' has no attribute '__wrapped__'",
        "module 'cascade' has no attribute '_repr_html_'",
        "module 'cascade' has no attribute '__path_hooks__'",
        "False",
    ]

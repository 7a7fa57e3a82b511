"""The stub of the compiled kernel says what the Python kernel and the compiled one are."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cascade import _kernel

PACKAGE = Path(_kernel.__file__).parent
#: Types of what public names return, and flags of keys: nobody imports them from the kernel.
UNEXPORTED = {"Callee", "Expression", "Operation", "MERGED"}
#: Written by Cython, or of no use to anybody but the compiled kernel itself; and classes that are made in __cinit__.
UNDECLARED = [
    *(r".*__(reduce|setstate)_cython__", r".*__class_getitem__", r".*\.__test__", r".*\.Program\.(leaf_)?count"),
    r".*\.(Callee|Frame|ProgramCache)\.__init__",
]
#: The compiled cache looks programs up by its own trace, which is no Python object.
PYTHON_ONLY = {"ProgramCache.find"}

#: Properties that are attributes of the twin.
OWN = {"Frame.overrides", "Frame.routine"}

Declarations = dict[str, ast.AST]


def declarations(body: list[ast.stmt], prefix: str = "") -> Declarations:
    """Returns what a module declares, and each of its classes, by dotted name."""
    found: Declarations = {}
    for statement in body:
        if isinstance(statement, ast.FunctionDef) and not _is_setter(statement):
            found[prefix + statement.name] = statement
        elif isinstance(statement, ast.ClassDef):
            found[statement.name] = statement
            found |= declarations(statement.body, statement.name + ".")
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found[prefix + statement.target.id] = statement
    return found


def _is_setter(function: ast.FunctionDef) -> bool:
    return any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in function.decorator_list)


def read(name: str) -> Declarations:
    return declarations(ast.parse((PACKAGE / name).read_text(encoding="utf-8")).body)


STUB, TWIN = read("_hot.pyi"), read("_hot_py.py")


def signature(function: ast.AST) -> str:
    """Returns parameters, defaults and annotations; a stub has ``/`` where C needs it, and private type variables."""
    assert isinstance(function, ast.FunctionDef)
    returns = ast.unparse(function.returns) if function.returns else ""
    text = f"({ast.unparse(function.args)}) -> {returns}"
    return re.sub(r"\b_([PRT])\b", r"\1", text.replace(", /", ""))


def is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


FUNCTIONS = [n for n in STUB if isinstance(STUB[n], ast.FunctionDef) and isinstance(TWIN.get(n), ast.FunctionDef)]
CLASSES = {name for name, found in STUB.items() if isinstance(found, ast.ClassDef)}


def test_stub_declares_what_the_kernel_exports() -> None:
    """The public names of the stub are those of ``cascade._kernel``."""
    public = {name for name in STUB if is_public(name) and "." not in name}

    assert public >= UNEXPORTED
    assert public - UNEXPORTED == set(_kernel.__all__) - {"hot"}  # that is the kernel itself


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_are_those_of_the_python_kernel(name: str) -> None:
    """Each function and method has the parameters, defaults and types of its twin."""
    assert signature(STUB[name]) == signature(TWIN[name])


def test_methods_and_properties_are_those_of_the_python_kernel() -> None:
    """What a class of the Python kernel does in public, the stub declares."""
    methods = {n for n, found in TWIN.items() if isinstance(found, ast.FunctionDef) and n.split(".")[0] in CLASSES}

    assert {name for name in methods if is_public(name)} - PYTHON_ONLY <= STUB.keys()


def test_most_functions_have_a_twin() -> None:
    """The comparison above compares: only what dataclasses write themselves has no twin in the source."""
    functions = {name for name, found in STUB.items() if isinstance(found, ast.FunctionDef)}
    properties = {name for name in functions if name.split(".")[0] in UNEXPORTED}  # attributes of the twin

    written = {f"{name}.__init__" for name in ("Jump", "RetryPolicy", "Router", "TailCall")}
    attributes = {name for name in functions if name.startswith("Routine.")} | OWN
    assert functions - properties - attributes - TWIN.keys() == written
    assert len(FUNCTIONS) > 50


@pytest.mark.skipif(_kernel.hot.__name__ != "cascade._hot", reason="the compiled kernel is not loaded")
def test_compiled_kernel_is_what_the_stub_says(tmp_path: Path) -> None:
    """mypy's stubtest finds no declaration that the compiled module contradicts, and no name that the stub lacks."""
    allowed = tmp_path / "allowed"
    allowed.write_text("\n".join(UNDECLARED), encoding="utf-8")
    options = ["--concise", "--ignore-disjoint-bases", "--allowlist", str(allowed)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "cascade._hot", *options, "--mypy-config-file", "pyproject.toml"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr

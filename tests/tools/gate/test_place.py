"""Where numbers hold."""

from __future__ import annotations

import platform
from dataclasses import fields, replace

import pytest

from cascade import _kernel
from cascade.tools.gate.place import Place, here


def test_here_is_this_process() -> None:
    """A place knows Python and kernel, and is the same each time."""
    place = here()

    assert (place.python, place.kernel) == (platform.python_version(), _kernel.kernel_name)
    assert place == here()
    assert all(isinstance(getattr(place, f.name), str) for f in fields(place))


@pytest.mark.skipif(platform.system() != "Linux", reason="tells what a build for Linux contains")
def test_compiler_of_the_kernel_is_found() -> None:
    """Where the compiled kernel is loaded, its compiler is known beside that of Python."""
    assert ("GCC: (" in here().build or "clang version" in here().build) is (here().kernel == "compiled")


BASE = Place("3.11.7", "CPython", "compiled", "x86_64", "Linux", "CPU 1", "own time", "GCC 12")


@pytest.mark.parametrize(
    "change, strange, doubtful, uncountable",
    [
        ({}, False, False, False),
        ({"python": "3.12.1"}, True, True, True),
        ({"python": "3.11.8"}, False, True, True),
        ({"implementation": "PyPy"}, True, False, True),
        ({"kernel": "pure"}, True, False, True),
        ({"machine": "arm64"}, True, False, True),
        ({"system": "Darwin"}, False, True, True),
        ({"processor": "CPU 2"}, False, True, False),
        ({"clock": "wall time"}, False, True, False),
        ({"build": "GCC 13"}, False, False, True),
    ],
)
def test_differences_matter_by_kind(
    change: dict[str, str], strange: bool, doubtful: bool, uncountable: bool
) -> None:
    """Another Python or machine makes ratios meaningless, another model doubtful; counts need the very same build."""
    there = replace(BASE, **change)

    found = [bool(says(there)) for says in (BASE.strange, BASE.doubtful, BASE.uncountable)]
    assert found == [strange, doubtful, uncountable]


def test_differences_are_told_in_words() -> None:
    """Both sides are named; a fact that is missing is said to be."""
    assert BASE.strange(replace(BASE, machine="arm64")) == ["machine arm64, here x86_64"]
    assert BASE.doubtful(replace(BASE, processor="")) == ["processor unknown, here CPU 1"]

"""What ``import cascade`` loads, costs and offers."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cascade

HEAVY = {"numpy"}
OPTIONAL = {
    *("aiobotocore", "aiohttp", "aiomqtt", "constraint", "jinja2", "redis", "rich", "sqlalchemy", "typer", "yaml"),
}
YARDSTICK = "import asyncio, inspect, dataclasses, typing"
MOST = 1.6  # times the yardstick

TEN_NODES = """
import cascade as cs

@cs.task
def add(a, b):
    return a + b

total = 0
for number in range(10):
    total = add(total, number)
assert cs.run(total) == 45
"""


def python(*arguments: str, cache: Path | None = None) -> str:
    """Runs an interpreter that finds the package under test, and returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(Path(cascade.__file__).parents[1])}
    if cache is not None:
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(cache)
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("program", ["import cascade", TEN_NODES], ids=["import", "run of ten nodes"])
def test_nothing_heavy_or_optional_is_loaded(program: str) -> None:
    """Neither the import nor a small run loads numpy or an optional library."""
    shown = python("-c", f"{program}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")
    packages = {name.partition(".")[0] for name in json.loads(shown)}

    assert "cascade" in packages
    assert not packages & (HEAVY | OPTIONAL)


def test_import_loads_what_declares_tasks_and_no_engine() -> None:
    """The engine is loaded when it is first named, and then stays an attribute of the package."""
    program = """
import sys, cascade
print("cascade.runtime" in sys.modules, "cascade.spec.task" in sys.modules, "Engine" in vars(cascade))
cascade.Engine
print("cascade.runtime" in sys.modules, "Engine" in vars(cascade))
"""
    assert python("-c", program).splitlines() == ["False True False", "True True"]


@pytest.mark.slow
def test_import_is_cheap(tmp_path: Path) -> None:
    """The import costs at most 1.6 times as long as importing the standard modules it stands on."""

    def seconds(program: str) -> float:
        started = time.perf_counter()
        python("-c", program, cache=tmp_path)
        return time.perf_counter() - started

    for program in (YARDSTICK, "import cascade"):  # writes the bytecode
        seconds(program)
    ratios = []
    for _ in range(11):
        yardstick = seconds(YARDSTICK)
        ratios.append(seconds("import cascade") / yardstick)

    assert statistics.median(ratios) <= MOST


def test_every_public_name_is_there() -> None:
    """All names of ``__all__`` and all that are loaded late resolve, and ``dir`` lists them."""
    for name in (*cascade.__all__, *cascade._HOMES, *cascade._MODULES):
        assert getattr(cascade, name) is not None
        assert name in dir(cascade)


def test_all_is_in_order_and_complete() -> None:
    """``__all__`` names each public function and class once, sorted; no module."""
    late = set(cascade._HOMES) - {name for name in cascade._HOMES if name not in cascade.__all__}
    early = {"LazyResult", "Router", "__version__", "inject", "resource", "task", "with_constraints"}

    assert sorted(set(cascade.__all__)) == sorted(cascade.__all__)
    assert set(cascade.__all__) == late | early


def test_names_come_from_one_place() -> None:
    """A name of the package is the very object of the module that defines it."""
    from cascade.common.messaging.bus import bus
    from cascade.runtime.engine import Engine
    from cascade.spec.task import task

    assert cascade.Engine is Engine
    assert cascade.task is task
    assert cascade.bus is bus


def test_unknown_attribute_is_an_ordinary_attribute_error() -> None:
    """The text is the one that Python itself would give."""
    with pytest.raises(AttributeError, match=r"^module 'cascade' has no attribute 'no_such_thing'$"):
        cascade.no_such_thing  # noqa: B018


def test_star_import_gives_the_public_names() -> None:
    """``from cascade import *`` works although most names are loaded late."""
    names = python("-c", "from cascade import *\nprint(run, task, Engine.__name__)")

    assert "Engine" in names

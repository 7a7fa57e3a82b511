"""What is installed beside the modules: providers, commands, files. Also what analysis leaves on a task."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.surface.calls import call_faults
from tests.surface.items import Absent, Item, imported, named
from tests.surface.names import task_faults
from tests.surface.samples import analysed_task

__all__ = ["NAME", "of_distribution", "of_provider"]

NAME = "cascade-hot"
_GROUP = "cascade.providers"


def of_provider(name: str, entry: Mapping[str, Any]) -> Iterator[Item]:
    """Yield the items of a provider: its factory, and where it is declared."""
    needs = tuple(entry.get("requires", ()))
    yield Item(f"cascade.{name} (provider)", partial(_factory_faults, name, entry), needs)
    yield Item(f"cascade.{name} (entry point)", partial(_entry_faults, _GROUP, name, entry["entry_point"]), needs)


def _factory_faults(name: str, entry: Mapping[str, Any]) -> Iterator[str]:
    try:
        factory = named("cascade.providers.registry:registry").get(name)
    except (AttributeError, ImportError) as error:
        raise Absent(f"{type(error).__name__}: {error}") from error
    if entry["factory"] == "task":
        yield from task_faults(factory, entry)
    elif hasattr(factory, "func"):
        yield "is a Task, want a function that returns a lazy result"
    else:
        yield from call_faults(factory, entry["params"])


def _entry_faults(group: str, name: str, wanted: str) -> Iterator[str]:
    declared = [entry for entry in _own_entries() if (entry.group, entry.name) == (group, name)]
    if not declared:
        raise Absent(f"the distribution declares no {name} in {group}")
    if declared[0].value != wanted:
        yield f"is {declared[0].value}, want {wanted}"
    found = named(wanted)
    if group == _GROUP and found().name != name:
        yield f"{wanted} calls itself {found().name!r}"
    elif not callable(found):
        yield f"{wanted} cannot be called"


def _own_entries() -> list[importlib.metadata.EntryPoint]:
    try:
        return list(importlib.metadata.distribution(NAME).entry_points)
    except importlib.metadata.PackageNotFoundError as error:
        raise Absent(f"{NAME} is not installed, so nothing is declared") from error


def of_distribution(surface: Mapping[str, Any]) -> Iterator[Item]:
    """Yield the items of commands, files, and what analysis leaves on a task."""
    for command, wanted in surface["entry_point_groups"]["console_scripts"].items():
        yield Item(f"{command} (command)", partial(_entry_faults, "console_scripts", command, wanted))
    namespaces = {name.rpartition(".")[0].replace(".", "/") for name in surface["providers"]}
    for pattern in surface["package_data"]:
        if pattern.startswith("type stubs"):
            files = sorted(f"{namespace}/__init__.pyi".removeprefix("/") for namespace in namespaces)
        else:
            files = [pattern]
        for file in files:
            yield Item(f"cascade/{file} (file)", partial(_file_faults, file))
    for attribute in surface["dynamic_task_attributes"]:
        yield Item(f"cascade.spec.task:Task.{attribute} (analysed)", partial(_analysis_faults, attribute))


def _file_faults(pattern: str) -> Iterator[str]:
    if not list(Path(str(imported("cascade").__file__)).parent.glob(pattern)):
        raise Absent("no such file")
    yield from ()


def _analysis_faults(attribute: str) -> Iterator[str]:
    if not hasattr(analysed_task(), attribute):
        raise Absent("a task that calls itself has no such attribute after the search for tail calls")
    yield from ()

"""The names of a module: functions, tasks, constants, enums, objects, aliases. Classes are in ``classes.py``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from typing import Any

from tests.surface.calls import call_faults, same_text, use_faults
from tests.surface.classes import of_class
from tests.surface.items import Absent, Check, imported, named

__all__ = ["of_name", "task_faults"]

Entry = Mapping[str, Any]


def of_name(dotted: str, entry: Entry) -> Iterator[tuple[str, Check]]:
    """Yield what is to be checked of a name, and where it belongs."""
    if "alias_of" in entry:
        yield dotted, partial(_alias_faults, dotted, entry)
    elif entry["kind"] in ("class", "exception"):
        yield from of_class(dotted, entry)
    else:
        yield dotted, partial(_faults, dotted, entry)


def _faults(dotted: str, entry: Entry) -> Iterator[str]:
    yield from _patch_faults(dotted, entry)
    if entry["kind"] != "any":
        yield from _KINDS[entry["kind"]](named(dotted), entry)


def _patch_faults(dotted: str, entry: Entry) -> Iterator[str]:
    """A test that replaces a name, and puts back what was there, needs it in the module itself."""
    module, _, name = dotted.partition(":")
    if entry.get("patch_point") and name not in vars(imported(module)):
        raise Absent("no attribute of the module that could be replaced")
    yield from ()


def _alias_faults(dotted: str, entry: Entry) -> Iterator[str]:
    yield from _patch_faults(dotted, entry)
    found = named(dotted)
    try:
        target = named(entry["alias_of"])
    except Absent as absent:
        yield f"{entry['alias_of']} is missing: {absent}"
        return
    if found is not target:
        yield f"is another object than {entry['alias_of']}"


def _function_faults(found: Any, entry: Entry) -> Iterator[str]:
    if not callable(found):
        yield "cannot be called"
        return
    yield from use_faults(found, entry)
    yield from call_faults(found, entry.get("head", {}).get("params_added", ()), by_name=True)


def task_faults(found: Any, entry: Entry) -> Iterator[str]:
    """What is wrong with a task: its name, or its function."""
    if not isinstance(found, importlib.import_module("cascade.spec.task").Task):
        yield "is no Task"
        return
    if found.name != entry["task_name"]:
        yield f"is called {found.name!r}, want {entry['task_name']!r}"
    yield from use_faults(found.func, entry)


def _constant_faults(found: Any, entry: Entry) -> Iterator[str]:
    if not same_text(entry["value"], found):
        yield f"is {found!r}, want {entry['value']}"


def _enum_faults(found: Any, entry: Entry) -> Iterator[str]:
    if not (isinstance(found, type) and issubclass(found, Enum)):
        yield "is no Enum"
        return
    wanted = {**entry["members"], **entry.get("head", {}).get("members_added", {})}
    for name, value in wanted.items():
        if name not in found.__members__:
            yield f"has no member {name}"
        elif found[name].value != value:
            yield f"{name} is {found[name].value!r}, want {value!r}"


def _object_faults(found: Any, entry: Entry) -> Iterator[str]:
    if found is None:
        raise Absent("is None")
    kinds = [cls.__name__ for cls in type(found).__mro__]
    if entry["type"] not in kinds:
        yield f"is of type {kinds[0]}, want {entry['type']}"


def _type_alias_faults(found: Any, _: Entry) -> Iterator[str]:
    if found is None:
        yield "is None"


_KINDS: dict[str, Callable[[Any, Entry], Iterator[str]]] = {
    "constant": _constant_faults,
    "enum": _enum_faults,
    "function": _function_faults,
    "object": _object_faults,
    "task": task_faults,
    "type_alias": _type_alias_faults,
}

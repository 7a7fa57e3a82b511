"""The classes of a module, with their fields, their members, and what their objects have."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tests.surface.calls import Wanted, call_faults, same_text, use_faults
from tests.surface.items import Absent, Check, named
from tests.surface.samples import SAMPLES, sample

__all__ = ["of_class"]

Entry = Mapping[str, Any]

#: Bases that are for type checkers.
_TYPING = ("Generic", "Protocol")
_EMPTY = object()


def of_class(dotted: str, entry: Entry) -> Iterator[tuple[str, Check]]:
    """Yield what is to be checked of a class, and where it belongs."""
    head = entry.get("head", {})
    yield dotted, partial(_class_faults, dotted, entry)
    for field in [*entry.get("fields", ()), *head.get("fields_added", ())]:
        yield f"{dotted}.{field['name']}", partial(_field_faults, dotted, field)
    for name, member in {**entry["members"], **head.get("members_added", {})}.items():
        yield f"{dotted}.{name}", partial(_member_faults, dotted, name, member)
    for name, attribute in entry.get("instance_attributes", {}).items():
        yield f"{dotted}.{name} (of objects)", partial(_attribute_faults, dotted, entry, name, attribute)


def _found(dotted: str) -> type[Any]:
    found = named(dotted)
    if not isinstance(found, type):
        raise TypeError("is no class")
    return found


def _class_faults(dotted: str, entry: Entry) -> Iterator[str]:
    cls = _found(dotted)
    ancestors = [one.__name__ for one in cls.__mro__]
    for base in entry.get("bases", ()):
        if base not in _TYPING and base not in ancestors:
            yield f"is no subclass of {base}"
    if entry["kind"] == "exception" and not issubclass(cls, BaseException):
        yield "is no exception"
    if entry.get("defines_hash") and cls.__hash__ is None:
        yield "cannot be hashed"
    yield from _dataclass_faults(cls, entry.get("dataclass"))
    added = entry.get("head", {}).get("params_added", ())
    yield from _constructor_faults(cls, entry.get("init", {}).get("params", ()), added)


def _constructor_faults(cls: type[Any], wanted: Sequence[Wanted], added: Sequence[Wanted]) -> Iterator[str]:
    if not (wanted or added):
        return
    try:
        inspect.signature(cls)
    except ValueError:  # compiled: it does not say what it takes
        yield from _trial_faults(cls, [*wanted, *added])
    else:
        yield from call_faults(cls, wanted)
        yield from call_faults(cls, added, by_name=True)


def _trial_faults(cls: type[Any], wanted: Sequence[Wanted]) -> Iterator[str]:
    """Call a class by name, by position and with what it must have, and see where the arguments are then."""
    given = {want["name"]: SAMPLES.get(want["name"], object)() for want in wanted}
    for manner, made in (("name", cls(**given)), ("position", cls(*given.values()))):
        for name, value in given.items():
            if getattr(made, name, _EMPTY) != value:
                yield f"passed by {manner}, {name!r} is {getattr(made, name, None)!r}, want {value!r}"
    least = cls(**{want["name"]: given[want["name"]] for want in wanted if "default" not in want})
    for want in wanted:
        value = getattr(least, want["name"])
        # A task that was given no name has the name of its function.
        if "default" in want and want["name"] != "name" and not same_text(want["default"], value):
            yield f"{want['name']!r} is {value!r} by default, want {want['default']}"


def _dataclass_faults(cls: type[Any], wanted: Entry | None) -> Iterator[str]:
    if wanted is None:
        return
    if not dataclasses.is_dataclass(cls):
        yield "is no dataclass"
    elif cls.__dataclass_params__.frozen is not wanted["frozen"]:  # type: ignore[attr-defined]
        yield "cannot be changed" if not wanted["frozen"] else "can be changed"


def _field_faults(dotted: str, wanted: Entry) -> Iterator[str]:
    cls = _found(dotted)
    fields = {field.name: field for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    field = fields.get(wanted["name"])
    if field is None:
        raise Absent("no such field")
    if field.init is not wanted.get("init", True):
        yield "is given to the constructor" if field.init else "cannot be given to the constructor"
    if "default" in wanted and not same_text(wanted["default"], field.default):
        yield f"is {field.default!r} by default, want {wanted['default']}"
    if "default_factory" in wanted:
        yield from _factory_faults(field, wanted["default_factory"])


def _factory_faults(field: dataclasses.Field[Any], wanted: str) -> Iterator[str]:
    if field.default is field.default_factory is dataclasses.MISSING:
        yield "has no default"
    elif wanted != "generated" and field.default_factory is not dataclasses.MISSING:
        made = field.default_factory()
        if made or type(made).__name__ != wanted:
            yield f"is {made!r} by default, want an empty {wanted}"


def _member_faults(dotted: str, name: str, wanted: Entry) -> Iterator[str]:
    cls = _found(dotted)
    raw = inspect.getattr_static(cls, name, _EMPTY)
    if raw is _EMPTY:
        raise Absent("no such member")
    if wanted["kind"] == "attribute":
        yield from _value_faults(getattr(cls, name), wanted["value"])
    elif wanted["kind"] != "property":
        yield from _method_faults(raw, wanted)


def _value_faults(found: Any, wanted: str) -> Iterator[str]:
    if wanted.startswith("<"):
        if type(found).__name__ != wanted.strip("<>"):
            yield f"is {type(found).__name__}, want {wanted}"
    elif not same_text(wanted, found):
        yield f"is {found!r}, want {wanted}"


def _method_faults(raw: Any, wanted: Entry) -> Iterator[str]:
    kinds: dict[str, type[Any]] = {"classmethod": classmethod, "staticmethod": staticmethod}
    for kind, descriptor in kinds.items():
        if (wanted["kind"] == kind) is not isinstance(raw, descriptor):
            yield f"is no {wanted['kind']}"
            return
    func = getattr(raw, "__func__", raw)
    if not callable(func):
        yield "cannot be called"
        return
    yield from use_faults(func, wanted, is_bound=wanted["kind"] != "staticmethod")


# ------------------------------------------------------------------------------------------------------------- objects


def _attribute_faults(dotted: str, entry: Entry, name: str, wanted: Entry) -> Iterator[str]:
    try:
        made, given = sample(_found(dotted), entry["init"]["params"])
    except ImportError as error:
        raise Absent(f"no object could be made: {error}") from error
    value = getattr(made, name, _EMPTY)
    if value is _EMPTY:
        raise Absent("no such attribute")
    if "initial" in wanted and not _begins_as(value, wanted["initial"], given.get(name)):
        yield f"is {value!r} at first, want {wanted['initial']}"


def _begins_as(value: Any, wanted: str, given: Any) -> bool:
    if wanted == "ctor arg":
        return value is given
    if wanted.startswith("empty "):
        return len(value) == 0
    if wanted.startswith("list of None"):
        return bool(value) and set(value) == {None}
    return wanted in [cls.__name__ for cls in type(value).__mro__]

"""Whether what was called in the older engine can be called here in the same way."""

from __future__ import annotations

import inspect
import tempfile
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import Parameter
from typing import Any

from tests.surface.items import lacking

__all__ = ["Wanted", "call_faults", "same_text", "use_faults"]

#: A parameter of the surface: its name, kind and, if it has one, default.
Wanted = Mapping[str, Any]

_ORDERED = ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")
_STARS = {"VAR_POSITIONAL": "*args", "VAR_KEYWORD": "**kwargs"}


def _is_async(func: Any) -> bool:
    """Whether a call has to be awaited."""
    func = inspect.unwrap(func)
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(getattr(func, "__call__", None))  # noqa: B004


def same_text(wanted: str, value: Any) -> bool:
    """Whether a value is the one whose text the surface holds."""
    if wanted == "<factory>":  # any default will do, and a dataclass's fields say which
        return True
    wanted = wanted.replace("<tempdir>", tempfile.gettempdir())
    if wanted.startswith("inject("):
        return wanted == f"inject({getattr(value, 'resource_name', None)!r})"
    return wanted in (repr(value), getattr(value, "__name__", None))


def use_faults(func: Callable[..., Any], entry: Mapping[str, Any], *, is_bound: bool = False) -> Iterator[str]:
    """Yield what a caller of a function or a method would meet, awaiting included."""
    if _is_async(func) is not bool(entry.get("async")):
        yield "is to be awaited" if _is_async(func) else "is not to be awaited"
    yield from call_faults(func, entry["params"], is_bound=is_bound)


def call_faults(
    func: Callable[..., Any], wanted: Iterable[Wanted], *, is_bound: bool = False, by_name: bool = False
) -> Iterator[str]:
    """Yield what a caller would meet who passes the parameters that the surface has.

    Args:
        is_bound: the first parameter of ``func`` is filled already.
        by_name: the order says nothing, as both versions of the older engine have the name, each with its own order.
    """
    mine, wanted = list(inspect.signature(func).parameters.values())[is_bound:], list(wanted)
    for want in wanted:
        yield from _parameter_faults(func, mine, want)
    order = [want["name"] for want in wanted if want["kind"] in _ORDERED]
    places = [one.name for one in mine if one.kind.name in _ORDERED]
    if not by_name and set(order) <= set(places) and places[: len(order)] != order:
        yield f"takes {', '.join(places[: len(order)])} in this order, want {', '.join(order)}"
    if not by_name:
        yield from _needless(mine, {want["name"] for want in wanted})


def _needless(mine: list[Parameter], known: set[str]) -> Iterator[str]:
    for one in mine:
        if one.name not in known and one.default is Parameter.empty and one.kind.name not in _STARS:
            yield f"asks for another parameter, {one.name!r}"


def _parameter_faults(func: Callable[..., Any], mine: list[Parameter], want: Wanted) -> Iterator[str]:
    name, kind = want["name"], want["kind"]
    if kind in _STARS:
        if not any(one.kind.name == kind for one in mine):
            yield f"takes no {_STARS[kind]}"
        return
    found = next((one for one in mine if one.name == name and one.kind.name not in _STARS), None)
    if found is None:
        yield f"has no parameter {name!r}"
        return
    yield from _kind_faults(found, kind)
    if "default" in want:
        yield from _default_faults(func, found, want["default"])


def _kind_faults(found: Parameter, kind: str) -> Iterator[str]:
    if kind in _ORDERED and found.kind is Parameter.KEYWORD_ONLY:
        yield f"{found.name!r} is taken by keyword only"
    if kind != "POSITIONAL_ONLY" and found.kind is Parameter.POSITIONAL_ONLY:
        yield f"{found.name!r} is not taken by keyword"


def _default_faults(func: Callable[..., Any], found: Parameter, wanted: str | Mapping[str, Any]) -> Iterator[str]:
    text = wanted if isinstance(wanted, str) else wanted["default"]
    if found.default is Parameter.empty:
        yield f"{found.name!r} has no default, want {text}"
    elif not same_text("Ellipsis" if text == "required" else text, found.default):
        yield f"{found.name!r} is {found.default!r} by default, want {text}"
    if not isinstance(wanted, str) and not lacking(["typer"]):  # without it, annotations of commands mean nothing
        lost = set(wanted["flags"]) - _flags(func, found.name)
        yield from (f"{found.name!r} is not given by {flag}" for flag in sorted(lost))


def _flags(func: Callable[..., Any], name: str) -> set[str]:
    """Return the options of a command line that stand for a parameter, as they are written in its annotation."""
    marks = getattr(typing.get_type_hints(func, include_extras=True).get(name), "__metadata__", ())
    return {flag for mark in marks for flag in (mark.default, *(mark.param_decls or ())) if isinstance(flag, str)}

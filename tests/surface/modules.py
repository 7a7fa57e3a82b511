"""The modules of the surface, and what each of them offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from tests.surface.items import Item, imported
from tests.surface.names import of_name

__all__ = ["of_module"]


def of_module(module: str, entry: Mapping[str, Any]) -> Iterator[Item]:
    """Yield the items of a module: itself, its ``__all__``, what is to be replaced in it, and its names."""
    item = partial(Item, needs=tuple(entry.get("requires", ())), may_lack=_may_lack(entry))
    yield item(module, partial(_nothing_wrong, module))
    if "all" in entry:
        listed = [*entry["all"], *entry.get("all_added_by_head", ())]
        yield item(f"{module}:__all__", partial(_listing_faults, module, listed))
    for submodule in entry.get("submodule_attributes", ()):
        yield item(f"{module}:{submodule} (module)", partial(_attribute_faults, module, submodule))
    for name, wanted in entry["names"].items():
        for where, check in of_name(f"{module}:{name}", wanted):
            yield item(where, check)


def _may_lack(entry: Mapping[str, Any]) -> str:
    return str(entry.get("note", "it may be left out")) if entry.get("optional") else ""


def _nothing_wrong(module: str) -> list[str]:
    imported(module)
    return []


def _listing_faults(module: str, names: list[str]) -> Iterator[str]:
    listed = getattr(imported(module), "__all__", ())
    yield from (f"does not list {name}" for name in names if name not in listed)


def _attribute_faults(module: str, name: str) -> Iterator[str]:
    if not hasattr(imported(module), name):
        yield "is no attribute of its package"

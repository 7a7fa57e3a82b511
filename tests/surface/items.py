"""What the surface asks for, one item each: a module, a name, a member, a field, an attribute, a provider.

An item is judged when it is asked for, and only then does it import anything. How many there are depends on the surface
alone, so that the share of what is there does not grow when a whole module is missing.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Absent", "Check", "Finding", "Item", "imported", "judge", "lacking", "named"]


#: Yields what is wrong, or raises Absent.
Check = Callable[[], Iterable[str]]


class Absent(Exception):
    """What an item is about is not there; the text may say more."""


@dataclass(frozen=True)
class Item:
    """One thing that has to be there.

    Attributes:
        where: what it is called; ``--only`` selects by it.
        check: yields what is wrong with it, or raises Absent.
        needs: optional libraries; what is absent because one is not installed is no fault.
        may_lack: why it may be absent, where that is no fault at all.
    """

    where: str
    check: Check
    needs: tuple[str, ...] = ()
    may_lack: str = ""


@dataclass(frozen=True)
class Finding:
    """What became of an item: ``ok``, ``missing``, ``incompatible``, or ``skipped`` with the reason."""

    where: str
    verdict: str
    why: str = ""
    needs: str = ""


def judge(item: Item) -> Finding:
    """Return what is found when an item is checked."""
    try:
        faults = list(item.check())
    except Absent as absent:
        library = lacking(item.needs)
        excuse = f"{library} is not installed" if library else item.may_lack
        return Finding(item.where, "skipped" if excuse else "missing", excuse or str(absent), library)
    except Exception as error:  # whatever it is, it is a fault of this item, and the others are still to be judged
        faults = [f"{type(error).__name__}: {error}"]
    return Finding(item.where, "incompatible" if faults else "ok", "; ".join(faults))


def lacking(libraries: Iterable[str]) -> str:
    """Return the first of some libraries that cannot be imported here, and an empty text if all can."""
    return next((library for library in libraries if not _is_there(library)), "")


def _is_there(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):  # ValueError: a test has put None in its place
        return False


def imported(module: str) -> Any:
    """Return a module of the package; raise Absent if it, or a library that it needs, is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Absent(f"{type(error).__name__}: {error}") from error


def named(dotted: str) -> Any:
    """Return what ``module:name`` stands for; raise Absent if it is not there."""
    module, _, name = dotted.partition(":")
    try:
        return getattr(imported(module), name)
    except AttributeError as error:
        raise Absent(f"{module} has no {name}") from error

"""A process in which the engine has a bug that was planted there.

    python -m tests.differential.planted NAME FIRST COUNT     (with CASCADE_PURE=1)

Reads the modules of the package with one passage replaced, as it imports them, and then judges the cases of so many
seeds. Prints the seed that found the bug and what it said, or ``not found``. A passage that is not there, exactly once,
ends the process with an error: then the plant is to be put where the code has gone.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import logging
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Any, NamedTuple

__all__ = ["PLANTS", "Plant"]


class Plant(NamedTuple):
    """A passage of a module, and what stands there instead."""

    module: str
    passage: str
    instead: str


_KERNEL = "cascade._hot_py"
_LOOP = "cascade.runtime.strategies._loop"

#: Each is the mechanism that its name says, not just a wrong answer.
PLANTS = {
    # Keyword names are part of the key in any order, so f(x=, y=) finds the program of f(y=, x=).
    "wrong key for kwargs order": Plant(
        _KERNEL,
        """        for name in parts.names:
            self._address(name)
""",
        """        for name in sorted(parts.names):
            self._address(name)
""",
    ),
    # That an argument is a lazy is in the key, but not which one: f(a, b) finds the program of f(b, a) and f(a, a).
    "wrong key for sharing": Plant(
        _KERNEL,
        """                self.key.append(registers[id(token)])
""",
        """                self.key.append(0)
""",
    ),
    # The sizes of lists are left out of the key, so [[a], b] finds the program of [[a, b]].
    "wrong key for nesting": Plant(
        _KERNEL,
        """        for token in item:
            if type(token) is int:
                self.key.append(token)
""",
        """        for before, token in zip([None, *item], item):
            if type(token) is int:
                self.key.append(0 if type(before) is int and before == LIST else token)
""",
    ),
    # A task keeps its serial when its function is replaced, so programs of the old one serve the new one.
    "wrong key for a replaced func": Plant(
        _KERNEL,
        """        self._callee = Callee(**now)
""",
        """        self._callee = Callee(**now)
        self._callee.serial = old.serial
""",
    ),
    # What a program's step sets up is looked up once, so an overridden provider goes on being used.
    "stale program after an override": Plant(
        "cascade.runtime.resource_container",
        """            opened = _Opened(instance.name, self.get_provider(instance.name)(**values))
""",
        """            known = self.__dict__.setdefault("known", {})
            opened = _Opened(instance.name, known.setdefault(instance, self.get_provider(instance.name))(**values))
""",
    ),
    # The hot tier has no policy for a call that has failed.
    "dropped retry": Plant(
        _KERNEL,
        """        return self._levels[-1].trace.operations[op].retry
""",
        """        return None
""",
    ),
    # A condition that is false does not skip.
    "dropped condition": Plant(
        "cascade.runtime.flow",
        """        return None if await state_backend.get_result(source_id) else "ConditionFalse"
""",
        """        return None
""",
    ),
    # Nor does it in a hot program.
    "dropped hot condition": Plant(
        _KERNEL,
        """        if turn.condition >= 0 and (self.skipped[turn.condition] or not registers[turn.condition]):
""",
        """        if turn.condition >= 0 and self.skipped[turn.condition]:
""",
    ),
    # A program keeps what a call without arguments has returned and gives it to the next step too.
    "reused result": Plant(
        _KERNEL,
        """    if not keywords:
        return func(*values)
    npos""",
        """    if not values:
        kept = level.program.__dict__.setdefault("kept", {})
        if i not in kept:
            kept[i] = func()
        return kept[i]
    if not keywords:
        return func(*values)
    npos""",
    ),
    # An inner call of a hot program that fails counts as one that has returned nothing.
    "swallowed exception": Plant(
        _KERNEL,
        """            except BaseException as error:
                frame.error = error
                return FAILED
        if not awaited""",
        """            except BaseException as error:
                frame.error = error
                if frame.op == len(level.trace.operations) - 1:
                    return FAILED
                value = None
        if not awaited""",
    ),
    # What lasted for a step that has succeeded is never torn down.
    "lost teardown": Plant(
        _LOOP,
        """        if error is None:
            stack.close()
""",
        """        if error is None:
            self.strategy.__dict__.setdefault("lost", []).append(stack.pop_all())
""",
    ),
}


class _Loader(importlib.machinery.SourceFileLoader):
    plant: Plant

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_data(self.path).decode()
        found = text.count(self.plant.passage)
        if found != 1:
            raise SystemExit(f"{self.path} has this passage {found} times, not once:\n{self.plant.passage}")
        return compile(text.replace(self.plant.passage, self.plant.instead), self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the module of a plant, with the plant in it."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.plant.module:
            return None
        spec: Any = importlib.machinery.PathFinder.find_spec(fullname, path)
        loader = _Loader(fullname, spec.origin)
        loader.plant = self.plant
        return importlib.util.spec_from_file_location(fullname, spec.origin, loader=loader)


def search(first: int, count: int) -> str:
    """Judge cases until one fails; say which, and how."""
    from tests.differential.cases import failure, of_seed

    for seed in range(first, first + count):
        error = failure(of_seed(seed))
        if error is not None:
            return f"{seed - first + 1} cases: {type(error).__name__}: {error}"
    return "not found"


def main(name: str, first: str, count: str) -> None:
    """Plant, search, and say what was found."""
    logging.disable()
    if name != "nothing":
        sys.meta_path.insert(0, _Finder(PLANTS[name]))
    found = search(int(first), int(count))
    if name != "nothing" and type(sys.modules[PLANTS[name].module].__loader__) is not _Loader:
        raise SystemExit(f"{PLANTS[name].module} was imported without the plant")
    print(found)


if __name__ == "__main__":
    main(*sys.argv[1:])

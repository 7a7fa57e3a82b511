"""Files executed as modules, under names that have the path in them: so another process can import them too.

A task of mode ``compute``, or a value of a class that such a file defines, reaches the other process by that name.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

__all__ = ["execute"]

#: This module is the package of those modules; nothing of them lies in a folder of its own.
__path__: list[str] = []


class _Loader(SourceFileLoader):
    """Compiles the file as it is now: a bytecode cache would miss a change within a second."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


class _Finder:
    """Finds the file that a name stands for."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, _, last = fullname.rpartition(".")
        if package != __name__:
            return None
        file = os.fsdecode(bytes.fromhex(last.removeprefix("file_")))
        return spec_from_file_location(fullname, file, loader=_Loader(fullname, file))


sys.meta_path.append(_Finder)


def execute(file: Path) -> ModuleType:
    """Execute a file, in a new module that takes the place of the one from last time."""
    name = f"{__name__}.file_{os.fsencode(file.resolve()).hex()}"
    spec = _Finder.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses, for one, look up the module that they stand in
    spec.loader.exec_module(module)
    return module

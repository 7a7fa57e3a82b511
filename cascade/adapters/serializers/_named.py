"""Classes that may be stored because their user named them: enums, dataclasses and Structs.

Stored is the name of the class; reading looks it up among those that were named, and nowhere else.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, Flag
from importlib import import_module
from typing import Any

from cascade.adapters.serializers._forms import Code, Form, Refusal

__all__ = ["Named", "form_of_own", "is_nameable"]

#: Dataclasses of this package that its tasks return: nobody has to name them. They hold plain data.
_OWN = frozenset({"cascade.providers.http:HttpResponse"})

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that was made by a ``class`` statement


class Named:
    """The classes that a serializer was given.

    Raises:
        TypeError: one of them is neither enum, dataclass nor Struct, or has data that its fields do not show.
        ValueError: two of them have the same name.
    """

    def __init__(self, types: Iterable[type[Any]]) -> None:
        #: By class.
        self.forms: dict[type[Any], Form] = {}
        #: By code and name.
        self._classes: dict[tuple[int, str], type[Any]] = {}
        for cls in types:
            code = _code_of(cls)
            key = (code, _name_of(cls))
            if self._classes.setdefault(key, cls) is not cls:
                raise ValueError(f"two classes in types are called {key[1]}: stored values could not tell them apart")
            self.forms[cls] = Form(code, _TAKES[code], _step)

    def wholes(self) -> dict[int, Callable[[list[Any]], Any]]:
        """Return what makes values from a list of parts, by code."""
        return {
            Code.ENUM: lambda parts: self._class(Code.ENUM, parts, 2)[parts[1]],
            Code.FLAG: lambda parts: self._class(Code.FLAG, parts, 2)(parts[1]),
            Code.DATACLASS: self._dataclass,
            Code.STRUCT: self._struct,
        }

    def _class(self, code: int, parts: list[Any], count: int = 0) -> Any:
        cls = self._classes.get((code, parts[0]))
        if cls is None and code == Code.DATACLASS and parts[0] in _OWN:
            cls = _found(parts[0])
        if cls is None:
            raise ValueError(f"they name {str(parts[0])[:100]!r}, which is not in MsgpackSerializer(types=[...])")
        if count and len(parts) != count:
            raise ValueError(f"no {cls.__qualname__}")
        return cls

    def _fields(self, cls: type[Any], parts: list[Any]) -> dict[str, Any]:
        names = _field_names(cls)
        if parts[1::2] != names:
            raise ValueError(f"they have other fields than {cls.__qualname__}, which has {', '.join(names)}")
        return dict(zip(names, parts[2::2], strict=True))

    def _dataclass(self, parts: list[Any]) -> Any:
        """Put an object together as it was: neither its ``__init__`` nor its ``__post_init__`` runs."""
        cls = self._class(Code.DATACLASS, parts)
        found = object.__new__(cls)
        for name, value in self._fields(cls, parts).items():
            object.__setattr__(found, name, value)
        return found

    def _struct(self, parts: list[Any]) -> Any:
        """Make a Struct of its fields, which are not validated; msgspec calls its ``__post_init__`` if it has one."""
        cls = self._class(Code.STRUCT, parts)
        return cls(**self._fields(cls, parts))


def form_of_own(cls: type[Any]) -> Form | None:
    """Return the form of a class of this package that need not be named."""
    name = _name_of(cls)
    if name in _OWN and name.partition(":")[0] in sys.modules and _found(name) is cls:
        return Form(Code.DATACLASS, _take_fields, _step)
    return None


def _found(name: str) -> Any:
    module, _, cls = name.partition(":")
    return getattr(import_module(module), cls)


def is_nameable(cls: type[Any]) -> bool:
    """Whether a class may be named."""
    return issubclass(cls, Enum) or dataclasses.is_dataclass(cls) or hasattr(cls, "__struct_fields__")


def _code_of(cls: Any) -> int:
    if not isinstance(cls, type) or not is_nameable(cls):
        raise TypeError(f"types takes enums, dataclasses and msgspec Structs, not {cls!r}")
    if issubclass(cls, Enum):
        return Code.FLAG if issubclass(cls, Flag) else Code.ENUM
    if hasattr(cls, "__struct_fields__"):
        return Code.STRUCT
    for base in cls.__mro__[:-1]:
        if not base.__flags__ & _HEAP_TYPE:
            raise TypeError(
                f"{cls.__qualname__} cannot be in types: besides its fields it has the data of a {base.__qualname__}"
            )
    return Code.DATACLASS


def _name_of(cls: type[Any]) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _field_names(cls: Any) -> list[str]:
    names = getattr(cls, "__struct_fields__", None)
    return list(names) if names is not None else [field.name for field in dataclasses.fields(cls)]


def _take_fields(value: Any) -> list[Any]:
    cls = type(value)
    parts: list[Any] = [_name_of(cls)]
    for name in _field_names(cls):
        try:
            parts += (name, getattr(value, name))
        except AttributeError:
            raise Refusal(f"has no value for its field {name!r}") from None
    return parts


def _step(parts: Sequence[Any], index: int) -> str:
    return f".{parts[index - 1]}"


_TAKES: dict[int, Callable[[Any], Sequence[Any]]] = {
    Code.ENUM: lambda value: (_name_of(type(value)), value._name_),
    Code.FLAG: lambda value: (_name_of(type(value)), value._value_),
    Code.DATACLASS: _take_fields,
    Code.STRUCT: _take_fields,
}

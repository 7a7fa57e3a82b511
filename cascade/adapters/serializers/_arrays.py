"""Arrays and scalars of numpy: their dtype described by plain values, and their bytes.

A dtype is a code such as ``<f8``; ``("fields", ((name, offset, dtype, title), ...), size, aligned)``; or, inside
fields, ``("array", dtype, shape)``. Objects, which could be anything, have no code. What lies between fields may be
left from something else that the process has had in its memory, so it is neither stored nor kept.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from math import prod
from typing import Any

from cascade.adapters.serializers._forms import Code, Form, Refusal

__all__ = ["WHOLE_OF_PARTS", "form_of"]

_CODE = re.compile(r"[<>|](?:[biufc]\d{1,2}|[SUV]\d{1,10}|[mM]8(?:\[\d{0,10}[a-zA-Zμ]{1,7}\])?|[lLqQgG])")
_ORDERS = ("C", "F")


def form_of(kind: type[Any]) -> Form | None:
    """Return how values of a type of numpy's are stored; None for other types."""
    numpy = sys.modules.get("numpy")  # without it, there are no values of its types
    if numpy is None:
        return None
    if kind is numpy.ndarray:
        return Form(Code.ARRAY, _take_array, _step)
    if kind is numpy.str_:
        return Form(Code.NUMPY_TEXT, lambda value: ("".join((value,)),), _step)
    if kind is numpy.bytes_:
        return Form(Code.NUMPY_BYTES, lambda value: (b"".join((value,)),), _step)
    if issubclass(kind, numpy.generic) and kind is not numpy.object_:
        return Form(Code.SCALAR, _take_scalar, _step)
    return None


def _numpy() -> Any:
    """numpy, loaded when there is an array to read."""
    import numpy

    return numpy


def _step(_: Any, index: int) -> str:
    return f".part[{index}]"


def _take_array(array: Any) -> tuple[Any, ...]:
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    described = _checked(array.dtype)
    data = _copied(array, order) if array.dtype.names is not None else array
    return (described, array.shape, order, data.tobytes(order))


def _take_scalar(scalar: Any) -> tuple[Any, ...]:
    array = _numpy().asarray(scalar)
    if array.dtype.type is not type(scalar):
        raise Refusal(f"is of type {type(scalar).__qualname__}, whose dtype is of another")
    described, _, _, data = _take_array(array)
    return (described, data)


def _copied(array: Any, order: Any) -> Any:
    """Return an array of its own with the same items, and nothing between their fields."""
    found = _numpy().zeros(array.shape, array.dtype, order)
    _fill(found, array)
    return found


def _fill(target: Any, source: Any) -> None:
    if source.dtype.names is not None:
        for name in source.dtype.names:
            _fill(target[name], source[name])
        return
    target[...] = source
    if source.dtype.kind == "U" and source.size:
        characters = _numpy().dtype("u4").newbyteorder(source.dtype.byteorder)
        if _numpy().ascontiguousarray(target).view(characters).max() > sys.maxunicode:
            raise ValueError("an array's text has what is no character")  # and could never be looked at


def _checked(dtype: Any) -> Any:
    """Return a dtype as plain values.

    Raises:
        Refusal: it holds objects, is empty, or is no dtype of numpy's own.
    """
    if dtype.itemsize:
        described = _described(dtype)
        with suppress(ValueError):
            if _dtype(described) == dtype:
                return described
    raise Refusal(f"has dtype {dtype}, which cannot be stored: use numbers, text, dates or bytes of a fixed size")


def _described(dtype: Any) -> Any:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ("array", _described(base), shape)
    if dtype.names is not None:
        fields = ((name, *dtype.fields[name]) for name in dtype.names)
        found = ((name, offset, _described(one), *(title or (None,))) for name, one, offset, *title in fields)
        return ("fields", tuple(found), dtype.itemsize, dtype.isalignedstruct)
    code = dtype.str
    if _CODE.fullmatch(code) and _dtype(code).type is not dtype.type:
        return code[:1] + dtype.char  # two integers of one size, which have types of their own
    return code


def _dtype(described: Any) -> Any:
    if type(described) is str and _CODE.fullmatch(described):
        return _numpy().dtype(described)
    if type(described) is tuple and described[:1] == ("array",):
        _, base, shape = described
        return _numpy().dtype((_dtype(base), _shape(shape)))
    if type(described) is tuple and described[:1] == ("fields",):
        _, fields, size, aligned = described
        names, offsets, formats, titles = zip(*fields, strict=True)
        if not all(type(name) is str for name in names) or type(aligned) is not bool:
            raise ValueError("no dtype")
        if not all(title is None or type(title) is str for title in titles):
            raise ValueError("no dtype")
        spec = {"names": names, "formats": [_dtype(one) for one in formats], "titles": titles}
        return _numpy().dtype({**spec, "offsets": _shape(offsets), "itemsize": _shape((size,))[0]}, align=aligned)
    raise ValueError("no dtype")


def _shape(shape: Any) -> tuple[int, ...]:
    if type(shape) is not tuple or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("no shape")
    return shape


def _array(parts: list[Any]) -> Any:
    described, shape, order, data = parts
    dtype = _dtype(described)
    # Exactly these bytes: a shape cannot ask for more memory than the data has taken already.
    if order not in _ORDERS or type(data) is not bytes or not dtype.itemsize:
        raise ValueError("no array")
    if prod(_shape(shape)) * dtype.itemsize != len(data):
        raise ValueError("an array's shape does not fit its data")
    return _copied(_numpy().ndarray(shape, dtype, data, order=order), order)


def _scalar(parts: list[Any]) -> Any:
    described, data = parts
    return _array([described, (), "C", data])[()]


def _text(parts: list[Any]) -> Any:
    (text,) = parts
    if type(text) is not str:
        raise ValueError("no text")
    return _numpy().str_(text)


def _bytes(parts: list[Any]) -> Any:
    (data,) = parts
    if type(data) is not bytes:
        raise ValueError("no bytes")
    return _numpy().bytes_(data)


#: By code: values from a list of parts.
WHOLE_OF_PARTS: dict[int, Callable[[list[Any]], Any]] = {
    Code.ARRAY: _array,
    Code.SCALAR: _scalar,
    Code.NUMPY_TEXT: _text,
    Code.NUMPY_BYTES: _bytes,
}

"""Arrays and scalars of numpy: their dtype described by plain values, and their bytes.

A dtype is a code such as ``<f8``; ``("fields", ((name, offset, dtype), ...), size, aligned)``; or, inside fields,
``("array", dtype, shape)``. Objects, which could be anything, have no code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
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


def _step(_: Any, index: int) -> str:
    return f".part[{index}]"


def _take_array(array: Any) -> tuple[Any, ...]:
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return (_describe(array.dtype), array.shape, order, array.tobytes(order))


def _take_scalar(scalar: Any) -> tuple[Any, ...]:
    if scalar.dtype.type is not type(scalar):
        raise Refusal(f"is of type {type(scalar).__qualname__}, whose dtype is of another")
    return (_describe(scalar.dtype), scalar.tobytes())


def _describe(dtype: Any) -> Any:
    """Return a dtype as plain values.

    Raises:
        Refusal: it holds objects, is empty, or is no dtype of numpy's own.
    """
    if dtype.hasobject or not dtype.itemsize:
        raise Refusal(f"has dtype {dtype}, which cannot be stored: use numbers, text, dates or bytes of a fixed size")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ("array", _describe(base), shape)
    if dtype.names is not None:
        found = ((name, dtype.fields[name][1], _describe(dtype.fields[name][0])) for name in dtype.names)
        return ("fields", tuple(found), dtype.itemsize, dtype.isalignedstruct)
    for code in (dtype.str, dtype.str[:1] + dtype.char):  # two integers of a size may have types of their own
        if _CODE.fullmatch(code) and _dtype(code) == dtype and _dtype(code).type is dtype.type:
            return code
    raise Refusal(f"has dtype {dtype}, which cannot be stored")


def _dtype(described: Any) -> Any:
    import numpy

    if type(described) is str and _CODE.fullmatch(described):
        return numpy.dtype(described)
    if type(described) is tuple and described[:1] == ("array",):
        _, base, shape = described
        return numpy.dtype((_dtype(base), _shape(shape)))
    if type(described) is tuple and described[:1] == ("fields",):
        _, fields, size, aligned = described
        names, offsets, formats = zip(*fields, strict=True)
        if not all(type(name) is str for name in names) or aligned not in (True, False):
            raise ValueError("no dtype")
        spec = {"names": names, "formats": [_dtype(one) for one in formats], "offsets": _shape(offsets)}
        return numpy.dtype({**spec, "itemsize": _shape((size,))[0]}, align=aligned)
    raise ValueError("no dtype")


def _shape(shape: Any) -> tuple[int, ...]:
    if type(shape) is not tuple or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("no shape")
    return shape


def _array(parts: list[Any]) -> Any:
    import numpy

    described, shape, order, data = parts
    dtype = _dtype(described)
    # Exactly these bytes: a shape cannot ask for more memory than the data has taken already.
    if order not in _ORDERS or type(data) is not bytes or not dtype.itemsize:
        raise ValueError("no array")
    if prod(_shape(shape)) * dtype.itemsize != len(data):
        raise ValueError("an array's shape does not fit its data")
    return numpy.ndarray(shape, dtype, data, order=order).copy(order="K")


def _scalar(parts: list[Any]) -> Any:
    described, data = parts
    return _array([described, (), "C", data])[()]


def _text(parts: list[Any]) -> Any:
    import numpy

    (text,) = parts
    if type(text) is not str:
        raise ValueError("no text")
    return numpy.str_(text)


def _bytes(parts: list[Any]) -> Any:
    import numpy

    (data,) = parts
    if type(data) is not bytes:
        raise ValueError("no bytes")
    return numpy.bytes_(data)


#: By code: values from a list of parts.
WHOLE_OF_PARTS: dict[int, Callable[[list[Any]], Any]] = {
    Code.ARRAY: _array,
    Code.SCALAR: _scalar,
    Code.NUMPY_TEXT: _text,
    Code.NUMPY_BYTES: _bytes,
}

"""Bodies and queries of HTTP requests, made of plain Python values.

Every body is sent from a file or a buffer in chunks: aiohttp would send bytes in one piece, which holds the event loop.
"""

from __future__ import annotations

import io
import json as _json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    import aiohttp

__all__ = ["header_text", "make_body", "pairs"]

_TEXT = "text/plain; charset=utf-8"
_BYTES = "application/octet-stream"


def pairs(values: Mapping[str, Any] | Iterable[tuple[str, Any]] | str | None) -> list[tuple[str, str]] | str | None:
    """Return the names and values of a query or a form as text; a query that is text already stays."""
    return values if values is None or isinstance(values, str) else _texts(values)


def header_text(value: Any) -> str:
    """Return the value of a header as text."""
    return value.decode() if isinstance(value, (bytes, bytearray)) else str(value)


def make_body(json: Any, data: Any, files: Mapping[str, Any] | None, opened: ExitStack) -> Any:
    """Return what aiohttp takes as ``data``; the files that it reads are open until ``opened`` is closed.

    Raises:
        ValueError: more than one body is given.
        TypeError: the JSON has no such values, or there are files and ``data`` is no form.
        OSError: a file cannot be opened.
    """
    if json is not None:
        if data is not None or files:
            raise ValueError("a request has one body: give json, or data and files")
        return _payload(_json.dumps(json).encode(), "application/json")
    if files:
        return _multipart(data, files, opened)
    if isinstance(data, str):
        return _payload(data.encode(), _TEXT)
    if isinstance(data, (bytes, bytearray, memoryview)):
        return _payload(bytes(data), _BYTES)
    if isinstance(data, Mapping):
        return _form(data, opened)
    return data


def _form(data: Mapping[str, Any], opened: ExitStack) -> Any:
    if any(isinstance(one, (bytes, bytearray, io.IOBase)) for _, one in _items(data)):
        return _multipart(data, {}, opened)
    return _payload(urlencode(_texts(data)).encode(), "application/x-www-form-urlencoded")


def _multipart(data: Any, files: Mapping[str, Any], opened: ExitStack) -> aiohttp.MultipartWriter:
    from aiohttp import MultipartWriter

    if data is not None and not isinstance(data, Mapping):
        raise TypeError(f"beside files, data must be a dict of form fields, not {type(data).__name__}")
    writer = MultipartWriter("form-data")
    for name, value in _items(data or {}):
        _add(writer, name, value if isinstance(value, (bytes, bytearray, io.IOBase)) else _text(value))
    for name, value in _items(files):
        _add(writer, name, _file(value, opened))
    return writer


def _file(value: Any, opened: ExitStack) -> Any:
    """Return an open file for the path of a file (opening it does not wait; reading it might), else the content."""
    is_path = isinstance(value, os.PathLike)  # which is never content
    if is_path or (isinstance(value, str) and os.path.isfile(value)):
        return opened.enter_context(open(value, "rb"))
    return value


def _add(writer: aiohttp.MultipartWriter, name: str, value: Any) -> None:
    from aiohttp import BufferedReaderPayload, get_payload

    if isinstance(value, io.BufferedReader) and isinstance(value.name, (str, os.PathLike)):
        filename = os.path.basename(value.name)
        part: Any = BufferedReaderPayload(value, filename=filename)
    elif isinstance(value, io.IOBase):
        filename, part = name, get_payload(value)
    elif isinstance(value, (bytes, bytearray)):
        filename, part = name, _payload(bytes(value), _BYTES)
    else:
        filename, part = "", _payload(_text(value).encode(), _TEXT)
    names = {"name": name} | ({"filename": filename} if filename else {})
    part.set_content_disposition("form-data", quote_fields=True, **names)
    writer.append_payload(part)


def _payload(content: bytes, content_type: str) -> Any:
    from aiohttp import BytesIOPayload

    return BytesIOPayload(io.BytesIO(content), content_type=content_type)


def _items(values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield names with values one by one: a list is several values of its name, None is no value."""
    for name, value in values.items() if isinstance(values, Mapping) else values:
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if one is not None:
                yield str(name), one


def _texts(values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(name, _text(one)) for name, one in _items(values)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.decode() if isinstance(value, (bytes, bytearray)) else str(value)

"""Files: ``cascade.read``, ``cascade.write``, ``cascade.fs`` and the same below ``cascade.io.local``.

The work is done in threads. A cancelled read is abandoned; a cancelled write is either complete or has not begun.
"""

from __future__ import annotations

import os.path
from pathlib import Path

from cascade.providers._threads import change, look
from cascade.providers.registry import LazyFactory, Provider
from cascade.spec.task import task

__all__ = [
    "FsExistsProvider",
    "IoLocalExistsProvider",
    "IoLocalReadBytesProvider",
    "IoLocalReadTextProvider",
    "IoLocalWriteBytesProvider",
    "IoLocalWriteTextProvider",
    "ReadBytesProvider",
    "ReadTextProvider",
    "WriteBytesProvider",
    "WriteTextProvider",
]


@task(name="read_text")
async def _read_text_task(path: str, encoding: str = "utf-8") -> str:
    """Return the text of a file."""
    return await look(Path(path).read_text, encoding=encoding)


@task(name="read_bytes")
async def _read_bytes_task(path: str) -> bytes:
    """Return the content of a file."""
    return await look(Path(path).read_bytes)


@task(name="write_text")
async def _write_text_task(path: str, content: str, encoding: str = "utf-8") -> None:
    """Write a text to a file, which it makes or overwrites.

    Text that the encoding has no bytes for leaves the file as it was.
    """
    if not isinstance(content, str):
        raise TypeError(f"write.text needs text, not {type(content).__name__}; write.bytes takes bytes")
    await change(Path(path).write_bytes, content.encode(encoding))


@task(name="write_bytes")
async def _write_bytes_task(path: str, content: bytes) -> None:
    """Write bytes to a file, which it makes or overwrites."""
    await change(Path(path).write_bytes, content)


@task(name="fs_exists")
async def _exists_task(path: str) -> bool:
    """Tell whether there is a file or folder."""
    return await look(os.path.exists, path)


class ReadTextProvider(Provider):
    """``cascade.read.text``."""

    name = "read.text"

    def create_factory(self) -> LazyFactory:
        return _read_text_task


class ReadBytesProvider(Provider):
    """``cascade.read.bytes``."""

    name = "read.bytes"

    def create_factory(self) -> LazyFactory:
        return _read_bytes_task


class WriteTextProvider(Provider):
    """``cascade.write.text``."""

    name = "write.text"

    def create_factory(self) -> LazyFactory:
        return _write_text_task


class WriteBytesProvider(Provider):
    """``cascade.write.bytes``."""

    name = "write.bytes"

    def create_factory(self) -> LazyFactory:
        return _write_bytes_task


class FsExistsProvider(Provider):
    """``cascade.fs.exists``."""

    name = "fs.exists"

    def create_factory(self) -> LazyFactory:
        return _exists_task


class IoLocalReadTextProvider(ReadTextProvider):
    """``cascade.io.local.read_text``."""

    name = "io.local.read_text"


class IoLocalReadBytesProvider(ReadBytesProvider):
    """``cascade.io.local.read_bytes``."""

    name = "io.local.read_bytes"


class IoLocalWriteTextProvider(WriteTextProvider):
    """``cascade.io.local.write_text``."""

    name = "io.local.write_text"


class IoLocalWriteBytesProvider(WriteBytesProvider):
    """``cascade.io.local.write_bytes``."""

    name = "io.local.write_bytes"


class IoLocalExistsProvider(FsExistsProvider):
    """``cascade.io.local.exists``."""

    name = "io.local.exists"

"""Files, and the threads in which they are read and written."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path
from typing import Any, TextIO

import pytest

import cascade as cs
from cascade.providers import io, registry
from tests.engines import make_engine, run

both = pytest.mark.parametrize("local", [False, True], ids=["short name", "io.local"])


def provider(local: bool, short: str, long: str) -> Any:
    return registry.get(f"io.local.{long}" if local else short)


@both
@pytest.mark.row("06-providers", "Built-in providers", "read.text, io.local.read_text")
def test_text_is_read(tmp_path: Path, local: bool) -> None:
    """As UTF-8 by default, or in the encoding asked for; the path may be lazy."""
    read = provider(local, "read.text", "read_text")
    path = tmp_path / "text"
    path.write_bytes("é\n".encode())

    assert read.name == "read_text"
    assert run(read(path)) == "é\n"
    assert run(read(path=cs.format("{}", path), encoding="latin-1")) == "Ã©\n"


@both
@pytest.mark.row("06-providers", "Built-in providers", "read.bytes, io.local.read_bytes")
def test_bytes_are_read(tmp_path: Path, local: bool) -> None:
    """The content is as it is in the file."""
    read = provider(local, "read.bytes", "read_bytes")
    path = tmp_path / "bytes"
    path.write_bytes(b"\r\n\xff\x00")

    assert read.name == "read_bytes"
    assert run(read(str(path))) == b"\r\n\xff\x00"


@both
@pytest.mark.row("06-providers", "Built-in providers", "write.text, io.local.write_text")
def test_text_is_written(tmp_path: Path, local: bool) -> None:
    """The file is made or overwritten; the result is None; the content may be lazy."""
    write = provider(local, "write.text", "write_text")
    path = tmp_path / "text"
    path.write_text("much longer than what comes")

    assert write.name == "write_text"
    assert run(write(path, cs.format("{}", "é\n"))) is None
    assert path.read_bytes() == "é\n".encode()
    assert run(write(str(tmp_path / "new"), "é", encoding="utf-16")) is None
    assert (tmp_path / "new").read_text("utf-16") == "é"


@both
@pytest.mark.row("06-providers", "Built-in providers", "write.bytes, io.local.write_bytes")
def test_bytes_are_written(tmp_path: Path, local: bool) -> None:
    """The file is made or overwritten, and the result is None."""
    write = provider(local, "write.bytes", "write_bytes")
    path = tmp_path / "bytes"

    assert write.name == "write_bytes"
    for content in (b"\xff\x00 long", bytearray(b"short")):
        assert run(write(str(path), content)) is None
        assert path.read_bytes() == content


@both
@pytest.mark.row("06-providers", "Built-in providers", "fs.exists, io.local.exists")
def test_existence_is_a_bool(tmp_path: Path, local: bool) -> None:
    """Files and folders exist; what cannot be a path does not."""
    exists = provider(local, "fs.exists", "exists")
    (tmp_path / "file").touch()
    paths = [tmp_path / "file", str(tmp_path), tmp_path / "none", "nul\0"]

    assert exists.name == "fs_exists"
    assert run(exists.map(path=paths)) == [True, True, False, False]


def test_errors_are_those_of_the_system(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are no text are errors as anywhere else."""
    (tmp_path / "bad").write_bytes(b"\xff")

    with pytest.raises(FileNotFoundError):
        run(cs.read.text(tmp_path / "none"))
    with pytest.raises(IsADirectoryError):
        run(cs.write.bytes(tmp_path, b""))
    with pytest.raises(UnicodeDecodeError):
        run(cs.read.text(tmp_path / "bad"))


@pytest.mark.parametrize(
    ("write", "content", "error"),
    [
        (cs.write.text, b"bytes", TypeError),
        (cs.write.text, None, TypeError),
        (cs.write.bytes, "text", TypeError),
        (cs.write.bytes, 7, TypeError),
    ],
)
def test_what_cannot_be_written_leaves_the_file_alone(tmp_path: Path, write: Any, content: Any, error: Any) -> None:
    """The content is looked at before the file is."""
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(error):
        run(write(path, content))

    assert path.read_text() == "precious"


def test_text_without_bytes_in_the_encoding_leaves_the_file_alone(tmp_path: Path) -> None:
    """A file is not emptied before it is known that its text can be written."""
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(UnicodeEncodeError):
        run(cs.write.text(path, "é", encoding="ascii"))

    assert path.read_text() == "precious"


# --------------------------------------------------------------------------------------------------------- the threads


@pytest.mark.skipif(os.name != "posix", reason="there are no named pipes")
def test_reading_holds_nobody_up(tmp_path: Path) -> None:
    """While one node reads from a pipe, another one of its stage writes what it waits for."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    assert run([cs.read.text(pipe), cs.write.text(pipe, "through")]) == ["through", None]


@pytest.mark.skipif(os.name != "posix", reason="there are no named pipes")
def test_cancelled_read_ends_at_once(tmp_path: Path) -> None:
    """A read that never returns holds up neither its run nor the end of the event loop."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async def scenario() -> TextIO:
        running = asyncio.create_task(make_engine().run(cs.read.text(pipe)))
        writer = await asyncio.to_thread(pipe.open, "w", encoding="ascii")  # until the reader is there
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return writer

    asyncio.run(scenario()).close()  # until here the thread waits for something to read


@pytest.mark.parametrize("fails", [False, True], ids=["complete", "failed"])
def test_cancelled_write_is_complete_or_never_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    """When the cancelled run has ended, its write has, too; an error that nobody waits for is not complained of."""
    begun, go_on = threading.Event(), threading.Event()
    path = tmp_path / "file"
    write = Path.write_bytes

    def slow(self: Path, content: bytes) -> int:
        begun.set()
        go_on.wait()
        if fails:
            raise OSError("disk full")
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", slow)

    async def scenario() -> None:
        running = asyncio.create_task(make_engine().run(cs.write.text(path, "whole")))
        await asyncio.to_thread(begun.wait)
        running.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not running.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
    gc.collect()

    assert path.exists() is not fails
    assert caplog.records == []


def test_second_cancellation_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that is stuck can be given up."""
    begun, go_on = threading.Event(), threading.Event()

    def stuck(self: Path, content: bytes) -> None:
        begun.set()
        go_on.wait()

    monkeypatch.setattr(Path, "write_bytes", stuck)

    async def scenario() -> None:
        running = asyncio.create_task(io._write_text_task.func(tmp_path / "file", ""))
        await asyncio.to_thread(begun.wait)
        for _ in range(2):
            running.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
    go_on.set()


# ------------------------------------------------------------------------------------------------------- in workflows


def test_files_in_loops_and_maps(tmp_path: Path) -> None:
    """A loop that reads and writes at each step runs hot; ``map`` takes lists; a retry reads again."""
    path = tmp_path / "log"
    path.touch()

    @cs.task
    def grow(left: int, _: None) -> Any:
        return grow(left - 1, cs.write.text(path, cs.format("{}{}", cs.read.text(path), left))) if left else "done"

    @cs.task
    def make(missing: Path) -> Any:
        missing.write_text("there")
        raise FileNotFoundError(missing)

    engine = make_engine()

    assert run(grow(5, None), engine) == "done"
    assert path.read_text() == "54321"
    assert engine.stats.hot >= 3
    assert run(cs.read.text.map(path=[path, path])) == ["54321"] * 2
    with pytest.raises(FileNotFoundError):
        run(make(tmp_path / "late"))
    assert run(cs.read.text(tmp_path / "late").with_retry(2)) == "there"

"""Running other programs.

A process is started as the leader of a group of its own, so that a cancelled task can end whatever it has started.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from subprocess import PIPE
from typing import Any

from cascade.providers.registry import LazyFactory
from cascade.spec.task import task

__all__ = ["ShellError", "ShellProvider"]


class ShellError(RuntimeError):
    """A command failed; negative exit codes are signals.

    The text does not tell the command, which may hold passwords.
    """

    def __init__(self, exit_code: int, stdout: str, stderr: str) -> None:
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr
        super().__init__(exit_code, stdout, stderr)

    def __str__(self) -> str:
        return f"Shell command failed with exit code {self.exit_code}\nstdout: {self.stdout}\nstderr: {self.stderr}"


@task(name="shell")
async def _shell_task(command: str | Sequence[str], check: bool = True) -> str:
    """Run a command and return what it prints on standard output, stripped; bytes that are no UTF-8 are replaced.

    Args:
        command: a text for the shell of the platform; or a program and its arguments in a list, which no shell
            touches, so that they may come from elsewhere.
        check: whether an exit code other than 0 is an error.

    Raises:
        ShellError: (RuntimeError) the command failed, and ``check`` is set; the text has both outputs.
        OSError: there is no such program.
    """
    process = await _started(command)
    try:
        await process.ended.wait()
    finally:
        await process.close()
    stdout, stderr = process.texts()
    if check and process.exit_code != 0:
        raise ShellError(process.exit_code, stdout, stderr)
    return stdout


class _Process(asyncio.SubprocessProtocol):
    """A process, and what it has printed so far."""

    _transport: asyncio.SubprocessTransport

    def __init__(self) -> None:
        #: The process has been waited for, and the pipes of its outputs are closed.
        self.ended = asyncio.Event()
        self._outputs = {1: bytearray(), 2: bytearray()}

    @property
    def exit_code(self) -> int:
        code = self._transport.get_returncode()
        assert code is not None
        return code

    def texts(self) -> list[str]:
        """Return both outputs, stripped."""
        return [output.decode("utf-8", "replace").strip() for output in self._outputs.values()]

    async def close(self) -> None:
        """Kill the process and its group unless it has ended, and wait for that."""
        if not self.ended.is_set():
            _kill_group(self._transport.get_pid())
        self._transport.close()  # our ends of the pipes too: a process that left the group may hold the others
        await self.ended.wait()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._outputs[fd] += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


async def _started(command: str | Sequence[str]) -> _Process:
    """Start a process. When this is cancelled meanwhile, the process is not left behind."""
    starting = asyncio.ensure_future(_start(command))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await (await starting).close()
        raise


async def _start(command: str | Sequence[str]) -> _Process:
    loop = asyncio.get_running_loop()
    # The standard input is ours. A new session, as a new group alone would be stopped when it reads from a terminal.
    options: dict[str, Any] = {"stdin": None, "stdout": PIPE, "stderr": PIPE, "start_new_session": True}
    if isinstance(command, str):
        _, process = await loop.subprocess_shell(_Process, command, **options)
    else:
        _, process = await loop.subprocess_exec(_Process, *_arguments(command), **options)
    return process


def _arguments(command: Sequence[str]) -> Sequence[str]:
    if not isinstance(command, (list, tuple)) or not command:
        raise TypeError(f"shell needs a text, or a list of a program and its arguments, not {type(command).__name__}")
    for argument in command:
        if not isinstance(argument, (str, os.PathLike)):
            raise TypeError(f"shell: each argument has to be text, not {type(argument).__name__}")
    return command


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except AttributeError:  # no groups on this platform: closing the transport kills the process alone
        pass
    except ProcessLookupError:
        pass


class ShellProvider:
    """``cascade.shell``."""

    name = "shell"

    def create_factory(self) -> LazyFactory:
        return _shell_task

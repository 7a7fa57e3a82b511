"""Running the workflow of another file."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import ChainMap
from contextvars import copy_context
from pathlib import Path
from typing import Any

from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.context import WorkflowContext, _current_context, get_current_context
from cascade.providers._files import execute
from cascade.providers._threads import look
from cascade.providers.registry import LazyFactory, Provider
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.spec.input import InputSpec
from cascade.spec.task import task

__all__ = ["SubflowProvider"]


@task(name="subflow")
async def _subflow_task(path: str, target: str, params: dict[str, Any] | None = None) -> Any:
    """Execute a Python file and run what it calls ``target``, in an engine of its own.

    The other workflow gets ``params`` and nothing else of this run: no resources, no subscribers, no connector. Inputs
    that it declares stay its own.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: the file cannot be executed; the cause says why.
        ValueError: it defines nothing called ``target``.
        Exception: whatever a task of the other workflow raised, unchanged.
    """
    context = copy_context()
    context.run(_current_context.set, _SubflowContext(get_current_context()))
    lazy = await look(context.run, _load, path, target)
    return await asyncio.create_task(_run(lazy, params), context=context)


async def _run(lazy: Any, params: dict[str, Any] | None) -> Any:
    executor = LocalExecutor()
    try:
        return await Engine(NativeSolver(), executor, MessageBus()).run(lazy, params)
    finally:
        executor.close()


class _SubflowContext(WorkflowContext):
    """The inputs that one subflow declares; behind them those of its caller, and of all subflows so far.

    A module that a file imports declares its inputs only when it is imported for the first time: that may have been
    for the caller, or for another subflow.
    """

    _all: dict[str, InputSpec] = {}  # noqa: RUF012 - shared by all

    def __init__(self, caller: WorkflowContext) -> None:
        self._own: dict[str, InputSpec] = {}
        self.input_specs = ChainMap(self._own, caller.input_specs, self._all)  # type: ignore[assignment]

    def register(self, spec: InputSpec) -> None:
        self._own.setdefault(spec.name, spec)
        self._all[spec.name] = spec


def _load(path: str, target: str) -> Any:
    if not os.path.isfile(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    try:
        module = execute(Path(path))
    except (Exception, SystemExit) as error:  # a file that calls sys.exit() ends nothing but itself
        raise RuntimeError(f"Error executing subflow '{path}': {type(error).__name__}: {error}") from error
    try:
        return vars(module)[target]
    except KeyError:
        raise ValueError(f"Target '{target}' not found in subflow '{path}'") from None


class SubflowProvider(Provider):
    """``cascade.subflow``."""

    name = "subflow"

    def create_factory(self) -> LazyFactory:
        return _subflow_task

"""Objects whose attributes are looked at: each class of the surface is called with one sample per parameter."""

from __future__ import annotations

import asyncio
import importlib
import os
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

from tests.surface.calls import Wanted

__all__ = ["SAMPLES", "analysed_task", "sample"]


def countdown(n: int) -> Any:
    """Stands for the function of a user."""
    return countdown(n - 1) if n else "done"


def _made(dotted: str, *arguments: Any) -> Callable[[], Any]:
    module, _, name = dotted.partition(":")
    return lambda: getattr(importlib.import_module(module), name)(*arguments)


def _engine() -> Any:
    return _made("cascade.runtime.engine:Engine", SAMPLES["solver"](), SAMPLES["executor"](), SAMPLES["bus"]())()


#: What to pass for a parameter of this name.
SAMPLES: dict[str, Callable[[], Any]] = {
    "_dependencies": list,
    "_uuid": lambda: "u",
    "arg_name": lambda: "x",
    "args": tuple,
    "backoff": lambda: 3.5,
    "bus": _made("cascade.runtime.bus:MessageBus"),
    "client": object,
    "connector": _made("cascade.connectors.local.bus:LocalBusConnector"),
    "constraint_manager": lambda: _engine().constraint_manager,
    "current_task": _made("cascade.spec.task:Task", countdown),
    "db_path": lambda: os.path.join(tempfile.gettempdir(), "cascade-surface", "control.db"),
    "delay": lambda: 2.5,
    "dependency_id": lambda: "d",
    "event_bus": _made("cascade.runtime.bus:MessageBus"),
    "executor": _made("cascade.adapters.executors.local:LocalExecutor"),
    "factory": lambda: SAMPLES["task"](),
    "func": lambda: countdown,
    "graph": _made("cascade.graph.model:Graph"),
    "hostname": lambda: "localhost",
    "instance_map": dict,
    "kwargs": dict,
    "mapping_kwargs": dict,
    "max_attempts": lambda: 4,
    "mode": lambda: "compute",
    "name": lambda: "other",
    "node_processor": lambda: _engine().node_processor,
    "pure": lambda: True,
    "resolver": _made("cascade.graph.ast_analyzer:ReferenceResolver", countdown),
    "resource_container": lambda: _engine().resource_container,
    "resource_manager": lambda: _engine().resource_manager,
    "resource_name": lambda: "x",
    "routes": dict,
    "run_id": lambda: "run",
    "selector": lambda: SAMPLES["target"](),
    "size": lambda: 1,
    "solver": _made("cascade.adapters.solvers.native:NativeSolver"),
    "store": _made("cascade.common.messaging.bus:MessageStore"),
    "system_resources": dict,
    "target": lambda: _made("cascade.spec.task:Task", countdown)()(3),
    "target_node_id": lambda: "x",
    "target_path": lambda: "x",
    "task": _made("cascade.spec.task:Task", countdown),
    "task_id": lambda: "t",
    "uds_path": lambda: os.path.join(tempfile.gettempdir(), "cascade-surface.sock"),
    "wakeup_event": asyncio.Event,
}


def sample(cls: Callable[..., Any], wanted: Iterable[Wanted]) -> tuple[Any, dict[str, Any]]:
    """Return an object of a class, and the arguments that it was made with.

    Every parameter without a default is passed, and the path of a database, which is not to be the user's own.
    """
    given = {
        want["name"]: SAMPLES[want["name"]]()
        for want in wanted
        if ("default" not in want or want["name"] == "db_path") and not want["kind"].startswith("VAR_")
    }
    return cls(**given), given


def analysed_task() -> Any:
    """Return a task that calls itself, after the search for tail calls."""
    task = _made("cascade.spec.task:Task", _recursive)()
    _recursive.__globals__["_itself"] = task
    importlib.import_module("cascade.graph.ast_analyzer").assign_tco_cycle_ids(task)
    return task


_itself: Any = None


def _recursive(n: int) -> Any:
    if n:
        return _itself(n - 1)
    return "done"

"""Cascade: tasks that call tasks, run by an engine on asyncio.

    import cascade as cs
    countdown = cs.task(lambda n: countdown(n - 1) if n else "done", name="countdown")
    print(cs.run(countdown(100_000)))

Importing this package loads what it takes to declare tasks; everything else is loaded when it is first named. A name
that is none of the package's own is that of a provider: ``cascade.shell``, ``cascade.http.get``.

Type checkers and editors read ``__init__.pyi``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from cascade.spec.constraint import with_constraints
from cascade.spec.lazy_types import LazyResult
from cascade.spec.resource import inject, resource
from cascade.spec.routing import Router
from cascade.spec.task import task

__version__ = "0.1.0"

__all__ = [
    "DependencyMissingError",
    "Engine",
    "Env",
    "Event",
    "Jump",
    "LazyResult",
    "MessageBus",
    "Outcome",
    "Param",
    "Router",
    "RunStats",
    "__version__",
    "arun",
    "bind",
    "create_cli",
    "dry_run",
    "explain",
    "from_json",
    "get_current_context",
    "inject",
    "override_resource",
    "pipeline",
    "resource",
    "run",
    "run_outcome",
    "select_jump",
    "sequence",
    "task",
    "to_json",
    "visualize",
    "with_constraints",
]

#: Where the names live that are loaded when they are first asked for. Those that ``__all__`` leaves out may be imported
#: by name: the older engine had them here.
_HOMES = {
    "CliRenderer": "cascade.common.renderers",
    "Connector": "cascade.spec.protocols",
    "CascadeApp": "cascade.app",
    "DependencyMissingError": "cascade.runtime.exceptions",
    "Engine": "cascade.runtime.engine",
    "Env": "cascade.inputs",
    "EnvSpec": "cascade.spec.input",
    "Event": "cascade.runtime.events",
    "HumanReadableLogSubscriber": "cascade.runtime.subscribers",
    "JsonRenderer": "cascade.common.renderers",
    "Jump": "cascade.spec.jump",
    "LocalExecutor": "cascade.adapters.executors.local",
    "MessageBus": "cascade.runtime.bus",
    "NativeSolver": "cascade.adapters.solvers.native",
    "Outcome": "cascade.runtime.stats",
    "Param": "cascade.inputs",
    "ParamSpec": "cascade.spec.input",
    "RunStats": "cascade.runtime.stats",
    "StateBackend": "cascade.spec.protocols",
    "TelemetrySubscriber": "cascade.runtime.subscribers",
    "_create_state_backend_factory": "cascade._state_backends",
    "arun": "cascade._face",
    "bind": "cascade.control_flow",
    "bus": "cascade.common.messaging.bus",
    "create_cli": "cascade.tools.cli",
    "dry_run": "cascade.tools.preview",
    "explain": "cascade._explain",
    "from_json": "cascade.graph.serialize",
    "get_current_context": "cascade.context",
    "override_resource": "cascade.testing",
    "pipeline": "cascade.flow",
    "run": "cascade._face",
    "run_outcome": "cascade._face",
    "select_jump": "cascade.control_flow",
    "sequence": "cascade.flow",
    "to_json": "cascade.graph.serialize",
    "visualize": "cascade.tools.visualize",
}

#: Modules that are attributes of the package without having been imported.
_MODULES = frozenset(
    {"adapters", "common", "context", "flow", "graph", "providers", "runtime", "spec", "testing", "tools"}
)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is not None:
        value = getattr(import_module(home), name)
    elif name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        return _provider(name)
    globals()[name] = value  # so that this is asked once
    return value


def _provider(name: str) -> Any:
    if not name.startswith("_"):  # what Python and its tools ask every module for is no provider
        from cascade.providers.registry import registry

        try:
            return registry.get(name)
        except AttributeError:  # said below, as of any module
            pass
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from cascade.providers.registry import registry

    return sorted({*globals(), *_HOMES, *_MODULES, *registry.below()})

import builtins
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from cascade import adapters as adapters
from cascade import common as common
from cascade import context as context
from cascade import flow as flow
from cascade import fs as fs
from cascade import graph as graph
from cascade import http as http
from cascade import io as io
from cascade import ipfs as ipfs
from cascade import providers as providers
from cascade import read as read
from cascade import runtime as runtime
from cascade import spec as spec
from cascade import testing as testing
from cascade import tools as tools
from cascade import write as write
from cascade._explain import explain as explain
from cascade._face import arun as arun
from cascade._face import run as run
from cascade._face import run_outcome as run_outcome
from cascade._state_backends import _create_state_backend_factory as _create_state_backend_factory
from cascade.adapters.executors.local import LocalExecutor as LocalExecutor
from cascade.adapters.solvers.native import NativeSolver as NativeSolver
from cascade.app import CascadeApp as CascadeApp
from cascade.common.messaging.bus import bus as bus
from cascade.common.renderers import CliRenderer as CliRenderer
from cascade.common.renderers import JsonRenderer as JsonRenderer
from cascade.context import get_current_context as get_current_context
from cascade.control_flow import bind as bind
from cascade.control_flow import select_jump as select_jump
from cascade.flow import pipeline as pipeline
from cascade.flow import sequence as sequence
from cascade.graph.serialize import from_json as from_json
from cascade.graph.serialize import to_json as to_json
from cascade.inputs import Env as Env
from cascade.inputs import Param as Param
from cascade.runtime.bus import MessageBus as MessageBus
from cascade.runtime.engine import Engine as Engine
from cascade.runtime.events import Event as Event
from cascade.runtime.exceptions import DependencyMissingError as DependencyMissingError
from cascade.runtime.stats import Outcome as Outcome
from cascade.runtime.stats import RunStats as RunStats
from cascade.runtime.subscribers import HumanReadableLogSubscriber as HumanReadableLogSubscriber
from cascade.runtime.subscribers import TelemetrySubscriber as TelemetrySubscriber
from cascade.spec.constraint import with_constraints as with_constraints
from cascade.spec.input import EnvSpec as EnvSpec
from cascade.spec.input import ParamSpec as ParamSpec
from cascade.spec.jump import Jump as Jump
from cascade.spec.lazy_types import LazyResult as LazyResult
from cascade.spec.protocols import Connector as Connector
from cascade.spec.protocols import StateBackend as StateBackend
from cascade.spec.resource import inject as inject
from cascade.spec.resource import resource as resource
from cascade.spec.routing import Router as Router
from cascade.spec.task import task as task
from cascade.testing import override_resource as override_resource
from cascade.tools.cli import create_cli as create_cli
from cascade.tools.preview import dry_run as dry_run
from cascade.tools.visualize import visualize as visualize

__version__: str

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

# Providers: each call returns a lazy result, and each argument may be one. Some are functions, the others are tasks.
@task
def dict(**kwargs: Any) -> LazyResult[builtins.dict[str, Any]]: ...
@task
def format(template: str | LazyResult[Any], *args: Any, **kwargs: Any) -> LazyResult[str]: ...
@task
def load_yaml(path: str | PathLike[str] | LazyResult[Any]) -> LazyResult[Any]: ...
@task
def lookup(source: Any, key: str | LazyResult[Any]) -> LazyResult[Any]: ...
@task
def recv(topic: str | LazyResult[Any], timeout: float | LazyResult[Any] | None = None) -> LazyResult[Any]: ...
@task
def shell(command: str | Sequence[Any] | LazyResult[Any], check: bool | LazyResult[Any] = True) -> LazyResult[str]: ...
def sql(
    query: str | LazyResult[Any], db: str, params: Mapping[str, Any] | LazyResult[Any] | None = None
) -> LazyResult[list[builtins.dict[str, Any]]]: ...
@task
def subflow(
    path: str | PathLike[str] | LazyResult[Any],
    target: str | LazyResult[Any],
    params: Mapping[str, Any] | LazyResult[Any] | None = None,
) -> LazyResult[Any]: ...
@task
def template(
    template_string: str | LazyResult[Any], context: Mapping[str, Any] | LazyResult[Any] | None = None, **kwargs: Any
) -> LazyResult[str]: ...
@task
def wait(delay: float | LazyResult[Any]) -> LazyResult[None]: ...

"""What runs a workflow: engine, events, resources, constraints, strategies."""

from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.runtime.events import Event
from cascade.runtime.exceptions import DependencyMissingError
from cascade.runtime.resource_manager import ResourceManager
from cascade.runtime.subscribers import HumanReadableLogSubscriber
from cascade.spec.protocols import CachePolicy, ExecutionPlan, Executor, Solver

__all__ = [
    "CachePolicy",
    "DependencyMissingError",
    "Engine",
    "Event",
    "ExecutionPlan",
    "Executor",
    "HumanReadableLogSubscriber",
    "MessageBus",
    "ResourceManager",
    "Solver",
]

"""Ways to execute a target."""

from cascade.runtime.strategies.base import ExecutionStrategy
from cascade.runtime.strategies.graph import GraphExecutionStrategy
from cascade.runtime.strategies.vm import VMExecutionStrategy

__all__ = ["ExecutionStrategy", "GraphExecutionStrategy", "VMExecutionStrategy"]

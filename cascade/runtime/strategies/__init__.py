"""Ways to execute a target."""

from cascade.runtime.strategies.base import ExecutionStrategy
from cascade.runtime.strategies.graph import GraphExecutionStrategy

__all__ = ["ExecutionStrategy", "GraphExecutionStrategy"]

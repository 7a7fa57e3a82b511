"""Solvers: the order in which the nodes of a graph run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade.adapters.solvers.native import NativeSolver

if TYPE_CHECKING:
    from cascade.adapters.solvers.csp import CSPSolver

__all__ = ["CSPSolver", "NativeSolver"]


def __getattr__(name: str) -> Any:
    # Few need it, so its module is loaded when it is first named.
    if name == "CSPSolver":
        from cascade.adapters.solvers.csp import CSPSolver

        return CSPSolver
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

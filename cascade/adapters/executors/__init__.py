"""Executors: where the function of a node runs."""

from __future__ import annotations

from cascade.adapters.executors.local import LocalExecutor

__all__ = ["LocalExecutor"]

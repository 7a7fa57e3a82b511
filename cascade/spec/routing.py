"""A choice between lazy results, made when the selector's value is known."""

from __future__ import annotations

from cascade._kernel import Router

__all__ = ["Router"]

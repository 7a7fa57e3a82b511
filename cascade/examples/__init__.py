"""Workflows to use or to copy."""

from __future__ import annotations

__all__: list[str] = []

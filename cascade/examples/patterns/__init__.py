"""Workflows that others run by ``cascade.subflow``."""

from __future__ import annotations

__all__: list[str] = []

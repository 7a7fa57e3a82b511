"""Key-value stores with expiry."""

from __future__ import annotations

from cascade.adapters.cache.in_memory import InMemoryCacheBackend

__all__ = ["InMemoryCacheBackend"]

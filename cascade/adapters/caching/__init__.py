"""Cache policies: when a call need not run."""

from __future__ import annotations

from cascade.adapters.caching.file_existence import FileExistenceCache

__all__ = ["FileExistenceCache"]

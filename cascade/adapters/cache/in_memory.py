"""A key-value store with expiry in dictionaries."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["InMemoryCacheBackend"]

_SWEEP_FROM = 64


class InMemoryCacheBackend:
    """Values of one process; expired ones go when they are read, and in sweeps when many have an expiry."""

    def __init__(self) -> None:
        self._store: dict[str, Any] = {}
        #: Unix time from which a key of ``_store`` is gone; keys without ttl are absent.
        self._expiry: dict[str, float] = {}
        #: Size of ``_expiry`` at which the next sweep is due; doubling it keeps sweeping cheap per write.
        self._sweep_at = _SWEEP_FROM

    async def get(self, key: str) -> Any | None:
        """Return the value, or None; ``has`` tells a stored None from nothing."""
        self._drop_if_expired(key, time.time())
        return self._store.get(key)

    async def has(self, key: str) -> bool:
        """Whether a value, None included, is stored and has not expired."""
        self._drop_if_expired(key, time.time())
        return key in self._store

    async def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        """Keep a value for ``ttl`` seconds; without ttl for good, whatever was said before."""
        self._store[key] = value
        if ttl is None:
            self._expiry.pop(key, None)
            return
        self._expiry[key] = time.time() + ttl
        if len(self._expiry) >= self._sweep_at:
            self._sweep()

    def _drop_if_expired(self, key: str, now: float) -> None:
        expiry = self._expiry.get(key)
        if expiry is not None and expiry <= now:
            del self._expiry[key]
            self._store.pop(key, None)

    def _sweep(self) -> None:
        now = time.time()
        for key in list(self._expiry):
            self._drop_if_expired(key, now)
        self._sweep_at = max(_SWEEP_FROM, 2 * len(self._expiry))

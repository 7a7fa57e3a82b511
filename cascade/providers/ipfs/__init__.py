"""Content-addressed files, by the HTTP interface of an IPFS node: ``provider`` and ``cache``."""

from __future__ import annotations

__all__: list[str] = []

"""A cache whose values are files in IPFS."""

from __future__ import annotations

import logging
from typing import Any

from cascade.adapters.serializers import MsgpackSerializer, Serializer
from cascade.common.redaction import redact
from cascade.providers import http
from cascade.providers._threads import look
from cascade.providers.ipfs.provider import cid_of, content_of
from cascade.spec.protocols import CacheBackend

__all__ = ["IpfsCacheBackend"]

_log = logging.getLogger(__name__)


class IpfsCacheBackend(CacheBackend):
    """Keeps values in IPFS, and which CID belongs to which key in another backend.

    Whatever goes wrong is logged as a warning and reads as a miss: the workflow then computes what it could not find.

    Args:
        metadata_backend: keeps the CIDs, and forgets them in time.
        ipfs_api_url: where the node's interface listens.
        serializer: makes bytes of values; by default ``MsgpackSerializer()``, which keeps plain data, and runs no code
            when it reads, whoever wrote the bytes.

    Raises:
        ImportError: aiohttp, or msgspec for the default serializer, is not installed.
    """

    def __init__(
        self,
        metadata_backend: CacheBackend,
        ipfs_api_url: str = "http://127.0.0.1:5001",
        *,
        serializer: Serializer | None = None,
    ) -> None:
        http.require_library()
        self._metadata_backend = metadata_backend
        self._api = f"{ipfs_api_url.rstrip('/')}/api/v0"
        self._serializer = serializer if serializer is not None else MsgpackSerializer()

    async def get(self, key: str) -> Any | None:
        """Return the value, or None."""
        try:
            cid = await self._metadata_backend.get(key)
            if cid is None:
                return None
            response = await http._perform_request(f"{self._api}/cat", "POST", params={"arg": cid})
            return await look(self._serializer.loads, content_of(response))
        except Exception as error:
            self._warn("read", key, error)
            return None

    async def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        """Keep a value for ``ttl`` seconds, or for good."""
        try:
            data = await look(self._serializer.dumps, value)
            response = await http._perform_request(f"{self._api}/add", "POST", files={"file": data})
            await self._metadata_backend.set(key, cid_of(response), ttl=ttl)
        except Exception as error:
            self._warn("write", key, error)

    def _warn(self, what: str, key: str, error: Exception) -> None:
        _log.warning("IPFS cache could not %s %r: %s: %s", what, key, type(error).__name__, redact(str(error)))

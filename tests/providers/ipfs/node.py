"""A stand-in for an IPFS node: keeps files by the hash of their content and speaks ``/api/v0/add`` and ``cat``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from tests.providers.loopback import serving

__all__ = ["Node", "running_node"]


class Node:
    """What the node holds, and where it listens."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.names: list[str | None] = []
        self.url = ""

    async def api(self, request: web.Request) -> web.Response:
        if request.method != "POST":
            return web.Response(status=405, text="405 - Method Not Allowed")
        if request.path == "/api/v0/add":
            return await self._add(request)
        if request.path == "/api/v0/cat":
            return self._cat(request.query.get("arg", ""))
        return web.Response(status=404, text="404 page not found")

    async def _add(self, request: web.Request) -> web.Response:
        lines = []
        async for part in await request.multipart():
            if part.name == "file":  # type: ignore[union-attr]
                content = bytes(await part.read())  # type: ignore[union-attr]
                cid = "Qm" + hashlib.sha256(content).hexdigest()[:44]
                self.files[cid] = content
                self.names.append(part.filename)  # type: ignore[union-attr]
                lines = [{"Name": "part", "Bytes": len(content)}, {"Name": "file", "Hash": cid, "Size": "1"}]
        return web.Response(text="".join(json.dumps(line) + "\n" for line in lines))

    def _cat(self, cid: str) -> web.Response:
        if cid not in self.files:
            return web.json_response({"Message": "merkledag: not found", "Code": 0, "Type": "error"}, status=500)
        return web.Response(body=self.files[cid])


@contextmanager
def running_node() -> Iterator[Node]:
    """Run a node for the duration of the block."""
    node = Node()
    with serving(api=node.api) as url:
        node.url = url
        yield node

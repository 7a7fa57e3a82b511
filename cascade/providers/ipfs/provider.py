"""Reading and adding files: each is a request to the node and a task that reads its answer."""

from __future__ import annotations

import json
from typing import Any, cast

from cascade.common.redaction import redact
from cascade.providers import http
from cascade.providers.http import HttpResponse
from cascade.providers.registry import LazyFactory, Provider
from cascade.spec.lazy_types import LazyResult
from cascade.spec.task import task

__all__ = ["IPFS_API_BASE_URL", "IpfsAddProvider", "IpfsCatProvider", "add", "cat"]

#: Where the node's interface listens; read at every call of ``cat`` and ``add``.
IPFS_API_BASE_URL = "http://127.0.0.1:5001"

#: So much of the node's own words is shown.
_WORDS = 500


def cat(cid: str) -> LazyResult[bytes]:
    """Return the call that reads the bytes of a CID.

    Running it raises ``RuntimeError`` when the node reports an error, and what ``cascade.http.post`` raises when the
    node cannot be reached.
    """
    request = http._http_post_task(url=_url("cat"), params={"arg": cid})
    return cast("LazyResult[bytes]", _parse_cat_response(request))


def add(path: str) -> LazyResult[str]:
    """Return the call that adds a local file and gives its CID; it fails as that of :func:`cat` does."""
    request = http._http_post_task(url=_url("add"), files={"file": path})
    return cast("LazyResult[str]", _parse_add_response(request))


def _url(call: str) -> str:
    return f"{IPFS_API_BASE_URL.rstrip('/')}/api/v0/{call}"


@task(name="_ipfs_parse_cat_response")
def _parse_cat_response(response: HttpResponse) -> bytes:
    """Return the content in an answer of the node."""
    return content_of(response)


@task(name="_ipfs_parse_add_response")
def _parse_add_response(response: HttpResponse) -> str:
    """Return the CID in an answer of the node."""
    return cid_of(response)


def content_of(response: HttpResponse) -> bytes:
    """Return the body of an answer.

    Raises:
        RuntimeError: the node reports an error.
    """
    if response.status >= 400:
        words = response.body.decode(errors="replace")[:_WORDS].strip()
        raise RuntimeError(f"IPFS API Error ({response.status}): {redact(words)}")
    return response.body


def cid_of(response: HttpResponse) -> str:
    """Return ``Hash`` of the last line of an answer: the lines before it tell of progress and of parts.

    Raises:
        RuntimeError: the node reports an error, or its answer holds no CID.
    """
    lines = content_of(response).splitlines()
    answer: Any = None
    try:
        answer = json.loads(lines[-1])
        return str(answer["Hash"])
    except (IndexError, KeyError, TypeError, ValueError):
        raise RuntimeError(f"IPFS API Error ({response.status}): the answer of 'add' holds no CID") from None


class IpfsCatProvider(Provider):
    """``cascade.ipfs.cat``."""

    name = "ipfs.cat"

    def create_factory(self) -> LazyFactory:
        return cast(LazyFactory, cat)


class IpfsAddProvider(Provider):
    """``cascade.ipfs.add``."""

    name = "ipfs.add"

    def create_factory(self) -> LazyFactory:
        return cast(LazyFactory, add)

"""HTTP requests, by aiohttp.

Each request has a session of its own, closed however the request ends. Time limits are aiohttp's: five minutes for the
whole request, 30 seconds to connect a socket; redirects are followed, ten at most, and lose the ``Authorization``
header when they lead to another host. For a limit of your own use ``asyncio.timeout`` in a task, or cancel the run.
"""

from __future__ import annotations

import json as _json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from cascade.providers._http_body import header_text, make_body, pairs
from cascade.providers._http_errors import secrets_of, without_secrets
from cascade.providers.registry import LazyFactory, Provider
from cascade.spec.task import task

try:
    import aiohttp
except ImportError:  # said when a request is made
    aiohttp = None  # type: ignore[assignment, unused-ignore]

__all__ = [
    "HttpDeleteProvider",
    "HttpGetProvider",
    "HttpPostProvider",
    "HttpPutProvider",
    "HttpRequestProvider",
    "HttpResponse",
]


@dataclass(repr=False)
class HttpResponse:
    """What a server answered, whatever its status.

    ``headers`` are named as the server wrote them; values of a header that came several times are joined by ``", "``.
    Its ``repr`` shows neither headers nor body.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    def text(self, encoding: str = "utf-8") -> str:
        """Return the body as text."""
        return self.body.decode(encoding)

    def json(self) -> Any:
        """Return the body's JSON value (UTF-8, UTF-16 or UTF-32)."""
        return _json.loads(self.body)

    def __repr__(self) -> str:
        return f"<HttpResponse status={self.status}>"


def require_library() -> None:
    """Do nothing, unless aiohttp is not installed: then raise ImportError."""
    if aiohttp is None:
        raise ImportError("The 'aiohttp' library is required for HTTP requests: pip install 'cascade-hot[http]'")


async def _perform_request(
    url: str,
    method: str,
    params: dict[str, Any] | None = None,
    json_data: Any | None = None,
    headers: dict[str, str] | None = None,
    data: Any | None = None,
    files: dict[str, Any] | None = None,
) -> HttpResponse:
    """Send a request and return the answer, read to its end.

    Args:
        url: where to; a query in it stays, ``params`` are added.
        method: GET, POST, or any other.
        params: values of the query. A list gives its name several times, None leaves it out.
        json_data: body, sent as JSON.
        headers: by name; None leaves one out.
        data: body: bytes, text (UTF-8), a file object, or a dict, which is sent as a form.
        files: form fields by name: the path of an existing file is uploaded under its base name, read in a thread
            while it is sent; bytes are uploaded under the field's name; other text is the field's value.

    Raises:
        ImportError: aiohttp is not installed.
        ValueError, TypeError: the body cannot be made of what was given, or the URL is none.
        aiohttp.ClientError, TimeoutError, OSError: no answer came. No text of an error shows credentials, headers or
            values of the query.
    """
    require_library()
    from cascade.providers._http_session import session_for_one_request

    query = pairs(params)
    sent = {str(name): header_text(value) for name, value in (headers or {}).items() if value is not None}
    try:
        with ExitStack() as opened:
            body = make_body(json_data, data, files, opened)
            async with (
                session_for_one_request() as session,
                session.request(method, url, params=query, data=body, headers=sent) as response,
            ):
                return HttpResponse(response.status, _joined(response.headers), await response.read())
    except Exception as error:
        shown = without_secrets(error, secrets_of(str(url), query, sent))
        if shown is None:
            raise
    raise shown


def _joined(headers: Mapping[str, str]) -> dict[str, str]:
    joined: dict[str, str] = {}
    names: dict[str, str] = {}  # as first written, by lower case
    for name, value in headers.items():
        first = names.setdefault(name.lower(), name)
        joined[first] = f"{joined[first]}, {value}" if first in joined else value
    return joined


@task(name="http_get")
async def _http_get_task(
    url: str, params: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> HttpResponse:
    """Get a URL."""
    return await _perform_request(url, "GET", params=params, headers=headers)


@task(name="http_post")
async def _http_post_task(
    url: str,
    json: Any | None = None,
    data: Any | None = None,
    files: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    params: dict[str, Any] | None = None,
) -> HttpResponse:
    """Post a body."""
    return await _perform_request(url, "POST", params, json, headers, data, files)


@task(name="http_put")
async def _http_put_task(
    url: str,
    json: Any | None = None,
    data: Any | None = None,
    files: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """Put a body."""
    return await _perform_request(url, "PUT", json_data=json, headers=headers, data=data, files=files)


@task(name="http_delete")
async def _http_delete_task(url: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """Delete what a URL names."""
    return await _perform_request(url, "DELETE", headers=headers)


@task(name="http_request")
async def _http_request_task(
    url: str,
    method: str = "GET",
    params: dict[str, Any] | None = None,
    json: Any | None = None,
    data: Any | None = None,
    files: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """Send a request of any method."""
    return await _perform_request(url, method, params, json, headers, data, files)


class HttpGetProvider(Provider):
    """``cascade.http.get``."""

    name = "http.get"

    def create_factory(self) -> LazyFactory:
        return _http_get_task


class HttpPostProvider(Provider):
    """``cascade.http.post``."""

    name = "http.post"

    def create_factory(self) -> LazyFactory:
        return _http_post_task


class HttpPutProvider(Provider):
    """``cascade.http.put``."""

    name = "http.put"

    def create_factory(self) -> LazyFactory:
        return _http_put_task


class HttpDeleteProvider(Provider):
    """``cascade.http.delete``."""

    name = "http.delete"

    def create_factory(self) -> LazyFactory:
        return _http_delete_task


class HttpRequestProvider(Provider):
    """``cascade.http.request``."""

    name = "http.request"

    def create_factory(self) -> LazyFactory:
        return _http_request_task

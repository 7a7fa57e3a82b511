"""Errors of aiohttp without the secrets that they would show: they quote URLs and the headers of requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cascade.common.redaction import MASK, redact, redact_url

__all__ = ["secrets_of", "without_secrets"]


def secrets_of(url: str, query: list[tuple[str, str]] | str | None, headers: Mapping[str, str]) -> set[str]:
    """Return the values of a request that no text may show."""
    found = {value for _, value in parse_qsl(query)} if isinstance(query, str) else {v for _, v in query or ()}
    for name, value in headers.items():
        if name.lower() != "host":
            found.update((value, *value.split()))
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL; then aiohttp says so
        return found
    found.update(value for _, value in parse_qsl(parts.query))
    if parts.password:
        found.update((parts.password, unquote(parts.password)))
    return found


def without_secrets(error: Exception, secrets: set[str]) -> Exception | None:
    """Return an error of the same type that shows no secret, or None when this one shows none, nor its causes do."""
    if not any(_shows(one, secrets) for one in _chain(error)):
        return None
    shown = _remade(error, secrets)
    shown.__cause__ = None
    shown.__context__ = None  # what led to it is what showed the secrets
    return shown


def _shows(error: BaseException, secrets: set[str]) -> bool:
    from aiohttp import ClientResponseError, InvalidURL, NonHttpUrlClientError

    if isinstance(error, ClientResponseError):  # its repr shows all headers
        return True
    if isinstance(error, (InvalidURL, NonHttpUrlClientError)) and "@" in str(error):
        return True
    return any(text != redact(text, secrets) for text in (str(error), repr(error)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__


def _remade(error: Exception, secrets: set[str]) -> Exception:
    from aiohttp import ClientError, ClientResponseError, InvalidURL, NonHttpUrlClientError

    kind: Any = type(error)
    remade: Exception = error
    if isinstance(error, ClientResponseError):
        message = redact(str(error.message), secrets)
        remade = kind(_quiet(error.request_info), (), status=error.status, message=message)
    elif isinstance(error, InvalidURL):
        remade = kind(_hide_all(str(error.url)), error.description and redact(error.description, secrets))
    elif isinstance(error, NonHttpUrlClientError):
        remade = kind(_hide_all(str(error)))
    else:
        text = redact(str(error), secrets)
        error.args = tuple(redact(arg, secrets) if isinstance(arg, str) else arg for arg in error.args)
        if _shows(error, secrets):  # the text is not made of the arguments, or these are no texts
            try:
                remade = kind(text)
            except TypeError:
                remade = ClientError(f"{kind.__name__}: {text}")
    return remade


def _quiet(info: Any) -> Any:
    from aiohttp import RequestInfo
    from multidict import CIMultiDict, CIMultiDictProxy
    from yarl import URL

    url = URL(redact_url(str(info.real_url)))
    return RequestInfo(url, info.method, CIMultiDictProxy(CIMultiDict()), url)


def _hide_all(url: str) -> str:
    """Redact what is no URL: everything up to the last ``@`` may be credentials."""
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    _, at, host = rest.rpartition("@")
    return redact_url(f"{scheme}{mark}{MASK}@{host}" if at else url)

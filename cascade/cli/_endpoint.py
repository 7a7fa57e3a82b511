"""Where a broker is, as an operator writes it, and with which credentials: those are kept apart from what is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from cascade.cli._usage import UsageError

__all__ = ["Endpoint", "endpoint"]

#: Never with what was written instead, which may contain a password.
_REMEDY = "--host: write a host name, USER:PASSWORD@HOST or mqtt://USER:PASSWORD@HOST:PORT, percent-encoded"


@dataclass(frozen=True)
class Endpoint:
    """Host and port of a broker; ``credentials`` are arguments of its client and do not show."""

    hostname: str
    port: int
    credentials: dict[str, str] = field(default_factory=dict, repr=False)


def endpoint(hostname: str, port: int) -> Endpoint:
    """Return where ``--host`` and ``--port`` lead; a port in a URL wins.

    Raises:
        UsageError: they lead nowhere.
    """
    if "@" not in hostname and "://" not in hostname:
        return Endpoint(_plain(hostname), _in_range(port))
    parts = _split(hostname if "://" in hostname else f"mqtt://{hostname}")
    if parts.scheme != "mqtt" or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(_REMEDY)
    given = {"username": parts.username, "password": parts.password}
    credentials = {name: unquote(value) for name, value in given.items() if value}
    return Endpoint(_plain(parts.hostname), _in_range(_port(parts, port)), credentials)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise UsageError(_REMEDY) from None  # its text has the URL


def _port(parts: SplitResult, otherwise: int) -> int:
    try:
        return otherwise if parts.port is None else parts.port
    except ValueError:
        raise UsageError(_REMEDY) from None  # its text may have a part of the password


def _plain(hostname: str) -> str:
    if not hostname or not hostname.isprintable() or any(c in hostname for c in " /#?"):
        raise UsageError(_REMEDY)
    return hostname


def _in_range(port: int) -> int:
    if not 0 < port < 65536:
        raise UsageError(f"--port: {port} is none; write a number from 1 to 65535")
    return port

"""Keeping secrets out of texts that others read: error messages, logs, previews of values.

Two ways of knowing a secret: by its place (whatever stands before the ``@`` of a URL, the values of a query), and by
its value, where the caller has it. What is not known to be a secret stays readable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["MASK", "Secret", "redact", "redact_url"]

#: Stands where a secret was.
MASK = "***"

#: Shorter values are not looked for: they would be found in ordinary words.
_SHORTEST = 4

#: A URL within a text, without the quotes and brackets that may follow it.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+?(?=['`\")\]}>,;.]*(?:\s|$))")
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
#: A piece of a query or a fragment: a name, if there is one, and a value.
_PIECE = re.compile(r"([^=&#?]*=)?([^&#?]*)")
#: A query without the rest of its URL, as relative redirects have it.
_QUERY = re.compile(r"([?&][\w.\[\]-]+=)[^&#\s]+?(?=['`\")\]}>,;.]*(?:[&#\s]|$))")


class Secret(str):
    """A text whose ``repr`` does not show it, so that previews of values, also of containers, do not."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"'{MASK}'"


def redact_url(url: str) -> str:
    """Return a URL without its credentials and without the values of its query and fragment."""
    head, mark, tail = re.split(r"([?#])", url, maxsplit=1) if re.search(r"[?#]", url) else (url, "", "")
    return _USERINFO.sub(f"{MASK}@", head) + mark + _PIECE.sub(_hide_value, tail)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text with its URLs redacted and the given values masked, except very short ones."""
    text = _QUERY.sub(rf"\g<1>{MASK}", _URL.sub(lambda found: redact_url(found[0]), text))
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, MASK)
    return text


def _hide_value(piece: re.Match[str]) -> str:
    return (piece[1] or "") + (MASK if piece[2] else "")

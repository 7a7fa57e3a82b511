"""Texts without the secrets in them."""

from __future__ import annotations

import pytest

from cascade.common.redaction import MASK, Secret, redact, redact_url


@pytest.mark.parametrize(
    "url, shown",
    [
        ("http://host/path", "http://host/path"),
        ("http://user:pw@host:80/a", "http://***@host:80/a"),
        ("http://user@host", "http://***@host"),
        ("http://host/users/@me", "http://host/users/@me"),
        ("http://host/?a=1&b=&token", "http://host/?a=***&b=&***"),
        ("http://host/#access_token=x", "http://host/#access_token=***"),
        ("http://host/?next=http://u:p@other/?t=1#x=2", "http://host/?next=***?t=***#x=***"),
        ("redis://:pw@host/0", "redis://***@host/0"),
    ],
)
def test_urls_lose_credentials_and_values(url: str, shown: str) -> None:
    """Names of a query stay, values go; an ``@`` in a path is no credential."""
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    "text, shown",
    [
        ("no secrets here?", "no secrets here?"),
        ("400, url='http://u:p@h/?t=abc'", "400, url='http://***@h/?t=***'"),
        ("(see http://u:p@h/x), then", "(see http://***@h/x), then"),
        ("http://u:p@h and http://v:q@i", "http://***@h and http://***@i"),
        ("to '/next?token=abc&x=1'", "to '/next?token=***&x=***'"),
        ("http://u:it's@h", "http://***@h"),
        ("custom `http://h/?t=x`.", "custom `http://h/?t=***`."),
    ],
)
def test_texts_lose_what_their_urls_hold(text: str, shown: str) -> None:
    """Each URL of a text is redacted, a query without a URL too; quotes and brackets around them stay."""
    assert redact(text) == shown


def test_known_values_are_masked_longest_first() -> None:
    """A value that contains another leaves nothing of itself behind; very short ones are left where they are."""
    assert redact("Bearer abcdef, abcd, ab", ["abcd", "abcdef", "ab"]) == f"Bearer {MASK}, {MASK}, ab"


def test_a_secret_is_text_that_previews_do_not_show() -> None:
    """``repr`` hides it, also within containers; everything else is as with text."""
    secret = Secret("sk-123")

    assert repr({"key": secret}) == "{'key': '***'}"
    assert (secret, f"{secret}", str(secret)) == ("sk-123", "sk-123", "sk-123")


def test_the_end_of_a_shown_dict_is_no_part_of_a_url():
    """Quotes and brackets of every kind stay."""
    shown = {"a": "http://h/p?page=2", "b": ["http://u:pw@h/?k=v"]}

    assert redact(repr(shown)) == "{'a': 'http://h/p?page=***', 'b': ['http://***@h/?k=***']}"
    assert redact(repr({"a": "http://h/p?page=2"})) == "{'a': 'http://h/p?page=***'}"

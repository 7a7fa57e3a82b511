"""``PickleSerializer``: what it trusts is a key, and nothing else."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from typing import Any, ClassVar

import pytest

from cascade.adapters.serializers import DeserializationError, PickleSerializer, SerializationError

KEY = b"0123456789abcdef"


class Shout:
    """Leaves a trace when it is unpickled."""

    heard: ClassVar[list[str]] = []

    def __reduce__(self) -> Any:
        return shout, ()


def shout() -> None:
    Shout.heard.append("unpickled")


def test_what_is_stored_is_header_signature_and_pickle() -> None:
    """The signature is the HMAC-SHA-256, with the key, of header and pickle."""
    data = PickleSerializer(KEY).dumps({"a": 1})
    header, signature, body = data[:4], data[4:36], data[36:]

    assert header == b"CSP1"
    assert signature == hmac.new(KEY, header + body, hashlib.sha256).digest()
    assert pickle.loads(body) == {"a": 1}


@pytest.mark.parametrize(
    "forge, text",
    [
        (lambda data: data[36:], "no signed pickle of this version"),
        (lambda data: b"CSP2" + data[4:], "no signed pickle of this version"),
        (lambda data: b"", "no signed pickle"),
        (lambda data: data[:20], "signature is not that of this key"),
        (lambda data: data[:4] + bytes(32) + data[36:], "signature is not that of this key"),
        (lambda data: PickleSerializer(KEY[::-1]).dumps(Shout()), "signature is not that of this key"),
        (lambda data: data[:4] + hashlib.sha256(data[36:]).digest() + data[36:], "signature is not that of this key"),
        (lambda data: data[:4] + hmac.digest(KEY, data[36:], "sha256") + data[36:], "signature is not that"),
        (lambda data: data + b".", "signature is not that of this key"),
    ],
)
def test_nothing_is_unpickled_without_a_signature(forge: Any, text: str) -> None:
    """A plain pickle, another version, another key, a hash without key, a signature of less than everything."""
    Shout.heard.clear()

    with pytest.raises(DeserializationError, match=text):
        PickleSerializer(KEY).loads(forge(PickleSerializer(KEY).dumps(Shout())))
    assert Shout.heard == []


def test_a_signed_pickle_is_trusted() -> None:
    """That is the point of the key: what its holder wrote is unpickled, code and all."""
    Shout.heard.clear()
    PickleSerializer(KEY).loads(PickleSerializer(KEY).dumps(Shout()))

    assert Shout.heard == ["unpickled"]


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """``hmac.compare_digest`` decides, so that the time taken tells nothing of the signature."""
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: compared.append((one, other)))

    with pytest.raises(DeserializationError):
        PickleSerializer(KEY).loads(PickleSerializer(KEY).dumps(1))
    assert len(compared) == 1
    assert compared[0][0] == compared[0][1]


@pytest.mark.parametrize("size", [0, 1, 15])
def test_short_keys_are_refused(size: int) -> None:
    """Fewer than 16 bytes can be guessed; the error says how to make a key."""
    with pytest.raises(ValueError, match=rf"key has {size} bytes, at least 16.*secrets\.token_bytes"):
        PickleSerializer(key=b"k" * size)


@pytest.mark.parametrize("key", ["0123456789abcdef", None, bytearray(16), 16])
def test_a_key_is_bytes(key: Any) -> None:
    """Text would need an encoding, and a mutable key could change."""
    with pytest.raises(TypeError, match=r"key must be bytes, not .*secrets\.token_bytes"):
        PickleSerializer(key=key)


def test_the_key_is_not_shown() -> None:
    """Neither ``repr`` nor an error has it."""
    serializer = PickleSerializer(KEY)
    with pytest.raises(DeserializationError) as caught:
        serializer.loads(b"CSP1")

    assert KEY.decode() not in repr(serializer) + repr(caught.value) + str(caught.value)


def test_its_docstring_says_what_it_trusts() -> None:
    """Whoever chooses it reads that holders of the key can run code, and that old values can come again."""
    text = str(PickleSerializer.__doc__)

    assert "This is what it trusts" in text
    assert "Everybody who has the key" in text
    assert "older signed value" in text
    assert "Nothing is encrypted" in text


def test_what_pickle_cannot_store_is_the_typed_error() -> None:
    """Functions without a name, and nesting deeper than Python can call."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]

    for value in (lambda: 0, deep):
        with pytest.raises(SerializationError, match="result cannot be pickled: "):
            PickleSerializer(KEY).dumps(value)
    while deep:
        deep = deep.pop()


def test_a_signed_pickle_that_fits_no_more_is_the_typed_error() -> None:
    """The class that it names may be gone: the cause says so."""
    body = b"cno_such_module\nThing\n."
    data = b"CSP1" + hmac.digest(KEY, b"CSP1" + body, "sha256") + body

    with pytest.raises(DeserializationError, match="ModuleNotFoundError: No module named 'no_such_module'") as caught:
        PickleSerializer(KEY).loads(data)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)

"""Pickles that are unpickled only if somebody with the key wrote them.

    CSP1 | HMAC-SHA-256 of the rest and of these four bytes | pickle
"""

from __future__ import annotations

import hmac
import pickle
from typing import Any

from cascade.adapters.serializers.errors import DeserializationError, SerializationError

__all__ = ["PickleSerializer"]

_HEADER = b"CSP1"  # the digit is the version
_DIGEST = "sha256"
_SIGNED_FROM = len(_HEADER) + 32
_SHORTEST_KEY = 16


class PickleSerializer:
    """Keeps whatever ``pickle`` can, with a signature.

    Unpickling runs code that the bytes name. So bytes are unpickled only if their HMAC-SHA-256 shows that somebody who
    has the key wrote them; others are refused unread. This is what it trusts:

    * **Everybody who has the key.** They can run any code wherever such bytes are read. Keep the key out of the store,
      of the source and of logs, and give each application its own.
    * **That old values do no harm.** A signature does not tell when, or under which name, a value was written: who can
      write to the store can put an older signed value in the place of a newer or another one.

    Nothing is encrypted. Where plain data will do, use :class:`~cascade.adapters.serializers.MsgpackSerializer`, which
    trusts nobody.

    Args:
        key: at least 16 random bytes, such as ``secrets.token_bytes(32)``.

    Raises:
        TypeError: the key is not bytes.
        ValueError: the key is too short.
    """

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes):
            raise TypeError(f"key must be bytes, not {type(key).__name__}: give it secrets.token_bytes(32)")
        if len(key) < _SHORTEST_KEY:
            raise ValueError(
                f"key has {len(key)} bytes, at least {_SHORTEST_KEY} are needed: give it secrets.token_bytes(32)"
            )
        self._key = key

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key=...)"

    def dumps(self, value: Any) -> bytes:
        """Return a value as a signed pickle.

        Raises:
            SerializationError: ``pickle`` cannot store it.
        """
        try:
            body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # pickling runs the value's own methods, which may raise anything
            raise SerializationError("result", f"cannot be pickled: {type(error).__name__}: {error}") from error
        return _HEADER + self._signature(body) + body

    def loads(self, data: bytes) -> Any:
        """Return the value of a signed pickle.

        Raises:
            DeserializationError: the signature is not that of the key, or the pickle cannot be read here.
        """
        data = bytes(data)
        if not data.startswith(_HEADER):
            raise DeserializationError("they are no signed pickle of this version")
        body = data[_SIGNED_FROM:]
        if not hmac.compare_digest(data[len(_HEADER) : _SIGNED_FROM], self._signature(body)):
            raise DeserializationError("their signature is not that of this key")
        try:
            return pickle.loads(body)
        except Exception as error:  # the writer is trusted, but may have had other classes
            raise DeserializationError(f"{type(error).__name__}: {error}") from error

    def _signature(self, body: bytes) -> bytes:
        return hmac.digest(self._key, _HEADER + body, _DIGEST)

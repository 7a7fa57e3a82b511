"""What all that is kept in Redis needs of the library and of a client."""

from __future__ import annotations

from typing import Any

__all__ = ["check_client"]


def check_client(library: Any, client: Any, owner: str) -> None:
    """Refuse to go on without the library, or with a client whose answers would never be awaited, or are no bytes.

    Raises:
        ImportError: ``library`` is None.
        TypeError: the client is one of ``redis.asyncio``, or decodes what it reads.
    """
    if library is None:
        raise ImportError(f"The 'redis' library is required for {owner}: pip install 'cascade-hot[redis]'")
    if type(client).__module__.startswith("redis.asyncio"):
        raise TypeError(f"{owner} takes a redis.Redis, which it calls in threads, not a redis.asyncio.Redis")
    options = getattr(getattr(client, "connection_pool", None), "connection_kwargs", None)
    if isinstance(options, dict) and options.get("decode_responses"):
        raise TypeError(f"{owner} takes a redis.Redis that returns bytes: make it without decode_responses=True")

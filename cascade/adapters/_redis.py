"""What all that is kept in Redis needs of the library and of a client."""

from __future__ import annotations

from typing import Any

__all__ = ["check_client"]


def check_client(library: Any, client: Any, owner: str) -> None:
    """Refuse to go on without the library, or with a client whose answers would never be awaited.

    Raises:
        ImportError: ``library`` is None.
        TypeError: the client is one of ``redis.asyncio``.
    """
    if library is None:
        raise ImportError(f"The 'redis' library is required for {owner}: pip install 'cascade-hot[redis]'")
    if type(client).__module__.startswith("redis.asyncio"):
        raise TypeError(f"{owner} takes a redis.Redis, which it calls in threads, not a redis.asyncio.Redis")

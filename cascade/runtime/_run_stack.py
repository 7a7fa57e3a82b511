"""The stack of what a run has to tear down."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any

__all__ = ["RunStack"]


class RunStack(ExitStack):
    """An exit stack that takes no memory until something is put on it: most runs have no resources.

    An ``ExitStack`` makes a deque when it is made, as large as three of the coroutines that a run consists of.
    """

    def __init__(self) -> None:
        # Not the base's yet: what it sets is missed first, see below.
        pass

    def __getattr__(self, name: str) -> Any:
        """Become an exit stack when the first of its attributes is asked for."""
        if self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        super().__init__()
        return getattr(self, name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, entry: TracebackType | None, /
    ) -> bool | None:
        """Tear down in reverse order, if there is anything."""
        return super().__exit__(kind, error, entry) if self.__dict__ else None

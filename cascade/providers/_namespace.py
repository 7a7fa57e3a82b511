"""What the packages ``cascade.http``, ``cascade.io`` and so on are: modules with the providers of that name.

So ``import cascade.http`` hides nothing that ``cascade.http`` has without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cascade.providers.registry import registry

__all__ = ["attributes"]


def attributes(module: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a module below ``cascade``."""
    prefix = module.partition(".")[2]

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):  # what Python and its tools ask every module for is no provider
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return registry.get(f"{prefix}.{name}")

    def __dir__() -> list[str]:
        return registry.below(prefix)

    return __getattr__, __dir__

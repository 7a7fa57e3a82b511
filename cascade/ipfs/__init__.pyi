from os import PathLike
from typing import Any

from cascade.spec.lazy_types import LazyResult

__all__ = ["add", "cat"]

def add(path: str | PathLike[str] | LazyResult[Any]) -> LazyResult[str]: ...
def cat(cid: str | LazyResult[Any]) -> LazyResult[bytes]: ...

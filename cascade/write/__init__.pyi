import builtins
from os import PathLike
from typing import Any

from cascade.spec.lazy_types import LazyResult
from cascade.spec.task import task

__all__ = ["bytes", "text"]

@task
def bytes(
    path: str | PathLike[str] | LazyResult[Any], content: builtins.bytes | LazyResult[Any]
) -> LazyResult[None]: ...
@task
def text(
    path: str | PathLike[str] | LazyResult[Any],
    content: str | LazyResult[Any],
    encoding: str | LazyResult[Any] = "utf-8",
) -> LazyResult[None]: ...

from os import PathLike
from typing import Any

from cascade.spec.lazy_types import LazyResult
from cascade.spec.task import task

__all__ = ["exists"]

@task
def exists(path: str | PathLike[str] | LazyResult[Any]) -> LazyResult[bool]: ...

from typing import Any

from cascade.spec.lazy_types import LazyResult
from cascade.spec.task import task

__all__ = ["write"]

@task
def write(text: str | LazyResult[Any]) -> LazyResult[None]: ...

from typing import Any

from cascade.spec.lazy_types import LazyResult
from cascade.spec.task import task

__all__ = ["read_line"]

@task
def read_line(*_args: Any) -> LazyResult[str]: ...

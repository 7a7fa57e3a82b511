from typing import Any

from cascade.spec.lazy_types import LazyResult
from cascade.spec.task import task

__all__ = ["read_bytes", "read_text", "write_bytes", "write_text"]

@task
def read_bytes(bucket: str | LazyResult[Any], key: str | LazyResult[Any]) -> LazyResult[bytes]: ...
@task
def read_text(
    bucket: str | LazyResult[Any], key: str | LazyResult[Any], encoding: str | LazyResult[Any] = "utf-8"
) -> LazyResult[str]: ...
@task
def write_bytes(
    bucket: str | LazyResult[Any], key: str | LazyResult[Any], content: bytes | LazyResult[Any]
) -> LazyResult[None]: ...
@task
def write_text(
    bucket: str | LazyResult[Any],
    key: str | LazyResult[Any],
    content: str | LazyResult[Any],
    encoding: str | LazyResult[Any] = "utf-8",
) -> LazyResult[None]: ...

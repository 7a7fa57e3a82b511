from collections.abc import Mapping
from typing import Any

from cascade.providers.http import HttpResponse
from cascade.spec.lazy_types import LazyResult
from cascade.spec.task import task

__all__ = ["delete", "get", "post", "put", "request"]

@task
def delete(
    url: str | LazyResult[Any], headers: Mapping[str, Any] | LazyResult[Any] | None = None
) -> LazyResult[HttpResponse]: ...
@task
def get(
    url: str | LazyResult[Any],
    params: Mapping[str, Any] | LazyResult[Any] | None = None,
    headers: Mapping[str, Any] | LazyResult[Any] | None = None,
) -> LazyResult[HttpResponse]: ...
@task
def post(
    url: str | LazyResult[Any],
    json: Any = None,
    data: Any = None,
    files: Mapping[str, Any] | LazyResult[Any] | None = None,
    headers: Mapping[str, Any] | LazyResult[Any] | None = None,
    params: Mapping[str, Any] | LazyResult[Any] | None = None,
) -> LazyResult[HttpResponse]: ...
@task
def put(
    url: str | LazyResult[Any],
    json: Any = None,
    data: Any = None,
    files: Mapping[str, Any] | LazyResult[Any] | None = None,
    headers: Mapping[str, Any] | LazyResult[Any] | None = None,
) -> LazyResult[HttpResponse]: ...
@task
def request(
    url: str | LazyResult[Any],
    method: str | LazyResult[Any] = "GET",
    params: Mapping[str, Any] | LazyResult[Any] | None = None,
    json: Any = None,
    data: Any = None,
    files: Mapping[str, Any] | LazyResult[Any] | None = None,
    headers: Mapping[str, Any] | LazyResult[Any] | None = None,
) -> LazyResult[HttpResponse]: ...

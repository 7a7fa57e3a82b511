"""Pending calls. The classes live in the kernel; printing, comparing and pickling them is defined beside them."""

from __future__ import annotations

from cascade import _kernel
from cascade._kernel import LazyResult, MappedLazyResult, RetryPolicy
from cascade.spec import _expressions, _retries
from cascade.spec.constraint import ResourceConstraint

__all__ = ["LazyResult", "MappedLazyResult", "RetryPolicy"]

_kernel.install(
    constraint=ResourceConstraint,
    describe=_expressions.describe,
    equal=_expressions.equal,
    flatten=_expressions.flatten,
    retry=_retries.check_retry,
)

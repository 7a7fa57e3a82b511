"""Token buckets: each starts full, refills continuously, and gives one token per admission."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

__all__ = ["Bucket", "RateLimiter"]

#: A caller who sleeps exactly as long as told must find its token in spite of rounding.
_SLACK = 1e-9


@dataclass
class Bucket:
    """Tokens now, their limit, tokens per second, and the moment (monotonic) that ``tokens`` speaks of."""

    capacity: float
    tokens: float
    rate: float
    last_refill: float


class RateLimiter:
    """Buckets by key."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def update_bucket(self, key: str, rate: float, capacity: float | None = None) -> None:
        """Make a full bucket, or change one, which keeps its tokens up to the new capacity.

        The default capacity is what flows in a second, and at least one token where anything flows at all.
        """
        if capacity is None:
            capacity = max(rate, 1.0) if rate > 0 else 0.0
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = Bucket(capacity, capacity, rate, time.monotonic())
            return
        _refill(bucket)
        bucket.capacity = capacity
        bucket.rate = rate
        bucket.tokens = min(bucket.tokens, capacity)

    def remove_bucket(self, key: str) -> None:
        """Forget a bucket."""
        self._buckets.pop(key, None)

    def try_acquire(self, key: str, cost: float = 1.0) -> float:
        """Take ``cost`` tokens and return 0.0, or take none and return the seconds until they are there.

        An unknown key has no limit. The wait is infinite where the tokens will never come.
        """
        bucket = self._buckets.get(key)
        if bucket is None:
            return 0.0
        _refill(bucket)
        if bucket.tokens >= cost - _SLACK:
            bucket.tokens = max(0.0, bucket.tokens - cost)
            return 0.0
        if bucket.rate <= 0 or cost > bucket.capacity:
            return math.inf
        return (cost - bucket.tokens) / bucket.rate

    def give_back(self, key: str, cost: float = 1.0) -> None:
        """Return tokens that were taken for something that did not happen."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.tokens = min(bucket.capacity, bucket.tokens + cost)


def _refill(bucket: Bucket) -> None:
    now = time.monotonic()
    if bucket.rate > 0:
        bucket.tokens = min(bucket.capacity, bucket.tokens + (now - bucket.last_refill) * bucket.rate)
    bucket.last_refill = now

"""Token buckets."""

from __future__ import annotations

import math

import pytest

from cascade.runtime.constraints.rate_limiter import RateLimiter


@pytest.fixture
def limiter(clock):
    """A limiter under the virtual clock."""
    return RateLimiter()


def test_a_bucket_starts_full_and_refills_continuously(limiter, clock):
    """A burst up to the capacity, then one token per 1/rate seconds; a refusal takes nothing."""
    limiter.update_bucket("k", rate=5, capacity=2)

    assert [limiter.try_acquire("k") for _ in range(4)] == [0.0, 0.0, pytest.approx(0.2), pytest.approx(0.2)]
    clock.now += 0.1
    assert limiter.try_acquire("k") == pytest.approx(0.1)
    clock.now += 0.1
    assert limiter.try_acquire("k") == 0.0
    clock.now += 100
    assert [limiter.try_acquire("k") for _ in range(3)] == [0.0, 0.0, pytest.approx(0.2)]


@pytest.mark.parametrize("rate, burst", [(5, 5), (1, 1), (0.5, 1), (0.01, 1)])
def test_the_default_capacity_is_the_rate_but_at_least_one_token(limiter, clock, rate, burst):
    """A slow rate still admits, one at a time."""
    limiter.update_bucket("k", rate)
    admitted = 0
    while limiter.try_acquire("k") == 0.0:
        admitted += 1

    assert admitted == burst
    clock.now += limiter.try_acquire("k")
    assert limiter.try_acquire("k") == 0.0


def test_waiting_exactly_as_long_as_told_is_enough(limiter, clock):
    """Rounding never sends a caller back to sleep."""
    limiter.update_bucket("k", rate=3, capacity=1)
    limiter.try_acquire("k")
    for _ in range(1000):
        wait = limiter.try_acquire("k")
        assert wait > 0.0
        clock.now += wait
        assert limiter.try_acquire("k") == 0.0


def test_an_unknown_key_has_no_limit(limiter):
    """Nothing said, nothing limited."""
    assert limiter.try_acquire("nobody") == 0.0


def test_without_a_rate_the_wait_is_infinite(limiter):
    """A rate of zero or less admits nothing, and says that waiting is no use."""
    limiter.update_bucket("zero", 0)
    limiter.update_bucket("negative", -1)

    assert limiter.try_acquire("zero") == math.inf
    assert limiter.try_acquire("negative") == math.inf


def test_more_than_the_capacity_is_never_there(limiter):
    """A cost that no full bucket covers is not promised for later."""
    limiter.update_bucket("k", 5, capacity=2)

    assert limiter.try_acquire("k", cost=3) == math.inf


def test_a_changed_bucket_keeps_its_tokens_up_to_the_new_capacity(limiter, clock):
    """Sending a limit again does not refill it, a smaller one cuts it, the past counts at the old rate."""
    limiter.update_bucket("k", rate=10, capacity=10)
    for _ in range(10):
        limiter.try_acquire("k")
    limiter.update_bucket("k", rate=10, capacity=10)
    assert limiter.try_acquire("k") > 0

    clock.now += 0.5  # five tokens at the old rate
    limiter.update_bucket("k", rate=1, capacity=3)
    assert [limiter.try_acquire("k") for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(1.0)]


def test_tokens_given_back_can_be_taken_again_but_never_overfill(limiter):
    """A withdrawn admission costs nothing."""
    limiter.update_bucket("k", rate=1, capacity=2)
    limiter.give_back("k")
    limiter.give_back("nobody")
    limiter.try_acquire("k")
    limiter.give_back("k")

    assert [limiter.try_acquire("k") for _ in range(3)] == [0.0, 0.0, pytest.approx(1.0)]


def test_a_removed_bucket_is_forgotten(limiter):
    """The next one starts full."""
    limiter.update_bucket("k", rate=1, capacity=1)
    limiter.try_acquire("k")
    limiter.remove_bucket("k")
    assert limiter.try_acquire("k") == 0.0

    limiter.update_bucket("k", rate=1, capacity=1)
    assert limiter.try_acquire("k") == 0.0

"""Settings and fixtures that every test may use."""

from __future__ import annotations

import gc
import os
import signal

from hypothesis import settings

from tests.servers import broker, postgres_url, redis_url, s3_endpoint

__all__ = ["broker", "postgres_url", "redis_url", "s3_endpoint"]

# No deadline, as machines are shared; the same examples each time, so that a failure belongs to the change it follows.
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=60, print_blob=True)
# For a night: new examples each time.
settings.register_profile("thorough", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# A shell that starts a command in the background lets it ignore interrupts, and so would every process of a test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Keep what was imported out of the collector's sight: tests collect thousands of times, and it is a large heap."""
    gc.collect()
    gc.freeze()

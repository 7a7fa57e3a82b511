"""The in-memory cache backend."""

from __future__ import annotations

import asyncio

import pytest

from cascade.adapters.cache import InMemoryCacheBackend
from cascade.adapters.cache import in_memory as module


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves by hand."""

    class Clock:
        now = 100.0

        def time(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.mark.row("03-flow-and-policies", "Cache", "InMemoryCacheBackend()")
def test_values_come_back_and_unknown_keys_give_none(clock):
    """None may be stored, and can be told from nothing."""

    async def main():
        cache = InMemoryCacheBackend()
        await cache.set("a", 1)
        await cache.set("none", None)
        assert await cache.get("a") == 1
        assert await cache.get("none") is None
        assert await cache.get("missing") is None
        assert await cache.has("none")
        assert not await cache.has("missing")

    asyncio.run(main())


@pytest.mark.row("03-flow-and-policies", "Cache", "InMemoryCacheBackend()")
def test_a_value_is_gone_from_the_moment_its_ttl_is_over(clock):
    """Reading an expired key removes it altogether."""

    async def main():
        cache = InMemoryCacheBackend()
        await cache.set("a", 1, ttl=10)
        clock.now += 9.9
        assert await cache.get("a") == 1
        clock.now += 0.1
        assert not await cache.has("a")
        assert await cache.get("a") is None
        assert cache._store == {}
        assert cache._expiry == {}

    asyncio.run(main())


@pytest.mark.row("03-flow-and-policies", "Cache", "InMemoryCacheBackend()")
def test_setting_without_ttl_clears_an_older_ttl(clock):
    """The last write says how long a value lives."""

    async def main():
        cache = InMemoryCacheBackend()
        await cache.set("a", 1, ttl=10)
        await cache.set("a", 2)
        clock.now += 1000
        assert await cache.get("a") == 2

    asyncio.run(main())


def test_expired_values_that_nobody_reads_do_not_pile_up(clock):
    """Memory follows what is alive, not what was ever written."""

    async def main():
        cache = InMemoryCacheBackend()
        await cache.set("kept", 0)
        for i in range(10_000):
            clock.now += 1
            await cache.set(str(i), i, ttl=5)
        assert len(cache._store) < 200
        assert await cache.get("kept") == 0
        assert await cache.get("9999") == 9999

    asyncio.run(main())

"""A cache whose values are files in IPFS."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cascade.adapters.cache import InMemoryCacheBackend

pytest.importorskip("aiohttp", reason="needs aiohttp: pip install 'cascade-hot[http]'")
pytest.importorskip("msgspec", reason="needs msgspec: pip install 'cascade-hot[msgpack]'")

from cascade.adapters.serializers import PickleSerializer
from cascade.providers import http
from cascade.providers.ipfs.cache import IpfsCacheBackend
from tests.providers.ipfs.node import Node, running_node


class Ttls(InMemoryCacheBackend):
    """Notes the times that it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.ttls: list[int | None] = []

    async def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        self.ttls.append(ttl)
        await super().set(key, value, ttl)


@pytest.fixture
def node() -> Iterator[Node]:
    with running_node() as running:
        yield running


def kept(cache: IpfsCacheBackend, value: Any, key: str = "k", ttl: int | None = None) -> Any:
    """Set a value and get it."""

    async def main() -> Any:
        await cache.set(key, value, ttl)
        return await cache.get(key)

    return asyncio.run(main())


@pytest.mark.row("03-flow-and-policies", "Cache", "IpfsCacheBackend(metadata_backend, ipfs_api_url=…)")
def test_values_are_kept_in_the_node_and_their_cids_in_the_backend(node: Node) -> None:
    """Values come back with their types; the other backend holds the CID and is told the time."""
    metadata = Ttls()
    cache = IpfsCacheBackend(metadata, node.url)
    value = {"n": [1, 2.5, None], "t": (True, "ä"), "b": b"\xff", "d": Decimal("1.50"), "on": date(2024, 2, 29)}

    assert kept(cache, value, ttl=60) == value
    assert asyncio.run(metadata.get("k")) in node.files
    assert kept(cache, 0) == 0
    assert metadata.ttls == [60, None]


def test_unknown_and_expired_keys_are_misses(node: Node) -> None:
    """Time is the other backend's business."""
    cache = IpfsCacheBackend(InMemoryCacheBackend(), f"{node.url}/")

    assert asyncio.run(cache.get("other")) is None
    assert kept(cache, "value", ttl=0) is None


def test_another_serializer_may_be_given(node: Node) -> None:
    """It makes the bytes and reads them."""
    cache = IpfsCacheBackend(InMemoryCacheBackend(), node.url, serializer=PickleSerializer(key=b"k" * 32))

    assert kept(cache, {1, 2}) == {1, 2}


def test_reading_runs_no_code(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """A pickle that somebody put into IPFS is a miss, and is not unpickled."""
    node.files["QmEvil"] = pickle.dumps(print)
    metadata = InMemoryCacheBackend()
    asyncio.run(metadata.set("k", "QmEvil"))

    assert asyncio.run(IpfsCacheBackend(metadata, node.url).get("k")) is None
    assert "could not read 'k'" in caplog.text


class Broken(InMemoryCacheBackend):
    async def get(self, key: str) -> Any:
        raise ConnectionError("no metadata")

    async def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        raise ConnectionError("no metadata")


def test_failures_are_logged_and_read_as_misses(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """A node that is gone or has lost the file, a broken backend, a value that cannot be stored: nothing is raised."""
    lost = InMemoryCacheBackend()
    asyncio.run(lost.set("k", "QmLost"))
    gone = "http://user:hunter2@127.0.0.1:1"
    caplog.set_level(logging.WARNING)

    assert asyncio.run(IpfsCacheBackend(lost, node.url).get("k")) is None
    assert "IPFS API Error (500)" in caplog.text
    assert kept(IpfsCacheBackend(Broken(), node.url), 1) is None
    assert "ConnectionError: no metadata" in caplog.text
    assert kept(IpfsCacheBackend(InMemoryCacheBackend(), gone), 1) is None
    assert "ClientConnectorError" in caplog.text
    assert kept(IpfsCacheBackend(InMemoryCacheBackend(), node.url), object()) is None
    assert "SerializationError" in caplog.text
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert "hunter2" not in caplog.text


def test_a_cancellation_is_not_a_miss(node: Node) -> None:
    """It goes through."""

    class Slow(InMemoryCacheBackend):
        async def get(self, key: str) -> Any:
            await asyncio.Event().wait()

    async def main() -> None:
        reading = asyncio.ensure_future(IpfsCacheBackend(Slow(), node.url).get("k"))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(main())


def test_without_aiohttp_the_backend_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that could never hit is refused when it is made."""
    monkeypatch.setattr(http, "aiohttp", None)

    with pytest.raises(ImportError, match=r"'aiohttp'.*pip install 'cascade-hot\[http\]'"):
        IpfsCacheBackend(InMemoryCacheBackend())


def test_the_address_is_that_of_a_local_node() -> None:
    """By default."""
    assert "127.0.0.1:5001" in IpfsCacheBackend(InMemoryCacheBackend())._api

"""The servers that tests are given are real, and gone afterwards."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from tests.servers import Broker


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_redis_answers(redis_url: str) -> None:
    """A Redis server answers a ping at the URL."""
    redis = pytest.importorskip("redis")
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_broker_ends_and_starts_again(broker: Broker, end: str) -> None:
    """A broker that was stopped or killed is gone, and comes back at the same port."""
    assert _listens(broker.port)

    getattr(broker, end)()
    assert not _listens(broker.port)

    broker.start()
    assert _listens(broker.port)


def test_postgres_answers(postgres_url: str) -> None:
    """A PostgreSQL server answers a query at the URL."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.connect() as connection:
        assert "PostgreSQL" in connection.execute(sqlalchemy.text("select version()")).scalar()
    engine.dispose()


def test_s3_answers(s3_endpoint: str) -> None:
    """A server that speaks HTTP is at the endpoint."""
    with urllib.request.urlopen(s3_endpoint) as answer:
        assert answer.status == 200

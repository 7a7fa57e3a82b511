"""Telemetry through a Unix socket."""

from __future__ import annotations

import asyncio
import json
import os
import socket

import pytest

from cascade.connectors.local import uds_server
from cascade.connectors.local.uds_server import UdsTelemetryServer, telemetry_sockets
from tests.connectors.inbox import other_tasks, until


@pytest.fixture
def path(tmp_path):
    """A path for a socket."""
    return str(tmp_path / "t.sock")


async def connected(server, path, number=1):
    """Connects an observer and waits until the server knows it."""
    reader, writer = await asyncio.open_unix_connection(path)
    await until(lambda: len(server._observers) >= number)
    return reader, writer


def test_each_observer_gets_one_json_line_a_message(path):
    """All of them, in order; then the end, and the file is gone."""

    async def main():
        server = UdsTelemetryServer(path)
        await server.start()
        await server.start()
        await server.broadcast({"n": "nobody is there"})
        observers = [await connected(server, path, n) for n in (1, 2)]
        assert server.uds_path == path
        assert os.path.exists(path)
        for n in range(3):
            await server.broadcast({"n": n, "odd": {1}})
        await server.stop()
        texts = [await reader.read() for reader, _ in observers]
        for _, writer in observers:
            writer.close()
        await server.stop()
        return texts, other_tasks()

    texts, tasks = asyncio.run(main())

    assert texts[0] == texts[1]
    assert [json.loads(line) for line in texts[0].splitlines()] == [{"n": n, "odd": "{1}"} for n in range(3)]
    assert not os.path.exists(path)
    assert tasks == set()


def test_an_observer_that_leaves_is_dropped(path):
    """The others are not disturbed."""

    async def main():
        server = UdsTelemetryServer(path)
        await server.start()
        _, leaving = await connected(server, path, 1)
        reader, writer = await connected(server, path, 2)
        leaving.transport.abort()
        while len(server._observers) > 1:
            await server.broadcast({})
            await asyncio.sleep(0)
        await server.broadcast({"n": 1})
        await server.stop()
        text = await reader.read()
        writer.close()
        return text

    assert asyncio.run(main()).splitlines()[-1] == b'{"n": 1}'


def test_an_observer_that_never_reads_misses_messages(path, monkeypatch, caplog):
    """What is kept for it is bounded, whole lines are left out, others get all, and stopping does not wait for it."""
    monkeypatch.setattr(uds_server, "BUFFER", 10_000)
    monkeypatch.setattr(uds_server, "PATIENCE", 3600.0)  # for observers that read
    message = {"text": "x" * 1000}

    async def main():
        server = UdsTelemetryServer(path)
        await server.start()
        reader, writer = await connected(server, path, 1)
        (good,) = server._observers
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(path)
            await until(lambda: len(server._observers) == 2)
            (bad,) = server._observers - {good}
            received = 0
            for _ in range(2000):
                await server.broadcast(message)
                received += len(json.loads(await reader.readline())["text"])
            backlog = bad.backlog
            await asyncio.wait_for(server.stop(), 5)
            writer.close()
            silent.settimeout(5)
            text = b"".join(iter(lambda: silent.recv(1 << 16), b""))
        return received, backlog, text

    received, backlog, text = asyncio.run(main())

    assert received == 2000 * 1000
    assert 9_000 < backlog <= 10_000
    assert 0 < len(text) < 1_000_000
    assert all(json.loads(line) == message for line in text.split(b"\n")[:-1])
    assert [record.getMessage() for record in caplog.records].count(
        "a telemetry observer does not keep up: it misses messages"
    ) == 1


def test_stopping_waits_for_an_observer_that_reads_late(path):
    """What was sent before the end arrives, though the kernel could not take all of it at once."""
    message = {"text": "x" * 100_000}

    async def main():
        server = UdsTelemetryServer(path)
        await server.start()
        reader, writer = await connected(server, path)
        for _ in range(8):
            await server.broadcast(message)
        text, _ = await asyncio.gather(reader.read(), server.stop())
        writer.close()
        return text

    assert len(asyncio.run(main()).splitlines()) == 8


def test_two_servers_at_one_path_serve_their_own_observers(path):
    """Both sockets can be found; neither ends with the other."""

    async def main():
        servers = [UdsTelemetryServer(path), UdsTelemetryServer(path)]
        for server in servers:
            await server.start()
        sockets = telemetry_sockets(path)
        observers = [await connected(server, where) for server, where in zip(servers, sockets, strict=True)]
        await servers[0].stop()
        await servers[1].broadcast({"n": 1})
        await servers[1].stop()
        texts = [await reader.read() for reader, _ in observers]
        for _, writer in observers:
            writer.close()
        return sockets, texts

    sockets, texts = asyncio.run(main())

    assert sockets == [path, f"{path}.{os.getpid()}-1"]
    assert texts == [b"", b'{"n": 1}\n']
    assert telemetry_sockets(path) == []

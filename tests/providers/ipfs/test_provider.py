"""Reading and adding files of an IPFS node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from tests.engines import make_engine, names_of, run, watch

pytest.importorskip("aiohttp", reason="needs aiohttp: pip install 'cascade-hot[http]'")

from cascade.providers import http
from cascade.providers.http import HttpResponse
from cascade.providers.ipfs import provider
from tests.providers.ipfs.node import Node, running_node


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A running node that the providers use."""
    with running_node() as running:
        monkeypatch.setattr(provider, "IPFS_API_BASE_URL", running.url)
        yield running


@pytest.mark.row("06-providers", "Built-in providers", "ipfs.add")
@pytest.mark.row("06-providers", "Built-in providers", "ipfs.cat")
def test_what_was_added_is_found_by_its_cid(node: Node, tmp_path: Path) -> None:
    """``add`` uploads a file under its name and gives the CID of the last line; ``cat`` gives its bytes."""
    file = tmp_path / "page.bin"
    file.write_bytes(b"\x00content\xff")
    cid = run(cs.ipfs.add(path=str(file)))

    assert (node.files, node.names) == ({cid: b"\x00content\xff"}, ["page.bin"])
    assert run(cs.ipfs.cat(cid)) == b"\x00content\xff"


def test_arguments_may_be_lazy(node: Node, tmp_path: Path) -> None:
    """A CID may be the result of another call, a path a param."""
    (tmp_path / "a").write_bytes(b"a")

    assert run(cs.ipfs.cat(cs.ipfs.add(cs.Param("path"))), params={"path": str(tmp_path / "a")}) == b"a"


@pytest.mark.parametrize("name, sent", [("cat", {"arg": "x"}), ("add", {"file": "x"})])
def test_each_is_a_request_and_a_task_that_reads_its_answer(
    name: str, sent: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both go through the HTTP provider's task, whose function may be replaced, to the address of the moment."""
    asked: list[tuple[str, Any]] = []

    async def fake(url: str, params: Any = None, files: Any = None, **_: Any) -> HttpResponse:
        asked.append((url, params or files))
        return HttpResponse(200, {}, b'{"Hash": "cid"}')

    monkeypatch.setattr(http._http_post_task, "func", fake)
    monkeypatch.setattr(provider, "IPFS_API_BASE_URL", "http://node")
    engine = make_engine()
    events = watch(engine)
    run(getattr(cs.ipfs, name)("x"), engine)

    assert asked == [(f"http://node/api/v0/{name}", sent)]
    assert [event for event in names_of(events) if "TaskExecutionStarted" in event] == [
        "TaskExecutionStarted http_post",
        f"TaskExecutionStarted _ipfs_parse_{name}_response",
    ]


def test_the_address_is_that_of_a_local_node() -> None:
    """Unless it is changed."""
    assert provider.IPFS_API_BASE_URL == "http://127.0.0.1:5001"


def test_errors_of_the_node_tell_status_and_words(node: Node) -> None:
    """Both calls raise RuntimeError with the status and what the node says."""
    with pytest.raises(RuntimeError, match=r"IPFS API Error \(500\).*merkledag: not found"):
        run(cs.ipfs.cat("unknown"))

    for parse in (provider._parse_cat_response, provider._parse_add_response):
        with pytest.raises(RuntimeError, match=r"IPFS API Error \(404\): no page"):
            run(parse(HttpResponse(404, {}, b"no page")))


@pytest.mark.parametrize("body", [b"", b"no json", b'{"Name": "x"}', b"[1]", b"\xff"])
def test_an_answer_without_a_cid(body: bytes) -> None:
    """What holds no Hash is an error that says so."""
    with pytest.raises(RuntimeError, match=r"IPFS API Error \(200\): the answer of 'add' holds no CID"):
        run(provider._parse_add_response(HttpResponse(200, {}, body)))


def test_a_node_that_cannot_be_reached_is_a_network_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is aiohttp's, without the credentials of the address."""
    from aiohttp import ClientConnectorError

    monkeypatch.setattr(provider, "IPFS_API_BASE_URL", "http://user:hunter2@127.0.0.1:1")
    engine = make_engine()
    events = watch(engine)

    with pytest.raises(ClientConnectorError) as caught:
        asyncio.run(engine.run(cs.ipfs.cat("x")))

    assert "hunter2" not in f"{caught.value!r} {caught.value} {events}"


def test_without_aiohttp_a_call_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names library and extra when the call runs."""
    monkeypatch.setattr(http, "aiohttp", None)

    with pytest.raises(ImportError, match=r"'aiohttp'.*pip install 'cascade-hot\[http\]'"):
        run(cs.ipfs.cat("x"))

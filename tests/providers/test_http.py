"""HTTP requests to a server on loopback."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from tests.engines import make_engine, run, watch

aiohttp = pytest.importorskip("aiohttp", reason="needs aiohttp: pip install 'cascade-hot[http]'")
from aiohttp import web  # noqa: E402

from cascade.providers import http  # noqa: E402
from cascade.providers._http_errors import without_secrets  # noqa: E402
from cascade.providers.http import HttpResponse  # noqa: E402
from tests.providers.loopback import describe, serving  # noqa: E402


@pytest.fixture(autouse=True)
def closed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each test nothing is reported as left open (asyncio logs it when it is collected)."""
    yield
    gc.collect()

    assert [record.getMessage() for record in caplog.records if "nclosed" in record.getMessage()] == []


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that describes what it is asked at ``/echo``."""
    with serving(echo=describe) as url:
        yield url


def told(lazy: Any) -> Any:
    """Run a request and return the server's description of it."""
    response = run(lazy)
    assert (type(response), response.status) == (HttpResponse, 200)
    return response.json()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- the five providers ---


@pytest.mark.row("06-providers", "Built-in providers", "http.get")
def test_get(server: str) -> None:
    """``get`` sends a query and headers, beside the query that the URL has."""
    seen = told(cs.http.get(f"{server}/echo?z=0", params={"a": "1"}, headers={"X-Key": "v"}))

    assert (seen["method"], seen["query"], seen["headers"]["x-key"]) == ("GET", [["z", "0"], ["a", "1"]], "v")


def test_values_of_headers(server: str) -> None:
    """Bytes and numbers become text; None leaves a header out instead of sending its name to the server."""
    headers = {"X-Bytes": "ü".encode(), "X-Number": 5, "X-None": None}
    seen = told(cs.http.get(f"{server}/echo", headers=headers))["headers"]

    assert {name: value for name, value in seen.items() if name.startswith("x-")} == {"x-bytes": "ü", "x-number": "5"}


@pytest.mark.row("06-providers", "Built-in providers", "http.post")
def test_post(server: str) -> None:
    """``post`` sends a body, a query and headers."""
    seen = told(cs.http.post(f"{server}/echo", json={"n": [1, None]}, params={"q": 1}, headers={"X-Key": "v"}))

    assert (seen["method"], json.loads(seen["body"]), seen["query"]) == ("POST", {"n": [1, None]}, [["q", "1"]])
    assert (seen["headers"]["content-type"], seen["headers"]["x-key"]) == ("application/json", "v")


@pytest.mark.row("06-providers", "Built-in providers", "http.put")
def test_put(server: str) -> None:
    """``put`` sends a body and headers."""
    seen = told(cs.http.put(f"{server}/echo", data=b"raw", headers={"X-Key": "v"}))

    assert (seen["method"], seen["body"], seen["headers"]["x-key"]) == ("PUT", "raw", "v")


@pytest.mark.row("06-providers", "Built-in providers", "http.delete")
def test_delete(server: str) -> None:
    """``delete`` sends headers."""
    seen = told(cs.http.delete(f"{server}/echo", headers={"X-Key": "v"}))

    assert (seen["method"], seen["headers"]["x-key"]) == ("DELETE", "v")


@pytest.mark.row("06-providers", "Built-in providers", "http.request")
def test_request(server: str) -> None:
    """``request`` sends any method, GET by default, with whatever the others send."""
    seen = told(cs.http.request(f"{server}/echo", "PATCH", params={"a": "1"}, json={}, headers={"X-Key": "v"}))

    assert (seen["method"], seen["query"], seen["body"], seen["headers"]["x-key"]) == (
        "PATCH",
        [["a", "1"]],
        "{}",
        "v",
    )
    assert told(cs.http.request(f"{server}/echo"))["method"] == "GET"


@pytest.mark.parametrize("name", ["get", "post", "put", "delete", "request"])
def test_providers_are_async_tasks(name: str) -> None:
    """Each is a task of its table's name, asynchronous, and can be mapped."""
    task = getattr(cs.http, name)

    assert (task.name, task.is_async, callable(task.map)) == (f"http_{name}", True, True)


def test_arguments_may_be_lazy_and_mapped(server: str) -> None:
    """URL, query and headers take other calls and params; ``map`` sends a request for each."""
    url = cs.format("{}/echo", cs.Param("base"))
    lazy = cs.http.get(url, params={"q": cs.format("{}!", "x")}, headers={"X-Key": cs.Param("key")})
    seen = run(lazy, params={"base": server, "key": "k"}).json()
    many = run(cs.http.get.map(url=[f"{server}/echo?n={n}" for n in range(3)]))

    assert (seen["query"], seen["headers"]["x-key"]) == ([["q", "x!"]], "k")
    assert [one.json()["query"] for one in many] == [[["n", "0"]], [["n", "1"]], [["n", "2"]]]


def test_the_function_of_a_task_may_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put into ``_http_post_task.func`` is called instead, with the arguments of the call."""
    calls = []

    async def fake(url: str, json: Any = None, **rest: Any) -> HttpResponse:
        calls.append((url, json))
        return HttpResponse(201, {}, b"made")

    monkeypatch.setattr(http._http_post_task, "func", fake)

    assert run(cs.http.post("http://nowhere", json={"a": 1})).text() == "made"
    assert calls == [("http://nowhere", {"a": 1})]


# -- queries and bodies ---


def test_values_of_a_query(server: str) -> None:
    """A list repeats its name, None leaves it out, numbers and truth values become text, order stays."""
    params = {"l": [1, "two"], "t": (), "none": None, "yes": True, "f": 1.5, "text": "ä &="}
    query = [["l", "1"], ["l", "two"], ["yes", "true"], ["f", "1.5"], ["text", "ä &="]]

    assert told(cs.http.get(f"{server}/echo", params=params))["query"] == query


@pytest.mark.parametrize(
    "data, content_type, body",
    [
        ("ä", "text/plain; charset=utf-8", "ä".encode().decode("latin-1")),
        (b"\xff\x00", "application/octet-stream", "\xff\x00"),
        (bytearray(b"ba"), "application/octet-stream", "ba"),
        ({"a": "1 2", "l": [1, True], "none": None}, "application/x-www-form-urlencoded", "a=1+2&l=1&l=true"),
        (io.BytesIO(b"file"), "application/octet-stream", "file"),
    ],
)
def test_data_by_its_type(server: str, data: Any, content_type: str, body: str) -> None:
    """Text, bytes and file objects are the body itself, a dict is a form; the length is told."""
    seen = told(cs.http.post(f"{server}/echo", data=data))

    assert (seen["headers"]["content-type"], seen["body"], seen["length"]) == (content_type, body, len(body))


def test_a_content_type_of_the_callers_wins(server: str) -> None:
    """A header that is given is not replaced by the one that the body suggests."""
    seen = told(cs.http.post(f"{server}/echo", data="<a/>", headers={"Content-Type": "application/xml"}))

    assert seen["headers"]["content-type"] == "application/xml"


def test_files_and_data_make_one_form(server: str, tmp_path: Path) -> None:
    """An existing path is uploaded under its base name, bytes under the field's, other text is a field; data joins."""
    page = tmp_path / "page.html"
    page.write_text("<p>")
    files = {"doc": str(page), "path": page, "note": "no such file", "raw": b"bytes"}
    seen = told(cs.http.post(f"{server}/echo", data={"kind": "x", "n": [1, 2]}, files=files))

    assert seen["parts"] == [
        ["kind", None, "text/plain; charset=utf-8", "x"],
        ["n", None, "text/plain; charset=utf-8", "1"],
        ["n", None, "text/plain; charset=utf-8", "2"],
        ["doc", "page.html", "text/html", "<p>"],
        ["path", "page.html", "text/html", "<p>"],
        ["note", None, "text/plain; charset=utf-8", "no such file"],
        ["raw", "raw", "application/octet-stream", "bytes"],
    ]


def test_bytes_and_open_files_in_a_form_make_it_multipart(server: str, tmp_path: Path) -> None:
    """Data with bytes or files is uploaded as parts, without ``files`` too."""
    (tmp_path / "a.txt").write_text("in file")
    with (tmp_path / "a.txt").open("rb") as file:
        seen = told(cs.http.put(f"{server}/echo", data={"b": b"x", "f": file, "m": io.BytesIO(b"y")}))

    assert [part[:2] + part[3:] for part in seen["parts"]] == [
        ["b", "b", "x"],
        ["f", "a.txt", "in file"],
        ["m", "m", "y"],
    ]


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        ({"json": 1, "data": "x"}, ValueError, "one body"),
        ({"json": 1, "files": {"f": "x"}}, ValueError, "one body"),
        ({"data": b"x", "files": {"f": "x"}}, TypeError, "must be a dict of form fields, not bytes"),
        ({"files": {"f": Path("/no/such/file")}}, FileNotFoundError, "No such file"),
        ({"json": {1, 2}}, TypeError, "not JSON serializable"),
    ],
)
def test_bodies_that_cannot_be(server: str, arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    """Two bodies, a form that is none, a path object without a file and values that JSON lacks are errors."""
    with pytest.raises(error, match=text):
        run(cs.http.post(f"{server}/echo", **arguments))


def test_large_bodies(tmp_path: Path) -> None:
    """Megabytes go either way whole, whatever they are made of, and without a warning about holding the loop."""
    size = 3_000_000

    async def measure(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * len(await request.read()))

    (tmp_path / "big").write_bytes(b"b" * size)
    with serving(measure=measure) as url:
        bodies: list[dict[str, Any]] = [
            {"data": "t" * size},
            {"data": b"b" * size},
            {"data": {"f": "v" * size}},
            {"json": "j" * size},
            {"files": {"f": str(tmp_path / "big")}},
            {"files": {"f": b"b" * size}},
        ]
        answers = run([cs.http.post(f"{url}/measure", **body) for body in bodies])

    assert all(len(one.body) >= size for one in answers)


# -- answers ---


@pytest.mark.parametrize("status", [204, 404, 500])
def test_no_status_raises(status: int) -> None:
    """Errors of the client and of the server are answers like others."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    with serving(answer=answer) as url:
        assert run(cs.http.get(f"{url}/answer")).status == status


def test_a_response() -> None:
    """It gives text and JSON, compares by value, and its repr tells the status only."""
    response = HttpResponse(200, {"Set-Cookie": "secret"}, '{"a": "ä"}'.encode())

    assert (response.text(), response.json()) == ('{"a": "ä"}', {"a": "ä"})
    assert HttpResponse(200, {}, b"\xe4").text("latin-1") == "ä"
    assert response == HttpResponse(200, {"Set-Cookie": "secret"}, response.body)
    assert repr(response) == "<HttpResponse status=200>"


def test_headers_that_come_twice_are_joined() -> None:
    """Headers are a plain dict; what came several times is there whole."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(headers=[("X-A", "1"), ("x-a", "2"), ("X-B", "3")])

    with serving(answer=answer) as url:
        headers = run(cs.http.get(f"{url}/answer")).headers

    assert (type(headers), headers["X-A"], headers["X-B"]) == (dict, "1, 2", "3")


def test_redirects_keep_the_body_but_not_the_credentials(server: str) -> None:
    """A redirect is followed; 307 sends the body again; another host does not get the Authorization header."""

    async def move(_: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"{server}/echo")

    with serving(move=move) as url:
        seen = told(cs.http.post(f"{url}/move", data="again", headers={"Authorization": "Bearer abcdef"}))
        upload = told(cs.http.post(f"{url}/move", files={"f": b"part"}))

    assert (seen["method"], seen["body"]) == ("POST", "again")
    assert "authorization" not in seen["headers"]
    assert upload["parts"][0][3] == "part"


# -- errors and secrets ---


async def _loop(request: web.Request) -> web.Response:
    raise web.HTTPFound(f"{request.path_qs}")


async def _nowhere(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "ftp://user:hunter2@other/?token=abcdef"})


async def _malformed(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "http://user:hunter2@/?token=abcdef"})


async def _drop(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.fixture(scope="module")
def bad_server() -> Iterator[str]:
    """A server whose answers make a client fail."""
    with serving(loop=_loop, nowhere=_nowhere, malformed=_malformed, drop=_drop) as url:
        yield url.removeprefix("http://")


SECRETS = ("hunter2", "abcdef", "s3cret", "qvalue")

FAILURES = [
    ("http://user:hunter2@{server}/loop?token=abcdef", aiohttp.TooManyRedirects),
    ("http://user:hunter2@{server}/nowhere?token=abcdef", aiohttp.NonHttpUrlRedirectClientError),
    ("http://user:hunter2@{server}/malformed?token=abcdef", aiohttp.InvalidUrlRedirectClientError),
    ("http://user:hunter2@{server}/drop?token=abcdef", aiohttp.ServerDisconnectedError),
    ("http://user:hunter2@127.0.0.1:{port}/?token=abcdef", aiohttp.ClientConnectorError),
    ("http://user:hunter2@host:port/?token=abcdef", aiohttp.InvalidURL),
    ("http://user:hunter2/x@host:99999999/?token=abcdef", aiohttp.InvalidURL),
    ("ftp://user:hunter2@host/?token=abcdef", aiohttp.NonHttpUrlClientError),
    ("user:hunter2@host/?token=abcdef", aiohttp.ClientError),
]


@pytest.mark.parametrize("url, error", FAILURES)
def test_no_secret_shows_when_a_request_fails(
    bad_server: str, url: str, error: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    """The error has aiohttp's type; its texts, its causes, the events and the log lack credentials and values."""
    target = cs.http.get(
        url.format(server=bad_server, port=free_port()),
        params={"key": "qvalue"},
        headers={} if "user:" in url and "@" in url else {"Authorization": "Bearer s3cret"},
    )
    engine = make_engine()
    events = watch(engine)

    with pytest.raises(error) as caught:
        run(target.with_retry(max_attempts=1, delay=0), engine)

    with pytest.raises(error):
        cs.run(target, log_level="DEBUG")
    logged = capsys.readouterr()
    shown = [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value), *map(repr, events)]
    for text in (*shown, logged.out, logged.err):
        assert [secret for secret in SECRETS if secret in text] == []


def test_headers_do_not_show_when_a_request_fails(bad_server: str) -> None:
    """An error that quotes the request quotes it without its headers."""
    headers = {"X-Pin": "123"}

    with pytest.raises(aiohttp.TooManyRedirects) as caught:
        run(cs.http.get(f"http://{bad_server}/loop", headers=headers))

    assert str(caught.value.request_info.real_url) == f"http://{bad_server}/loop"
    assert "X-Pin" not in repr(caught.value)


def test_what_shows_no_secret_is_left_as_it_is() -> None:
    """A plain network error comes unchanged, with its cause, and says where nobody listened."""
    port = free_port()

    with pytest.raises(aiohttp.ClientConnectorError, match=f"127.0.0.1:{port}") as caught:
        run(cs.http.get(f"http://127.0.0.1:{port}/"))

    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ConnectionTimeoutError("Connection timeout to host http://h/?token=abcdef"),
        aiohttp.InvalidURL("http://user:abc/def@host"),
        aiohttp.NonHttpUrlClientError("user:abc@host/"),
        UnicodeError("abcdef is no text"),
        OSError(5, "cannot read abcdef"),
    ],
)
def test_any_error_can_be_redacted(error: Exception) -> None:
    """Whatever type it has, it keeps that and loses the secrets."""
    shown = without_secrets(error, {"abcdef"})

    assert type(shown) is type(error)
    assert "abc" not in f"{shown} {shown!r}"


def test_what_led_to_an_error_is_forgotten_if_it_shows_secrets() -> None:
    """The error itself stays, without its cause."""
    error = OSError("lost")
    error.__cause__ = ValueError("abcdef")

    assert without_secrets(error, {"abcdef"}) is error
    assert error.__cause__ is None


# -- closing and cancelling ---


def test_a_cancelled_request_is_given_up() -> None:
    """When the run is cancelled, the connection closes, and the server's handler learns of it; nothing is left open."""
    begun, gone = threading.Event(), threading.Event()

    async def hold(request: web.Request) -> web.Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        return web.Response()

    async def main(url: str) -> None:
        running = asyncio.ensure_future(make_engine().run(cs.http.get(f"{url}/hold")))
        await asyncio.to_thread(begun.wait, 30)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert len(asyncio.all_tasks()) == 1

    with serving(hold=hold) as url:
        asyncio.run(main(url))

        assert gone.wait(30)


def test_a_cancelled_upload_closes_its_file_and_its_socket(tmp_path: Path) -> None:
    """Both are open only during the request, also when that is cancelled while the server reads nothing."""
    (tmp_path / "big").write_bytes(b"b" * 20_000_000)

    async def main(port: int) -> list[Any]:
        lazy = cs.http.post(f"http://127.0.0.1:{port}/", files={"f": str(tmp_path / "big")})
        running = asyncio.ensure_future(make_engine().run(lazy))
        while not (stuck := [one for one in _transports_to(port) if one.get_write_buffer_size()]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # nothing tells when a socket takes no more
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return [one for one in stuck if one.get_extra_info("socket").fileno() >= 0]

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        left = asyncio.run(main(deaf.getsockname()[1]))
        gc.collect()  # an open file that is collected is a ResourceWarning, and so an error

    assert left == []


def _transports_to(port: int) -> list[Any]:
    transports = [one for one in gc.get_objects() if issubclass(type(one), asyncio.Transport)]
    return [one for one in transports if (one.get_extra_info("peername") or (None, None))[1] == port]


def test_files_are_closed_when_a_request_cannot_be_made(server: str, tmp_path: Path) -> None:
    """A second file that is missing, or a URL that is none, leaves the first file closed."""
    (tmp_path / "here").write_text("x")
    files = {"a": tmp_path / "here", "b": tmp_path / "missing"}

    with pytest.raises(FileNotFoundError):
        run(cs.http.post(f"{server}/echo", files=files))
    with pytest.raises(aiohttp.InvalidURL):
        run(cs.http.post("nowhere", files={"a": tmp_path / "here"}))
    gc.collect()  # an open file that is collected is a ResourceWarning, and so an error


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc/self/fd: Linux")
def test_many_requests_leave_nothing_behind(server: str, bad_server: str, tmp_path: Path) -> None:
    """After requests that succeed and that fail there are no more files and sockets open than before."""
    (tmp_path / "f").write_bytes(b"x" * 100)

    async def main() -> tuple[int, int]:
        engine = make_engine()
        requests = [cs.http.post(f"{server}/echo", files={"f": str(tmp_path / "f")}), cs.http.get(f"http://{bad_server}/drop")]
        counts = []
        for _ in range(2):
            for lazy in requests * 10:
                await asyncio.gather(engine.run(lazy), return_exceptions=True)
            counts.append(len(list(Path("/proc/self/fd").iterdir())))
        return counts[0], counts[1]

    first, second = asyncio.run(main())

    assert second <= first


# -- without the library ---


def test_without_aiohttp_a_request_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module attribute is None then, and the error names library and extra when a request is made."""
    monkeypatch.setattr(http, "aiohttp", None)

    with pytest.raises(ImportError, match=r"'aiohttp'.*pip install 'cascade-hot\[http\]'"):
        run(cs.http.get("http://127.0.0.1/"))


def test_the_module_can_be_imported_without_aiohttp() -> None:
    """Asking for the provider is no error yet."""
    program = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "import cascade as cs, cascade.providers.http as http\n"
        "assert http.aiohttp is None and cs.http.get('http://x') is not None\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True)

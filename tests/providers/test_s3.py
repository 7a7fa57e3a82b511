"""S3 objects in moto's server."""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

import cascade as cs
from tests.engines import make_engine, run, watch

aiobotocore = pytest.importorskip("aiobotocore", reason="needs aiobotocore: pip install 'cascade-hot[s3]'")
from botocore.exceptions import (  # noqa: E402
    ClientError,
    EndpointConnectionError,
    EndpointResolutionError,
    HTTPClientError,
    NoCredentialsError,
)

from cascade.providers import s3  # noqa: E402


@pytest.fixture(autouse=True)
def closed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each test nothing is reported as left open (asyncio logs it when it is collected)."""
    yield
    gc.collect()

    assert [record.getMessage() for record in caplog.records if "nclosed" in record.getMessage()] == []


@pytest.fixture
def bucket(s3_endpoint: str) -> str:
    """The name of an empty bucket."""

    async def make() -> None:
        async with aiobotocore.session.get_session().create_client("s3") as client:
            await client.create_bucket(Bucket="box")

    asyncio.run(make())
    return "box"


@pytest.mark.row("06-providers", "Built-in providers", "io.s3.write_text")
@pytest.mark.row("06-providers", "Built-in providers", "io.s3.read_text")
def test_text(bucket: str) -> None:
    """Text is written and read in an encoding, UTF-8 by default; writing gives None and replaces."""
    assert run(cs.io.s3.write_text(bucket, "a/k", "first")) is None
    assert run(cs.io.s3.write_text(bucket=bucket, key="a/k", content="ä€")) is None
    assert run(cs.io.s3.read_text(bucket, "a/k")) == "ä€"
    run(cs.io.s3.write_text(bucket, "latin", "ä", encoding="latin-1"))
    assert run(cs.io.s3.read_bytes(bucket, "latin")) == b"\xe4"
    assert run(cs.io.s3.read_text(bucket, "latin", encoding="latin-1")) == "ä"


@pytest.mark.row("06-providers", "Built-in providers", "io.s3.write_bytes")
@pytest.mark.row("06-providers", "Built-in providers", "io.s3.read_bytes")
def test_bytes(bucket: str) -> None:
    """Bytes come back as they were, megabytes too."""
    content = bytes(range(256)) * 20_000

    assert run(cs.io.s3.write_bytes(bucket, "k", content)) is None
    found = run(cs.io.s3.read_bytes(bucket, "k"))
    assert (type(found), found == content) == (bytes, True)


@pytest.mark.parametrize("name", ["read_text", "read_bytes", "write_text", "write_bytes"])
def test_providers_are_async_tasks(name: str) -> None:
    """Each is a task of its table's name, asynchronous, and can be mapped."""
    task = getattr(cs.io.s3, name)

    assert (task.name, task.is_async, callable(task.map)) == (f"s3_{name}", True, True)


def test_arguments_may_be_lazy_and_mapped(bucket: str) -> None:
    """Keys and contents take other calls; ``map`` writes one object for each."""
    run(cs.io.s3.write_text.map(bucket=[bucket] * 2, key=["0", "1"], content=["zero", "one"]))

    assert run(cs.io.s3.read_text(cs.Param("b"), cs.format("{}", 1)), params={"b": bucket}) == "one"


def test_errors_are_botocore_s(bucket: str) -> None:
    """A missing object or bucket is a ClientError, with its code."""
    for name, code in ((bucket, "NoSuchKey"), ("none", "NoSuchBucket")):
        with pytest.raises(ClientError) as caught:
            run(cs.io.s3.read_bytes(name, "missing"))
        assert caught.value.response["Error"]["Code"] == code


def test_content_that_is_no_bytes_is_refused_without_showing_it(bucket: str) -> None:
    """Before anything is sent."""
    with pytest.raises(TypeError, match=r"content must be bytes, not str$"):
        run(cs.io.s3.write_bytes(bucket, "k", "text"))


def test_settings_are_read_at_the_time_of_the_call(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are gone from the environment are not remembered."""
    run(cs.io.s3.write_text(bucket, "k", "x"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/no/such/file")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/no/such/file")

    with pytest.raises(NoCredentialsError):
        run(cs.io.s3.read_text(bucket, "k"))


@pytest.mark.parametrize(
    "endpoint, error",
    [
        ("http://user:hunter2@127.0.0.1:1", HTTPClientError),  # aiohttp takes no credentials beside S3's own
        ("http://user:hunter2@ho st", ValueError),
        ("http://127.0.0.1:1/?token=hunter2", EndpointResolutionError),
        ("http://127.0.0.1:1", EndpointConnectionError),
    ],
)
def test_no_secret_shows_when_the_endpoint_cannot_be_used(
    endpoint: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error has botocore's type; its texts, the events and the log lack keys, and credentials of the URL."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcdefgh")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    engine = make_engine()
    events = watch(engine)

    with pytest.raises(error) as caught:
        run(cs.io.s3.read_text("b", "k"), engine)

    with pytest.raises(error):
        cs.run(cs.io.s3.read_text("b", "k"), log_level="DEBUG")
    logged = capsys.readouterr()
    shown = [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value), *map(repr, events)]
    for text in (*shown, logged.out, logged.err):
        assert [secret for secret in ("hunter2", "abcdefgh") if secret in text] == []


def test_what_led_to_an_error_shows_no_secret_either() -> None:
    """An error that quotes another's URL is redacted alone: the other is forgotten; pickling keeps it so."""
    try:
        try:
            raise ValueError("http://user:hunter2@host")
        except ValueError as cause:
            raise HTTPClientError(error=cause) from cause
    except HTTPClientError as error:
        s3._hide_credentials(error)
        shown = [*traceback.format_exception(error), str(pickle.loads(pickle.dumps(error)))]

    assert [text for text in shown if "hunter2@" in text and "raise" not in text] == []
    assert "http://***@host" in shown[-1]


def test_a_cancelled_call_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the run is cancelled while the server does not answer, the client is closed."""

    async def main() -> None:
        begun = asyncio.Event()

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            begun.set()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            monkeypatch.setenv(name, "us-east-1")
        running = asyncio.ensure_future(make_engine().run(cs.io.s3.read_bytes("b", "k")))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        server.close()
        await server.wait_closed()

    asyncio.run(main())


# -- without the library ---


@pytest.mark.parametrize("kind", ["ReadText", "ReadBytes", "WriteText", "WriteBytes"])
def test_without_aiobotocore_a_provider_says_what_to_install(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The module attribute is None then; making the factory names library and extra."""
    monkeypatch.setattr(s3, "aiobotocore", None)
    provider: Any = getattr(s3, f"S3{kind}Provider")()

    with pytest.raises(ImportError, match=r"aiobotocore.*pip install 'cascade-hot\[s3\]'"):
        provider.create_factory()


def test_without_aiobotocore_a_task_that_is_there_says_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of the task itself fails in the same way."""
    monkeypatch.setattr(s3, "aiobotocore", None)

    with pytest.raises(ImportError, match="aiobotocore"):
        run(s3._s3_read_bytes("b", "k"))


def test_the_module_can_be_imported_without_aiobotocore() -> None:
    """The error belongs to the moment when somebody asks for the provider."""
    program = (
        "import sys; sys.modules['aiobotocore'] = None\n"
        "import cascade as cs, cascade.providers.s3 as s3\n"
        "assert s3.aiobotocore is None\n"
        "try: cs.io.s3.read_text\n"
        "except ImportError as error: assert 'aiobotocore' in str(error)\n"
        "else: raise AssertionError\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True)

"""Reading and writing S3 objects, by aiobotocore.

Credentials, region and endpoint come from the usual environment variables and files (``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_DEFAULT_REGION``, ``AWS_PROFILE``, ``AWS_ENDPOINT_URL`` ...) at the time of the call.
Each call has a client of its own, closed however the call ends. Time limits and retries are botocore's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cascade.common.redaction import redact
from cascade.providers._threads import look
from cascade.providers.registry import LazyFactory, Provider
from cascade.spec.task import task

try:
    import aiobotocore
    import aiobotocore.session
except ImportError:  # said when a provider is asked for
    aiobotocore = None  # type: ignore[assignment, unused-ignore]

__all__ = [
    "S3ProviderBase",
    "S3ReadBytesProvider",
    "S3ReadTextProvider",
    "S3WriteBytesProvider",
    "S3WriteTextProvider",
]

#: botocore's loader with the description of S3 in it; reading that takes a tenth of a second.
_descriptions: Any = None


@asynccontextmanager
async def _client() -> AsyncIterator[Any]:
    """Open a client for the duration of the block.

    Raises:
        ImportError: aiobotocore is not installed.
        botocore.exceptions.BotoCoreError, ClientError: what the block or the service made of it; their texts show no
            credentials of the endpoint's URL.
    """
    global _descriptions
    _require_library()
    session = aiobotocore.session.get_session()
    if _descriptions is None:
        _descriptions = await look(_read_descriptions, session.get_component("data_loader"))
    session.register_component("data_loader", _descriptions)
    try:
        async with session.create_client("s3") as client:
            yield client
    except Exception as error:
        _hide_credentials(error)
        raise


def _require_library() -> None:
    if aiobotocore is None:
        raise ImportError("The 'aiobotocore' library is required for S3: pip install 'cascade-hot[s3]'")


def _read_descriptions(loader: Any) -> Any:
    for kind in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("s3", kind)
    for name in ("endpoints", "partitions"):
        loader.load_data_with_path(name)
    return loader


def _hide_credentials(error: Exception) -> None:
    """Redact an error that quotes the endpoint's URL, and forget the errors of other libraries that led to it."""
    text = redact(str(error))
    if text != str(error):
        error.args = (text,)
        error.__cause__ = error.__context__ = None
        details = getattr(error, "kwargs", None)  # of botocore: what its text was made of, and is made of by pickle
        if isinstance(details, dict):
            details.update({name: redact(str(value)) for name, value in details.items()})


async def _read(bucket: str, key: str) -> bytes:
    async with _client() as client:
        answer = await client.get_object(Bucket=bucket, Key=key)
        async with answer["Body"] as stream:
            return bytes(await stream.read())


async def _write(bucket: str, key: str, content: bytes) -> None:
    async with _client() as client:
        await client.put_object(Bucket=bucket, Key=key, Body=content)


@task(name="s3_read_text")
async def _s3_read_text(bucket: str, key: str, encoding: str = "utf-8") -> str:
    """Return an object as text."""
    return (await _read(bucket, key)).decode(encoding)


@task(name="s3_read_bytes")
async def _s3_read_bytes(bucket: str, key: str) -> bytes:
    """Return an object."""
    return await _read(bucket, key)


@task(name="s3_write_text")
async def _s3_write_text(bucket: str, key: str, content: str, encoding: str = "utf-8") -> None:
    """Write text to an object, in place of what it held."""
    await _write(bucket, key, content.encode(encoding))


@task(name="s3_write_bytes")
async def _s3_write_bytes(bucket: str, key: str, content: bytes) -> None:
    """Write an object, in place of what it held."""
    if not isinstance(content, (bytes, bytearray, memoryview)):  # botocore would say so, and show it
        raise TypeError(f"content must be bytes, not {type(content).__name__}")
    await _write(bucket, key, bytes(content))


class S3ProviderBase(Provider):
    """Base of the S3 providers; each says what to install when it is asked for without aiobotocore."""


class S3ReadTextProvider(S3ProviderBase):
    """``cascade.io.s3.read_text``."""

    name = "io.s3.read_text"

    def create_factory(self) -> LazyFactory:
        _require_library()
        return _s3_read_text


class S3ReadBytesProvider(S3ProviderBase):
    """``cascade.io.s3.read_bytes``."""

    name = "io.s3.read_bytes"

    def create_factory(self) -> LazyFactory:
        _require_library()
        return _s3_read_bytes


class S3WriteTextProvider(S3ProviderBase):
    """``cascade.io.s3.write_text``."""

    name = "io.s3.write_text"

    def create_factory(self) -> LazyFactory:
        _require_library()
        return _s3_write_text


class S3WriteBytesProvider(S3ProviderBase):
    """``cascade.io.s3.write_bytes``."""

    name = "io.s3.write_bytes"

    def create_factory(self) -> LazyFactory:
        _require_library()
        return _s3_write_bytes

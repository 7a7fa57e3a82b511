"""Where a broker is."""

from __future__ import annotations

import pytest

from cascade.cli._endpoint import Endpoint, endpoint
from cascade.cli._usage import UsageError


@pytest.mark.parametrize(
    "hostname, port, expected",
    [
        ("localhost", 1883, Endpoint("localhost", 1883)),
        ("::1", 1, Endpoint("::1", 1)),
        ("mqtt://host", 7, Endpoint("host", 7)),
        ("mqtt://host:9", 7, Endpoint("host", 9)),
        ("mqtt://[::1]:9", 7, Endpoint("::1", 9)),
        ("ann@host", 7, Endpoint("host", 7, {"username": "ann"})),
        ("ann:a%40b%2Fc@host:9", 7, Endpoint("host", 9, {"username": "ann", "password": "a@b/c"})),
    ],
)
def test_a_host_is_a_name_or_a_url(hostname, port, expected):
    """With credentials, percent-encoded, and a port that wins over the other one."""
    assert endpoint(hostname, port) == expected


def test_credentials_do_not_show():
    """The text of an endpoint has none."""
    assert "secret" not in repr(endpoint("ann:secret@host", 1))


@pytest.mark.parametrize("hostname", ["ann:secret@host:0", "ann:host:secret", "ann:secret@[host", "ann@host:secret"])
def test_credentials_do_not_show_in_errors(hostname):
    """Nor does a traceback, of the error itself or of one that led to it."""
    with pytest.raises(UsageError) as raised:
        endpoint(f"mqtt://{hostname}", 1)

    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_has_its_range(port):
    """From 1 to 65535, as TCP has it."""
    with pytest.raises(UsageError, match="--port"):
        endpoint("host", port)

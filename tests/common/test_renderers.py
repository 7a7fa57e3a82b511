"""Renderers for terminals and log collectors."""

from __future__ import annotations

import io
import json
import sys
from datetime import datetime, timedelta

import pytest

from cascade.common.messaging import MessageStore
from cascade.common.renderers import LOG_LEVELS, CliRenderer, JsonRenderer, rank_of


@pytest.fixture
def store():
    """A store with one text."""
    made = MessageStore("none")
    made._messages["greet"] = "✅ hello {who}"
    return made


@pytest.mark.row(
    "05-events-and-messages",
    "Message bus cascade.common.messaging",
    'CliRenderer(store, stream=None, min_level="INFO")',
)
def test_the_cli_renderer_prints_the_text(store):
    """One message, one line."""
    stream = io.StringIO()
    CliRenderer(store, stream).render("greet", "info", who="you")

    assert stream.getvalue() == "✅ hello you\n"


@pytest.mark.row(
    "05-events-and-messages",
    "Message bus cascade.common.messaging",
    'CliRenderer(store, stream=None, min_level="INFO")',
)
@pytest.mark.row(
    "05-events-and-messages", "Message bus cascade.common.messaging", 'JsonRenderer(stream=None, min_level="INFO")'
)
def test_standard_error_is_the_default(store, capsys):
    """Messages do not mix with a program's output, even if the stream was replaced after the renderer was made."""
    CliRenderer(store).render("greet", "info", who="you")
    JsonRenderer().render("greet", "info", who="you")
    shown = capsys.readouterr()

    assert shown.out == ""
    assert shown.err.startswith("✅ hello you\n{")


@pytest.mark.parametrize(
    "min_level, shown",
    [
        ("DEBUG", ["debug", "info", "odd", "warning", "error"]),
        ("info", ["info", "odd", "warning", "error"]),
        ("odd", ["info", "odd", "warning", "error"]),
        ("Warning", ["warning", "error"]),
        ("ERROR", ["error"]),
    ],
)
def test_levels_filter(store, min_level, shown):
    """Names are case-insensitive and unknown ones count as INFO, for threshold and message alike."""
    store._messages.update({level: level for level in ("debug", "info", "odd", "warning", "error")})
    text, lines = io.StringIO(), io.StringIO()
    for level in ("debug", "info", "odd", "warning", "error"):
        CliRenderer(store, text, min_level).render(level, level)
        JsonRenderer(lines, min_level).render(level, level)

    assert text.getvalue().split() == shown
    assert [json.loads(line)["event_id"] for line in lines.getvalue().splitlines()] == shown
    assert LOG_LEVELS == {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}


def test_a_stream_that_cannot_show_a_sign_shows_the_words(store):
    """An ASCII terminal must not end a run."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    CliRenderer(store, stream).render("greet", "info", who="you")

    assert raw.getvalue() == b"\\u2705 hello you\n"


def test_a_process_without_standard_error_stays_silent(store, monkeypatch):
    """Where the stream was closed before the process began there is nothing to write to, and no error."""
    monkeypatch.setattr(sys, "stderr", None)

    CliRenderer(store).render("greet", "info", who="you")
    JsonRenderer().render("greet", "info", who="you")


def read(**data):
    stream = io.StringIO()
    JsonRenderer(stream).render("some.id", "warning", **data)
    (line,) = stream.getvalue().splitlines()
    return json.loads(line, parse_constant=pytest.fail)


@pytest.mark.row(
    "05-events-and-messages", "Message bus cascade.common.messaging", 'JsonRenderer(stream=None, min_level="INFO")'
)
def test_the_json_renderer_writes_one_object_a_line():
    """Time in UTC, level in capitals, id, data."""
    record = read(name="t", nested={"a": [1, None]})

    assert list(record) == ["timestamp", "level", "event_id", "data"]
    assert datetime.fromisoformat(record["timestamp"]).utcoffset() == timedelta(0)
    assert record["level"] == "WARNING"
    assert record["event_id"] == "some.id"
    assert record["data"] == {"name": "t", "nested": {"a": [1, None]}}


def test_what_is_not_json_becomes_its_repr():
    """Objects anywhere, odd keys, NaN and data that contains itself never make a line unreadable."""
    loop: list = []
    loop.append(loop)
    record = read(one={1}, inner=[object, 1], keys={(1, 2): 3}, nan=float("nan"), loop=loop, fine=1)

    assert record["data"] == {
        "one": "{1}",
        "inner": ["<class 'object'>", 1],
        "keys": "{(1, 2): 3}",
        "nan": "nan",
        "loop": "[[...]]",
        "fine": 1,
    }


@pytest.mark.parametrize("level", [None, 10, b"INFO"])
def test_a_level_is_a_name(level):
    """A number or nothing is told as such, not taken for INFO."""
    with pytest.raises(TypeError, match=r"a log level is the name of one \(DEBUG, INFO, WARNING, ERROR\), not"):
        rank_of(level)

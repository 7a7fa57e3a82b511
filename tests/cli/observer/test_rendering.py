"""Messages and tables of the observer, on terminals and elsewhere."""

from __future__ import annotations

import contextlib
import io
import os
import re

import pytest

from cascade.cli.observer import _table, rendering
from cascade.common.messaging import MessageStore
from cascade.common.renderers import LOG_LEVELS
from cascade.spec.constraint import GlobalConstraint

pytest.importorskip("rich", reason="needs rich: pip install 'cascade-hot[cli]'")

ESCAPE = "\x1b"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """A terminal of 60 columns that has colours, and a user who says nothing of them."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    # Where a test runs there may be neither, which the terminal driver would tell of standard error.
    monkeypatch.setattr("os.get_terminal_size", lambda *descriptor: os.terminal_size((60, 25)))


def rendered(stream, store, msg_id, level="info", min_level="INFO", **data):
    """Returns what standard error has got when a message was shown there."""
    with contextlib.redirect_stderr(stream):
        rendering.RichCliRenderer(store, min_level).render(msg_id, level, **data)
    return stream.getvalue()


@pytest.fixture
def store():
    """A store with one text."""
    made = MessageStore()
    made._messages["greet"] = "hello {who}"
    return made


# ------------------------------------------------------------------------------------------------------------- messages


@pytest.mark.row(
    "05-events-and-messages", "Message bus cascade.common.messaging", 'RichCliRenderer(store, min_level="INFO")'
)
def test_a_message_is_a_line_on_standard_error(store, capsys):
    """Its text in full, however long, without control characters where there is no terminal."""
    text = rendered(io.StringIO(), store, "greet", who="x" * 500)

    assert text == f"hello {'x' * 500}\n"
    assert capsys.readouterr().out == ""


@pytest.mark.row(
    "05-events-and-messages", "Message bus cascade.common.messaging", 'RichCliRenderer(store, min_level="INFO")'
)
def test_the_first_message_of_a_run_is_a_rule(store):
    """A line across the terminal with the run's id in it."""
    text = rendered(Terminal(), store, "observer.telemetry.run_header", run_id="run-7")

    assert "Run run-7" in text
    assert text.count("─") > 30


@pytest.mark.row(
    "05-events-and-messages", "Message bus cascade.common.messaging", 'RichCliRenderer(store, min_level="INFO")'
)
def test_texts_may_have_markup_and_data_have_none(store):
    """What comes from elsewhere is shown letter by letter."""
    store._messages["loud"] = "[bold]loud[/bold] {who}"
    text = rendered(Terminal(), store, "loud", who="[red]me[/red] :smile: \\")

    assert text == f"{ESCAPE}[1mloud{ESCAPE}[0m [red]me[/red] :smile: \\\n"


def test_colour_is_for_terminals_only(store):
    """Errors are red there, and nowhere else."""
    assert rendered(Terminal(), store, "greet", "error", who="you") == f"{ESCAPE}[31mhello you{ESCAPE}[0m\n"
    assert rendered(io.StringIO(), store, "greet", "error", who="you") == "hello you\n"


def test_no_colour_where_the_user_wants_none(store, monkeypatch):
    """NO_COLOR is honoured."""
    monkeypatch.setenv("NO_COLOR", "1")

    assert rendered(Terminal(), store, "greet", "error", who="you") == "hello you\n"


@pytest.mark.parametrize("state, style", [("FAILED", "31"), ("COMPLETED", "32"), ("BLOCKED", "33"), ("SKIPPED", "2")])
def test_states_have_styles(store, state, style):
    """What went wrong is found at a glance."""
    msg_id = f"observer.telemetry.task_state.{state}"
    text = rendered(Terminal(), store, msg_id, task_name="t", duration_ms=1.0, error="e")

    assert text.startswith(f"{ESCAPE}[{style}m")


def test_a_stranger_cannot_write_to_the_terminal(store):
    """Control characters in data are shown, not obeyed: nothing is erased, coloured or turned round."""
    text = rendered(Terminal(), store, "greet", who="a\x1b[2Jb\x07c\rd\x9be\u202ef\x7f")

    assert text == "hello a\\x1b[2Jb\\x07c\\rd\\x9be\\u202ef\\x7f\n"


def test_a_stranger_cannot_do_so_by_an_id_either(store):
    """States and events become parts of ids; one that has no text is shown as it is."""
    text = rendered(Terminal(), store, "observer.telemetry.task_state.[red]\x1b[2J")

    assert text == "<observer.telemetry.task_state.[red]\\x1b[2J>\n"


def test_numbers_stay_numbers(store):
    """Texts may say how many digits they want."""
    msg_id = "observer.telemetry.task_state.COMPLETED"

    assert rendered(io.StringIO(), store, msg_id, task_name="t", duration_ms=1.2345, error="") == "✅ t (1 ms)\n"


@pytest.mark.parametrize("min_level, shown", [("DEBUG", 4), ("info", 3), ("odd", 3), ("WARNING", 2), ("error", 1)])
def test_levels_filter(store, min_level, shown):
    """Case-insensitively; an unknown name counts as INFO."""
    stream = io.StringIO()
    for level in ("debug", "info", "warning", "ERROR"):
        rendered(stream, store, "greet", level, min_level, who="you")

    assert stream.getvalue() == "hello you\n" * shown
    assert rendering.LOG_LEVELS is LOG_LEVELS


def test_a_text_with_broken_markup_is_shown_as_it_is(store):
    """A message must not end a watch."""
    store._messages["broken"] = "[/bold] {who}"

    assert rendered(io.StringIO(), store, "broken", who="you") == "[/bold] you\n"


def test_rich_is_asked_for_when_it_is_missing(store, monkeypatch):
    """When a renderer is made, with the remedy."""
    monkeypatch.setattr(rendering, "rich", None)
    with pytest.raises(ImportError, match=r"'rich' library.*cascade-hot\[cli\]"):
        rendering.RichCliRenderer(store)


# ---------------------------------------------------------------------------------------------------------------- table


def shown_table(monkeypatch, stream, *constraints):
    """Returns what standard error has got when constraints were shown there."""
    monkeypatch.setattr("time.time", lambda: 1000.0)
    with contextlib.redirect_stderr(stream):
        _table.show_constraints(constraints)
    return stream.getvalue()


def words(text):
    return [line.split() for line in text.splitlines() if line.strip()]


def test_constraints_are_sorted_by_scope(monkeypatch):
    """Scope, type, parameters and what is left of their time."""
    text = shown_table(
        monkeypatch,
        io.StringIO(),
        GlobalConstraint("3", "task:b", "pause", {}, 1042.25),
        GlobalConstraint("2", "task:a", "rate_limit", {"rate": "1/s"}, 900.0),
        GlobalConstraint("4", "task:a", "concurrency", {"limit": 3}, 1000.0),
        GlobalConstraint("1", "global", "pause", {}),
        GlobalConstraint("5", "task:c", "pause", {}, float("inf")),
        GlobalConstraint("6", "task:d", "pause", {}, "1005"),  # type: ignore[arg-type]
    )
    head, _, *rows = words(text)

    assert head == ["Scope", "Type", "Params", "Expires", "in"]
    assert rows == [
        ["global", "pause", "{}", "Never"],
        ["task:a", "concurrency", "{'limit':", "3}", "Expired"],
        ["task:a", "rate_limit", "{'rate':", "'1/s'}", "Expired"],
        ["task:b", "pause", "{}", "42.2s"],
        ["task:c", "pause", "{}", "Never"],
        ["task:d", "pause", "{}", "5.0s"],
    ]


def test_none_are_said_to_be_none(monkeypatch, capsys):
    """The text is published; standard output stays empty."""
    assert shown_table(monkeypatch, io.StringIO()) == "No active constraints found.\n"
    assert capsys.readouterr().out == ""


def test_where_there_is_no_terminal_no_line_is_cut(monkeypatch):
    """Whoever reads it wants whole lines, and no control characters."""
    long = GlobalConstraint("1", "task:\x1b[2J" + "x" * 300, "pause", {"k": "[red]\x1b[2J"})
    text = shown_table(monkeypatch, io.StringIO(), long)

    assert words(text)[-1] == ["task:\\x1b[2J" + "x" * 300, "pause", "{'k':", "'[red]\\x1b[2J'}", "Never"]
    assert ESCAPE not in text


def test_on_a_terminal_long_values_are_folded(monkeypatch):
    """Into the width of the terminal, with nothing lost; what has expired is red."""
    long = GlobalConstraint("1", "task:" + "y" * 100, "pause", {}, 1.0)
    text = shown_table(monkeypatch, Terminal(), long)
    letters = re.sub(r"\x1b\[[\d;]*m", "", text)

    assert letters.count("y") == 100 + 1  # and that of "Type"
    assert max(map(len, letters.splitlines())) <= 60
    assert f"{ESCAPE}[31mExpired" in text


def test_the_table_asks_for_rich(monkeypatch):
    """With the remedy."""
    monkeypatch.setattr(_table, "rich", None)
    with pytest.raises(ImportError, match=r"'rich' library.*cascade-hot\[cli\]"):
        _table.show_constraints([])

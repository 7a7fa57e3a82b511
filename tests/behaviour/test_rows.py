"""Every row of the behaviour files' tables has a test."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.behaviour import rows
from tests.behaviour.rows import TESTS, findings, known_rows, marks_in, rows_of

FILE = """
# Title `of` the page

| key | value |
|---|---|
| `a` | one |
| **b**, `c|d` | a pipe in code is escaped: \\| |
| `a` | the same again |

text | that is no table

## Part #2 of `it(**kw)`

| k |
|:-:|
| a |
| x\\|y |

| another table | below the same heading |
|---|---|
| a | |
"""


def test_every_row_has_a_test() -> None:
    """No row is without a marked test that runs, and no mark is without a row."""
    found = findings(known_rows(), list(marks_in(TESTS)))

    assert not found, "\n".join(map(str, found))


@pytest.mark.row("00-index", "Behaviour a drop-in must keep — index", "01-tasks-and-graph.md")
@pytest.mark.row("00-index", "Behaviour a drop-in must keep — index", "02-execution.md")
@pytest.mark.row("00-index", "Behaviour a drop-in must keep — index", "03-flow-and-policies.md")
@pytest.mark.row("00-index", "Behaviour a drop-in must keep — index", "04-resources-and-constraints.md")
@pytest.mark.row("00-index", "Behaviour a drop-in must keep — index", "05-events-and-messages.md")
@pytest.mark.row("00-index", "Behaviour a drop-in must keep — index", "06-providers.md")
@pytest.mark.row("00-index", "Behaviour a drop-in must keep — index", "07-connectors-and-telemetry.md")
@pytest.mark.row("00-index", "Behaviour a drop-in must keep — index", "08-tools-cli-testing.md")
def test_every_file_of_the_index_is_in_the_list() -> None:
    """The index names the other files, and each of them has rows."""
    named = {f"{stem}.md" for stem, _, _ in known_rows()} - {"00-index.md"}

    assert named == {row for stem, table, row in known_rows() if stem == "00-index" and table.endswith("index")}


def test_rows_are_read_with_their_headings() -> None:
    """A row is the file, the nearest heading, and its first cell as plain text, numbered where that comes again."""
    text = FILE.replace("`c|d`", "`c\\|d`")

    assert list(rows_of("07-x", text)) == [
        ("07-x", "Title of the page", "a"),
        ("07-x", "Title of the page", "b, c|d"),
        ("07-x", "Title of the page", "a #2"),
        ("07-x", "Part #2 of it(kw)", "a"),
        ("07-x", "Part #2 of it(kw)", "x|y"),
        ("07-x", "Part #2 of it(kw)", "a #2"),
    ]


def _found(folder: Path, source: str, name: str = "test_it.py") -> list[str]:
    (folder / name).write_text("import pytest\n" + textwrap.dedent(source), encoding="utf-8")
    return [str(one) for one in findings([("f", "t", "r")], list(marks_in(folder)))]


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.row('f', 't', 'r')\ndef test_it(): pass",
        "@pytest.mark.row('f', 't', 'r')\n@pytest.mark.skipif(no_server, reason='x')\nasync def test_it(): pass",
        "@pytest.mark.row('f', 't', 'r')\nclass TestIt:\n    def test_it(self): pass",
        "class TestIt:\n    pytestmark = pytest.mark.row('f', 't', 'r')\n    def test_it(self): pass",
        "pytestmark = [pytest.mark.slow, pytest.mark.row('f', 't', 'r')]\ndef test_it(): pass",
        "@pytest.mark.parametrize('a', [pytest.param(1, marks=pytest.mark.row('f', 't', 'r')), 2])\n"
        "def test_it(a): pass",
        "@pytest.mark.parametrize('a', [pytest.param(1, marks=[pytest.mark.row('f', 't', 'r')])])\n"
        "def test_it(a): pass",
        "@pytest.mark.row('f', 't', 'r')\ndef test_it():\n    if not there: pytest.skip('x')",
        "@pytest.mark.row('f', 't', 'r')\ndef test_it():\n    flow.skip('x')",
        "TABLE = 't'\n@pytest.mark.row('f', TABLE, 'r')\ndef test_it(): pass",
        "TABLE = 'f', 't'\n@pytest.mark.row(*TABLE, 'r')\ndef test_it(): pass",
    ],
)
def test_marks_are_found_where_they_stand(tmp_path: Path, source: str) -> None:
    """On functions, classes, modules and cases; a condition for skipping may be false."""
    assert _found(tmp_path, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.row('f', 't', 'r')\n@pytest.mark.skip\ndef test_it(): pass",
        "@pytest.mark.row('f', 't', 'r')\n@pytest.mark.skip(reason='x')\ndef test_it(): pass",
        "@pytest.mark.row('f', 't', 'r')\n@pytest.mark.skipif(True, reason='x')\ndef test_it(): pass",
        "@pytest.mark.row('f', 't', 'r')\n@pytest.mark.xfail(reason='x')\ndef test_it(): pass",
        "@pytest.mark.row('f', 't', 'r')\ndef test_it():\n    pytest.skip('later')",
        "pytestmark = pytest.mark.skip\n@pytest.mark.row('f', 't', 'r')\ndef test_it(): pass",
        "pytest.skip('all', allow_module_level=True)\n@pytest.mark.row('f', 't', 'r')\ndef test_it(): pass",
        "@pytest.mark.skip\nclass TestIt:\n    @pytest.mark.row('f', 't', 'r')\n    def test_it(self): pass",
        "@pytest.mark.parametrize('a', [pytest.param(1, marks=[pytest.mark.row('f', 't', 'r'), pytest.mark.skip])])\n"
        "def test_it(a): pass",
    ],
)
def test_a_test_that_never_runs_shows_nothing(tmp_path: Path, source: str) -> None:
    """Skipped or expected to fail whatever the machine: the row is without a test, and the mark is named."""
    missing, mark = _found(tmp_path, source)

    assert missing == "no test for: f | t | r"
    assert mark.startswith("never runs: test_it.py::")


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.row('f', 't', 'r')\ndef helper(): pass",
        "@pytest.mark.row('f', 't', 'r')\nclass TestNothing: pass",
        "pytestmark = pytest.mark.row('f', 't', 'r')",
    ],
)
def test_a_mark_without_a_test_shows_nothing(tmp_path: Path, source: str) -> None:
    """What pytest collects nothing from is no test."""
    assert _found(tmp_path, source) == ["no test for: f | t | r"]


def test_a_file_that_is_not_collected_shows_nothing(tmp_path: Path) -> None:
    """Helpers beside the tests are not looked at."""
    assert _found(tmp_path, "@pytest.mark.row('f', 't', 'r')\ndef test_it(): pass", "helpers.py") == [
        "no test for: f | t | r"
    ]


def test_marks_must_name_rows(tmp_path: Path) -> None:
    """A mark with another text, or with one that is not in the module, is named with its place."""
    found = _found(
        tmp_path,
        """
        @pytest.mark.row('f', 't', 'r')
        @pytest.mark.row('f', 't', 'other')
        @pytest.mark.row('f', 't', R)
        @pytest.mark.row('f', 't')
        def test_it(): pass
        """,
    )

    assert found == [
        "no such row: f | t | other, at test_it.py::test_it (line 4)",
        "a mark needs three texts: test_it.py::test_it (line 5)",
        "a mark needs three texts: test_it.py::test_it (line 6)",
    ]


def test_the_script_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It writes the list on demand, names rows without a test, and its exit code says whether there are any."""
    files, tests = tmp_path / "files", tmp_path / "tests"
    files.mkdir()
    tests.mkdir()
    (files / "f.md").write_text("# t\n\n| a |\n|---|\n| `r` |\n", encoding="utf-8")
    monkeypatch.setattr(rows, "LIST", tmp_path / "rows.json")
    monkeypatch.setattr(rows, "TESTS", tests)

    assert rows.main(["--read", str(files)]) == 1
    assert capsys.readouterr().out.splitlines() == ["no test for: f | t | r", "0 of 1 rows have a test"]

    (tests / "test_it.py").write_text("@pytest.mark.row('f', 't', 'r')\ndef test_it(): pass\n", encoding="utf-8")

    assert rows.main([]) == 0
    assert capsys.readouterr().out.splitlines() == ["1 of 1 rows have a test"]

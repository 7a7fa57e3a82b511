"""The file that a baseline is kept in."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from cascade.tools.gate.baseline import read, write
from cascade.tools.gate.errors import BaselineBroken, BaselineMissing
from cascade.tools.gate.verdicts import Kind, Row
from tests.gates import baseline_of


def content(**changes: Any) -> dict[str, Any]:
    """Returns what a good file holds, with changes."""
    place = dataclasses.asdict(baseline_of().place)
    row = {"value": 1.0, "tolerance": 0.2}
    return {"format": 2, "reason": "r", "recorded": place, "time": {"x": row}, "instructions": {}, **changes}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Rows of both kinds, calls, place and reason come back; nothing else is left in the folder."""
    path = tmp_path / "b.json"
    before = baseline_of({"x": 1200.0}, x=0.5, y=2.0)
    rows = {**before.rows, Kind.TIME: {**before.rows[Kind.TIME], "z": Row(3.0, 0.25, calls=7)}}
    before = dataclasses.replace(before, rows=rows)

    write(path, before)

    assert read(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["b.json"]


def test_content_of_these_tests_is_good(tmp_path: Path) -> None:
    """The changes below are what breaks a file, not the rest of it."""
    path = tmp_path / "b.json"
    path.write_text(json.dumps(content()), encoding="utf-8")

    assert read(path).rows[Kind.TIME] == {"x": Row(1.0, 0.2)}


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "3", "\ufeff{"),
        *(
            json.dumps(content(**change))
            for change in (
                {"format": 1},
                {"recorded": {}},
                {"recorded": None},
                {"time": []},
                {"time": {"x": {"value": 1.0}}},
                {"time": {"x": {"value": 1.0, "tolerance": 1.0}}},
                {"time": {"x": {"value": 0, "tolerance": 0.2}}},
                {"time": {"x": {"value": float("nan"), "tolerance": 0.2}}},
                {"time": {"x": {"value": float("inf"), "tolerance": 0.2}}},
                {"time": {"x": {"value": "1", "tolerance": 0.2}}},
                {"time": {"x": {"value": 1.0, "tolerance": 0.2, "calls": 0}}},
                {"time": {"x": {"value": 1.0, "tolerance": 0.2, "more": 0}}},
            )
        ),
        json.dumps({name: value for name, value in content().items() if name != "instructions"}),
    ],
)
def test_broken_file_is_told(tmp_path: Path, text: str) -> None:
    """Whatever else a file holds, it is named, and so is the remedy."""
    path = tmp_path / "b.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(BaselineBroken, match=r"b\.json is not a baseline .*--update --reason TEXT"):
        read(path)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    """A file need not even be text."""
    path = tmp_path / "b.json"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(BaselineBroken, match="is not a baseline"):
        read(path)


def test_missing_file_is_told(tmp_path: Path) -> None:
    """Without a baseline the gate says how to record one."""
    with pytest.raises(BaselineMissing, match=r"no baseline .*b\.json; record one with --update --reason TEXT"):
        read(tmp_path / "b.json")


def test_what_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    """A folder in the place of the file is told as what it is, and stays as it is."""
    path = tmp_path / "b.json"
    path.mkdir()

    with pytest.raises(BaselineBroken, match="cannot be read"):
        read(path)
    with pytest.raises(BaselineBroken, match="cannot be written"):
        write(tmp_path / "absent" / "b.json", baseline_of())

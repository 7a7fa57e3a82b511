"""``examples/stdlib_census.py``, the main job, at reduced size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import cascade
from cascade.spec.lazy_types import LazyResult
from examples import stdlib_census
from examples.stdlib_census import Census, Source, command, counted, log_bins, nice_step

SCRIPT = Path(stdlib_census.__file__)

MODULE = """
class Thing:
    def method(self):
        return 1

    async def other(self):
        async def inner():
            return 2
        return inner
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A small library: two modules, and one file each that cannot be read, decoded and parsed."""
    root = tmp_path / "library"
    (root / "site-packages").mkdir(parents=True)
    (root / "package").mkdir()
    (root / "thing.py").write_text(MODULE)
    (root / "package" / "latin.py").write_bytes("# coding: latin-1\ndef f(): return 'é'\n".encode("latin-1"))
    (root / "bytes.py").write_bytes(b"x = '\xff'\n")
    (root / "old.py").write_text("print 'hello'\n")
    (root / "gone.py").symlink_to(root / "nowhere.py")
    (root / "site-packages" / "installed.py").write_text(MODULE)
    return root


def census_of(out: Path) -> dict[str, object]:
    """Reads the report."""
    return dict(json.loads((out / "census.json").read_text(encoding="utf-8")))


def test_every_file_is_counted_or_listed(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that cannot be read, decoded or parsed are listed with a reason; what is installed does not count."""
    out = tmp_path / "out"
    code = command(["--root", str(library), "--out", str(out)])
    shown = capsys.readouterr().out
    census = census_of(out)

    assert code == 0
    assert census["files"] == 5
    assert {(p["path"], p["kind"]) for p in census["problems"]} == {  # type: ignore[attr-defined]
        *(("gone.py", "read"), ("bytes.py", "decode"), ("old.py", "parse")),
    }
    assert census["functions"] == 4
    assert census["coroutines"] == 2
    assert census["classes"] == 1
    assert census["lengths"] == {"1": 1, "2": 2, "4": 1}
    assert "not parsable" in shown
    assert "old.py" in shown


def test_a_read_that_fails_once_is_tried_again(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that may pass costs a retry and loses nothing."""
    read_bytes, failed = Path.read_bytes, set()

    def read_badly(path: Path) -> bytes:
        if path.name == "thing.py" and path not in failed:
            failed.add(path)
            raise OSError(24, "Too many open files")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read_badly)
    command(["--root", str(library), "--out", str(tmp_path / "out")])

    assert failed
    assert census_of(tmp_path / "out")["functions"] == 4
    assert "attempt 1 of 4" in capsys.readouterr().err


def test_the_picture_is_well_formed(library: Path, tmp_path: Path) -> None:
    """The SVG has a title, named axes and one column for each bin, and nothing lies outside of it."""
    out = tmp_path / "out"
    command(["--root", str(library), "--out", str(out)])
    picture = ET.parse(out / "lengths.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text or "" for text in picture.iter(f"{space}text")]
    columns = [rect for rect in picture.iter(f"{space}rect") if rect.find(f"{space}title") is not None]

    assert any("functions" in text for text in texts)
    assert "Functions" in texts
    assert any(text.startswith("Lines per function") for text in texts)
    assert len(columns) == 3
    for element in picture.iter():
        assert 0 <= float(element.get("x", 0)) <= float(picture.get("width", 0))
        assert 0 <= float(element.get("y", 0)) <= float(picture.get("height", 0))


def test_an_empty_library_is_reported_too(tmp_path: Path) -> None:
    """Nothing to count is no error."""
    assert command(["--root", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert census_of(tmp_path / "out")["files"] == 0


def test_it_runs_as_a_script_on_the_real_library(tmp_path: Path) -> None:
    """``python examples/stdlib_census.py`` needs no arguments; here it counts sixty files of the library."""
    environment = {**os.environ, "PYTHONPATH": str(Path(cascade.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--limit", "60"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Standard library of Python 3.")
    assert census_of(tmp_path / "census")["files"] == 60


def test_the_library_has_over_a_thousand_files() -> None:
    """The job is a real one: without ``--limit`` all of them are counted."""
    import sysconfig

    assert len(stdlib_census.library_files(Path(sysconfig.get_path("stdlib")))) > 1000


def test_bins_double_and_hold_everything() -> None:
    """1, 2, 3 to 4, 5 to 8 and so on, up to the bin of the longest function."""
    bins = log_bins({1: 3, 2: 1, 4: 5, 9: 2})

    assert [(one.label, one.count) for one in bins] == [("1", 3), ("2", 1), ("3–4", 5), ("5–8", 0), ("9–16", 2)]
    assert log_bins({}) == []


@pytest.mark.parametrize("highest", [1, 4, 7, 10, 13_117, 99_999])
def test_there_are_a_few_grid_lines(highest: int) -> None:
    """However many functions there are, the axis has one to six steps, each 1, 2 or 5 times a power of ten."""
    step = nice_step(highest)

    assert 1 <= -(-highest // step) <= 6
    assert str(step).rstrip("0") in {"1", "2", "5"}


def test_quantiles_are_lengths_that_occur() -> None:
    """The median of 1, 2, 2, 10 lines is 2, and nine in ten have at most 10."""
    census = Census(functions=4, lengths={1: 1, 2: 2, 10: 1})

    assert (census.quantile(0.5), census.quantile(0.9), Census().quantile(0.5)) == (2, 10, 0)


def test_counting_leaves_the_census_before_as_it_was() -> None:
    """Each step makes a new census, so that a step may be repeated."""
    before = Census()
    after = counted(before, Source("a.py", MODULE.encode()))

    assert before == Census()
    assert after.functions == 3
    assert [function.lines for function in after.longest] == [4, 2, 2]


def test_cascade_run_has_a_report_to_make() -> None:
    """``main`` is the lazy report, which ``cascade run`` prints."""
    census = Census()

    assert isinstance(stdlib_census.main(), LazyResult)
    assert stdlib_census.report.func(census, 0.0).startswith("Standard library of Python")

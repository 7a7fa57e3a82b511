"""The picture of a check."""

from __future__ import annotations

import math
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from cascade.tools.gate import picture
from cascade.tools.gate.checking import Report
from cascade.tools.gate.errors import PictureImpossible
from cascade.tools.gate.verdicts import Kind, Row, Verdict
from tests.gates import baseline_of

needs_matplotlib = pytest.mark.skipif(bool(picture.why_not()), reason=picture.why_not() or "draws")


@pytest.fixture
def report() -> Report:
    """A check with every word in it, and a row that is far off."""
    times = {"same": 1.0, "slow": 0.6, "quick": 40.0, "odd": math.nan}
    counts = {"same": 100.0, "more": 120.0}
    return Report(
        baseline_of(),
        [
            *(Verdict(Kind.TIME, name, value, Row(1.0, 0.2)) for name, value in times.items()),
            *(Verdict(Kind.INSTRUCTIONS, name, value, Row(100, 0.03)) for name, value in counts.items()),
        ],
    )


@needs_matplotlib
def test_picture_shows_names_shares_and_verdicts(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row has its name and share, and what to notice; the title says how it went."""
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")  # letters as letters
    path = tmp_path / "gate.svg"

    picture.draw(report, path)

    texts = {text.strip() for text in ET.parse(path).getroot().itertext() if text.strip()}
    assert {"same", "slow", "quick", "more", "100%", "60% SLOWER", "4000% faster", "83% MORE"} <= texts
    assert "Regression gate: 3 of 6 rows beyond their limits" in texts


@needs_matplotlib
@pytest.mark.parametrize("suffix, begins", [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_suffix_chooses_the_format(report: Report, tmp_path: Path, suffix: str, begins: bytes) -> None:
    """The file is what its name says."""
    picture.draw(report, tmp_path / f"gate.{suffix}")

    assert (tmp_path / f"gate.{suffix}").read_bytes().startswith(begins)


@needs_matplotlib
def test_wrong_paths_are_told(report: Report, tmp_path: Path) -> None:
    """A name that says no format, a folder that is not there or a file that cannot be written is named."""
    (tmp_path / "folder.png").mkdir()

    with pytest.raises(PictureImpossible, match=r"must end with \.png, \.svg, \.pdf"):
        picture.check_path(tmp_path / "gate.xyz")
    with pytest.raises(PictureImpossible, match=r"there is no folder .*absent"):
        picture.check_path(tmp_path / "absent" / "gate.png")
    with pytest.raises(PictureImpossible, match=r"no picture .*folder\.png: Is a directory"):
        picture.draw(report, tmp_path / "folder.png")


def test_without_matplotlib_it_says_what_to_install(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    assert picture.why_not() == "matplotlib is not installed: pip install 'cascade-hot[plot]'"
    with pytest.raises(PictureImpossible, match=r"pip install 'cascade-hot\[plot\]'"):
        picture.draw(report, tmp_path / "gate.png")


@needs_matplotlib
def test_one_row_is_enough(report: Report, tmp_path: Path) -> None:
    """A group without rows is left out."""
    report.verdicts = report.verdicts[:1]

    picture.draw(report, tmp_path / "gate.png")

    assert (tmp_path / "gate.png").stat().st_size > 1_000

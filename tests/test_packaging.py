"""What the distribution promises: versions, typing, the commands and examples of the README."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cascade

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def command(name: str) -> list[str]:
    """Returns the lines of the code block below a marker, as .ci/run reads it."""
    found = re.findall(rf"^<!-- command: {name} -->\n```sh\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [line for block in found for line in block.splitlines()]


def test_type_marker_is_shipped() -> None:
    """Type checkers find the marker beside the package."""
    assert Path(cascade.__file__).with_name("py.typed").is_file()


def test_package_knows_the_version_of_the_project() -> None:
    """The version is stated once and read everywhere else."""
    assert cascade.__version__ == PROJECT["version"]


def test_installed_metadata_agree_with_the_project() -> None:
    """What is installed is what the tree declares: version, Python, and numpy as the only dependency."""
    try:
        installed = importlib.metadata.distribution(PROJECT["name"])
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("cascade-hot is not installed; the tests run from the source tree")
    needs = [need for need in installed.requires or [] if "extra ==" not in need]

    assert installed.version == PROJECT["version"]
    assert installed.metadata["Requires-Python"] == PROJECT["requires-python"]
    assert needs == ["numpy"]


@pytest.mark.parametrize("name", ["example", "tests"])
def test_readme_commands_are_one_line_each(name: str) -> None:
    """Each command stands alone on one line that makes its own environment."""
    [line] = command(name)

    assert line.startswith("python3.11 -m venv .venv && ")


def test_readme_tests_are_the_whole_suite() -> None:
    """The second command passes no path or option that would leave tests out."""
    [line] = command("tests")

    assert line.endswith("-m pytest")


def test_readme_opens_with_three_lines_that_run() -> None:
    """The first block of the README is a program of three lines."""
    first = EXAMPLES[0]

    assert README.startswith("# Cascade\n\n```python\n")
    assert len(first.splitlines()) == 3


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda source: source.splitlines()[-1][:40])
def test_readme_examples_run(source: str, tmp_path: Path) -> None:
    """Each Python example of the README is a whole program."""
    program = tmp_path / "example.py"
    program.write_text(source, encoding="utf-8")
    package_parent = str(Path(cascade.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        env={**os.environ, "PYTHONPATH": package_parent},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_every_extra_of_the_readme_exists() -> None:
    """The table of extras and the project agree."""
    named = set(re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE))

    assert named == set(PROJECT["optional-dependencies"])

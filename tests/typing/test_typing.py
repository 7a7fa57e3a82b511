"""Type checkers make of the public interface what api.py and providers.py say, and of the package no errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHECKERS = {
    "mypy": [
        "--strict",
        "--follow-imports=silent",
        "--config-file=",
        "--cache-dir=.mypy_cache/typing",
        str(HERE / "api.py"),
        str(HERE / "providers.py"),
    ],
    "pyright": ["--pythonpath", sys.executable, "--project", str(HERE)],
}


def check(checker: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a type checker in the root of the project; pyright is kept from asking the network for a newer one."""
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    return subprocess.run(
        [sys.executable, "-m", checker, *arguments],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("checker", CHECKERS)
def test_public_interface(checker: str) -> None:
    """A call of a task has the type of its function's result, and every wrong use that is marked is an error."""
    done = check(checker, *CHECKERS[checker])

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("checker", CHECKERS)
def test_checkers_do_look(checker: str, tmp_path: Path) -> None:
    """With a comment too many and a type that is wrong, both checkers complain of both."""
    bad = (HERE / "api.py").read_text(encoding="utf-8")
    bad += "\nassert_type(add(1), str)\nadd(1)  # type: ignore\n"
    last = len(bad.splitlines())
    (tmp_path / "api.py").write_text(bad, encoding="utf-8")
    shutil.copy(HERE / "providers.py", tmp_path)
    settings = (HERE / "pyrightconfig.json").read_text(encoding="utf-8").replace('"../.."', f'"{ROOT.as_posix()}"')
    (tmp_path / "pyrightconfig.json").write_text(settings, encoding="utf-8")

    done = check(checker, *(argument.replace(str(HERE), str(tmp_path)) for argument in CHECKERS[checker]))

    assert done.returncode == 1
    assert all(f"api.py:{line}:" in done.stdout for line in (last - 1, last)), done.stdout
    assert done.stdout.count("error") == 3, done.stdout  # the two, and the line that counts them

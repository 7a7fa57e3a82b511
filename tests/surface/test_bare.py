"""What somebody sees who lacks a library."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

import cascade
from tests.surface import bare

PROPER = "The 'redis' library is required for this: pip install 'cascade-hot[redis]'"


@pytest.mark.slow
def test_every_feature_says_which_library_it_lacks() -> None:
    """No provider, backend, connector, solver or command ends otherwise than with the library and how to get it."""
    try:
        distribution("cascade-hot")
    except PackageNotFoundError:
        pytest.skip("cascade-hot is not installed, so there are no commands; the tests run from the source tree")
    done = subprocess.run(
        [sys.executable, bare.__file__, "--block"],
        env={**os.environ, "PYTHONPATH": str(Path(cascade.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def use(error: Exception | None) -> Any:
    """Returns a feature that raises an error when it is used, or works."""

    def feature() -> None:
        if error is not None:
            raise error

    return feature


@pytest.mark.parametrize(
    "error, fault",
    [
        (None, "raises nothing"),
        (AttributeError("'NoneType' object has no attribute 'from_url'"), "raises AttributeError, not ImportError"),
        (ImportError("Something is missing: pip install 'cascade-hot[redis]'"), "does not name redis"),
        (ImportError("redis is missing: pip install redis"), "does not say pip install 'cascade-hot\\[redis\\]'"),
        (ImportError(f"{PROPER}\n{PROPER}"), "says more or less than one line"),
        (ImportError(""), "says more or less than one line"),
    ],
)
def test_an_error_that_does_not_help_is_reported(error: Exception | None, fault: str) -> None:
    """Only an ImportError of one line that names library and extra is as it should be."""
    with pytest.raises(AssertionError, match=fault):
        assert not list(bare.use_faults("redis", use(error)))


def test_an_error_that_helps_is_not_reported() -> None:
    """The text that the package uses is taken."""
    assert not list(bare.use_faults("redis", use(ImportError(PROPER))))


def test_where_libraries_are_installed_they_must_be_blocked(capsys: pytest.CaptureFixture[str]) -> None:
    """An environment with extras does not pass for one without."""
    pytest.importorskip("yaml")
    with pytest.raises(SystemExit) as ended:
        bare.main([])

    assert ended.value.code == 2
    assert "yaml" in capsys.readouterr().err


def test_every_extra_is_used() -> None:
    """No library that an extra brings is forgotten, neither here nor by the features."""
    used = {library for _, library, _ in bare.features()} | set(bare.COMMANDS.values())

    assert used == set(bare.EXTRAS)

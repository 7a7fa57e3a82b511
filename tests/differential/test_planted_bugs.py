"""Bugs of the kinds that a fast path invites are planted, one at a time, and the search finds each of them soon."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.differential.planted import PLANTS, Plant

ROOT = Path(__file__).parents[2]
#: Cases of the search, at most, until a planted bug is found.
BOUND = 500


def searched(name: str, count: int) -> str:
    """Return what a search among so many cases finds when a bug is planted, in the Python kernel and what is around."""
    command = [sys.executable, "-m", "tests.differential.planted", name, "1", str(count)]
    environment = os.environ | {"CASCADE_PURE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTS)
def test_the_search_finds_a_planted_bug(name: str) -> None:
    """Within a bounded number of cases, always the same."""
    found = searched(name, BOUND)

    assert found.split(" ", 1)[0].isdigit(), found


@pytest.mark.slow
def test_the_search_finds_nothing_where_nothing_was_planted() -> None:
    """Among the cases that find most of them; the others are judged by each run of ``ci/fuzz.py``."""
    assert searched("nothing", 80) == "not found"


def test_a_plant_that_has_no_place_any_more_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """When code moves, its plant must be moved too; it does not just find nothing."""
    code = (
        "from tests.differential import planted\n"
        "planted.PLANTS['x'] = planted.Plant('cascade.runtime.flow', 'nowhere', '')\n"
        "planted.main('x', '1', '1')\n"
    )
    environment = os.environ | {"CASCADE_PURE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "has this passage 0 times, not once" in done.stderr


def test_each_plant_changes_something() -> None:
    for plant in PLANTS.values():
        assert isinstance(plant, Plant)
        assert plant.passage != plant.instead

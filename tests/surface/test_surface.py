"""Whether the surface is there, module by module, and what the command says of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import cascade
from tests.surface import check
from tests.surface.items import Finding, Item
from tests.surface.modules import of_module

SURFACE = check.read()
#: What is no module of its own.
REST = "providers, commands and files"


def group_of(where: str) -> str:
    """Return the module that an item belongs to."""
    module = where.partition(":")[0]
    return module if module in SURFACE["modules"] else REST


@pytest.fixture(scope="session")
def findings() -> dict[str, list[Finding]]:
    """All findings by module, made in a process of its own, where no test has replaced or filled anything."""
    done = subprocess.run(
        [sys.executable, check.__file__, "--json"],
        env={**os.environ, "PYTHONPATH": str(Path(cascade.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    groups = defaultdict(list)
    for found in (Finding(**fields) for fields in json.loads(done.stdout)):
        groups[group_of(found.where)].append(found)
    return groups


@pytest.mark.parametrize("group", [*SURFACE["modules"], REST])
def test_the_surface_is_there(group: str, findings: dict[str, list[Finding]]) -> None:
    """Every name of a module is there and can be used as in the older engine; what lacks a library is skipped."""
    faults = [found for found in findings[group] if found.verdict in ("missing", "incompatible")]
    reasons = {found.why for found in findings[group] if found.verdict == "skipped"}

    assert findings[group]
    assert not faults
    if reasons:
        pytest.skip("; ".join(sorted(reasons)))


def items_of(*findings: Finding) -> Any:
    """Returns what gives these findings when it is judged."""

    def items(_: Any) -> Iterator[Item]:
        for found in findings:
            faults = [found.why] if found.why else []
            yield Item(found.where, partial(list, faults))

    return items


def test_the_status_tells_whether_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command fails if one item of a thousand is wrong, says which, and does not round up to 100 %."""
    good = [Finding(f"name {number}", "ok") for number in range(9_999)]
    monkeypatch.setattr(check, "items", items_of(*good, Finding("other", "", "is blue")))

    assert check.main([]) == 1
    assert capsys.readouterr().out == "incompatible  other: is blue\nsurface: 9999 of 10000 (99.9 %), 0 skipped\n"
    assert check.main(["--only", "name"]) == 0
    assert capsys.readouterr().out == "surface: 9999 of 9999 (100.0 %), 0 skipped\n"


def test_a_prefix_of_nothing_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped prefix does not pass for a surface without faults."""
    with pytest.raises(SystemExit) as ended:
        check.main(["--only", "cascade.no_such_module"])

    assert ended.value.code == 2
    assert "nothing of the surface begins with cascade.no_such_module" in capsys.readouterr().err


def test_where_all_should_be_installed_nothing_is_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is not installed is a fault where the environment claims to have every extra."""
    wanted = {"names": {}, "requires": ["no_such_library"]}
    monkeypatch.setattr(check, "items", lambda _: of_module("no_such_module", wanted))

    assert check.main([]) == 0
    assert check.main(["--all-installed"]) == 1


def test_what_is_skipped_is_said_once_for_each_module() -> None:
    """A module with many names needs no line for each of them."""
    names = [Finding(f"cascade.one:{name}", "skipped", "redis is not installed", "redis") for name in "abc"]
    lines = [*check.report([*names, Finding("cascade.two", "ok")])]

    assert lines == [
        "skipped       cascade.one: 3 because redis is not installed",
        "surface: 1 of 1 (100.0 %), 3 skipped",
    ]

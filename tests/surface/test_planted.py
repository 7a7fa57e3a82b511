"""Whether the check would see it if something of the surface was not there."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from tests.surface import check
from tests.surface.distribution import of_distribution, of_provider
from tests.surface.items import Finding, judge
from tests.surface.modules import of_module
from tests.surface.planted import FAULTS, PLANTED, WANTED, param

SURFACE = check.read()


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a source as the module ``planted`` and returns what is found, by item."""

    def plant(source: str, **entry: Any) -> dict[str, Finding]:
        module = types.ModuleType("planted")
        monkeypatch.setitem(sys.modules, "planted", module)
        exec(source, vars(module))
        return {item.where: judge(item) for item in of_module("planted", WANTED | entry)}

    return plant


def test_what_is_as_it_should_be_is_not_reported(planted: Any) -> None:
    """A module with all that is wanted has no fault."""
    found = planted(PLANTED)

    assert {finding.verdict for finding in found.values()} == {"ok"}


@pytest.mark.parametrize("old, new, where, verdict, why", FAULTS, ids=lambda value: value[:40])
def test_a_planted_fault_is_reported(planted: Any, old: str, new: str, where: str, verdict: str, why: str) -> None:
    """A change that a user of the older engine would notice is reported where it is, with what is wrong."""
    assert old in PLANTED
    found = planted(PLANTED.replace(old, new, 1))

    assert found[where].verdict == verdict
    assert why in found[where].why


def test_a_name_that_cannot_be_replaced_is_reported(planted: Any) -> None:
    """A name that tests replace must be an attribute of the module itself, not one that is made when asked for."""
    source = PLANTED.replace("bus = cs.MessageBus()", "def __getattr__(name):\n    return cs.MessageBus()")

    assert planted(source)["planted:bus"].verdict == "missing"


def test_the_number_of_items_does_not_depend_on_what_is_there(planted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is missing counts with all its names, members, fields and attributes."""
    there = planted(PLANTED)
    monkeypatch.setitem(sys.modules, "planted", None)
    missing = [judge(item) for item in of_module("planted", WANTED)]

    assert [finding.where for finding in missing] == list(there)
    assert {finding.verdict for finding in missing} == {"missing"}


def test_what_lacks_a_library_is_skipped_with_the_reason(planted: Any) -> None:
    """Only what is absent is skipped; what is there is checked."""
    source = PLANTED.replace("def walk", "def wander").replace("LIMIT = 3", "LIMIT = 4").replace("again = walk", "")
    found = planted(source, requires=["no_such_library"])

    assert (found["planted:walk"].verdict, found["planted:walk"].why) == ("skipped", "no_such_library is not installed")
    assert found["planted:LIMIT"].verdict == "incompatible"


def test_a_module_that_needs_more_than_it_says_is_missing() -> None:
    """An ImportError is no excuse where every library is there."""
    [item] = of_module("no_such_module", {"names": {}, "requires": ["json"]})

    assert judge(item).verdict == "missing"


@pytest.mark.parametrize(
    "name, change, verdict, why",
    [
        ("nowhere.at_all", {}, "missing", "not found"),
        ("wait", {"task_name": "pause"}, "incompatible", "is called 'wait', want 'pause'"),
        ("wait", {"async": False}, "incompatible", "is to be awaited"),
        ("wait", {"params": [param("nothing")]}, "incompatible", "has no parameter 'nothing'"),
        ("wait", {"factory": "function"}, "incompatible", "is a Task"),
        ("sql", {"factory": "task", "task_name": "sql"}, "incompatible", "is no Task"),
    ],
)
def test_a_provider_that_is_missing_or_other_is_reported(name: str, change: Any, verdict: str, why: str) -> None:
    """Its factory, its task's name, whether it is awaited, and its parameters are looked at."""
    entry = SURFACE["providers"].get(name, SURFACE["providers"]["wait"]) | change
    found = judge(next(of_provider(name, {**entry, "requires": []})))

    assert found.verdict == verdict
    assert why in found.why


def test_an_entry_point_that_names_something_else_is_reported(installed: None) -> None:
    """Whoever lists entry points finds the class that the older engine had there."""
    _, item = of_provider(
        "wait", SURFACE["providers"]["wait"] | {"entry_point": "cascade.providers.shell:ShellProvider"}
    )
    _, other = of_provider("no.such", SURFACE["providers"]["wait"])

    assert judge(item).verdict == "incompatible"
    assert "calls itself 'shell'" in judge(item).why
    assert judge(other).verdict == "missing"


@pytest.fixture
def installed() -> None:
    """Skips where nothing is declared because the tests run from a source tree."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution("cascade-hot")
    except PackageNotFoundError:
        pytest.skip("cascade-hot is not installed; the tests run from the source tree")


def test_a_missing_command_file_or_mark_is_reported(installed: None) -> None:
    """Commands, files of the package, and what analysis leaves on a task are items too."""
    wanted = {
        "entry_point_groups": {"console_scripts": {"cs-nothing": "cascade.cli.main:main"}},
        "package_data": ["no_such_file", "type stubs (.pyi)"],
        "providers": {"nowhere.get": {}},
        "dynamic_task_attributes": {"_no_such_mark": ""},
    }
    found = [judge(item) for item in of_distribution(wanted)]

    assert [finding.where for finding in found] == [
        "cs-nothing (command)",
        "cascade/no_such_file (file)",
        "cascade/nowhere/__init__.pyi (file)",
        "cascade.spec.task:Task._no_such_mark (analysed)",
    ]
    assert {finding.verdict for finding in found} == {"missing"}

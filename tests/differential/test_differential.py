"""Every drawn program has one meaning: the reference's, whatever the tier and the kernel."""

from __future__ import annotations

import traceback
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings

from cascade.runtime.engine import Engine
from tests.engines import make_engine, run
from tests.reference import Reference
from tests.strategies import PARAMETERS, World, programs

#: Their arguments name nodes, which the reference does not have.
OWN = ("DependencyMissingError", "TaskArgumentError", "UncalledTaskError")


def outcome(world: World, call: Any, program: Any) -> dict[str, Any]:
    """Run a program and return everything about it that must be the same in all voices."""
    world.forget()
    try:
        target = world.build(program)
        value, error = call(target if hasattr(target, "_uuid") else world.tasks["mix"](target)), None
    except Exception as raised:
        value, error = None, raised
    found: dict[str, Any] = {"value": (repr(value), type(value)), "log": list(world.log)}
    if error is not None:
        found["error"] = type(error).__name__
        if found["error"] not in OWN and "matching route" not in str(error):
            found["arguments"] = repr(error.args)
            found["cause"] = type(error.__cause__).__name__
            found["frames"] = frames(error)
    return found


def frames(error: BaseException) -> list[str]:
    """Names of the user's functions in a traceback."""
    entries = traceback.extract_tb(error.__traceback__)
    return [f.name for f in entries if f.filename.endswith("strategies.py") and f.name != "build"]


def by_engine(engine: Engine) -> Any:
    def call(target: Any) -> Any:
        return run(target, engine, PARAMETERS)

    return call


def by_reference(reference: Reference) -> Any:
    def call(target: Any) -> Any:
        return reference.run(target, PARAMETERS)

    return call


def agree(expected: dict[str, Any], found: dict[str, Any], is_async: bool) -> None:
    """Compare outcomes; calls that run concurrently have no order, and none of them need start after a failure."""
    if is_async:
        expected, found = dict(expected), dict(found)
        for one in (expected, found):
            one["log"] = Counter(one["log"])
        if "error" in expected:
            assert "error" in found, found
            return
    assert found == expected


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large])
@given(program=programs)
def test_all_tiers_agree_with_the_reference(program: Any) -> None:
    """Value, error, order of calls, set-ups and teardowns are the reference's: cold, hot, warm, with ``hot=False``."""
    world = World()
    expected = outcome(world, by_reference(Reference(world.resources)), program)
    is_async = world.is_async
    for hot in (True, False):
        world = World()
        engine = make_engine(resources=world.resources, hot=hot)
        for _ in range(3):
            agree(expected, outcome(world, by_engine(engine), program), is_async)

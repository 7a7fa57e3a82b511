"""Declaring resources and marking where they go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cascade.spec.resource import Inject, ResourceDefinition, inject, resource


def connection() -> Iterator[int]:
    yield 1


def test_a_generator_function_is_declared_under_its_name() -> None:
    """The bare decorator takes the function's name and the scope of a run."""
    declared = resource(connection)

    assert declared == ResourceDefinition(connection, "connection", "run")
    assert declared.func is connection


@pytest.mark.parametrize("scope", ["run", "task"])
def test_name_and_scope_can_be_given(scope: Any) -> None:
    """The decorator with options keeps what it was given."""
    declared = resource(name="db", scope=scope)(connection)

    assert (declared.func, declared.name, declared.scope) == (connection, "db", scope)


def test_an_unknown_scope_is_an_error() -> None:
    """The error names the scopes there are and the one that was given."""
    options: dict[str, Any] = {"scope": "week"}

    with pytest.raises(ValueError, match=r"'run' or 'task', not 'week'"):
        resource(**options)


def test_a_plain_function_is_no_resource() -> None:
    """What is no generator function is refused, with its name and how to mend it."""

    def plain() -> Any:
        return iter([1])

    with pytest.raises(TypeError, match=r"'plain' must be a generator function: yield"):
        resource(plain)


def test_a_marker_knows_the_name_of_its_resource() -> None:
    """inject() makes a marker that says which resource it stands for."""
    marker = inject("db")

    assert type(marker) is Inject
    assert marker.resource_name == "db"
    assert repr(marker) == "Inject(resource_name='db')"


def test_a_name_is_a_text() -> None:
    """Whoever gives the resource itself is told its name."""
    with pytest.raises(TypeError, match=r"the name of a resource is a text, not .*: write 'connection'"):
        inject(resource(connection))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the name of a resource is a text, not 5"):
        inject(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the name of a resource is a text, not 5"):
        resource(name=5)(connection)  # type: ignore[call-overload]

"""The workflow context."""

from __future__ import annotations

import contextvars
import threading

from cascade.context import WorkflowContext, _current_context, get_current_context
from cascade.spec.input import EnvSpec, ParamSpec


def test_the_first_declaration_of_a_name_stays():
    """Declaring a parameter again changes nothing; the order is that of declaration."""
    context = WorkflowContext()
    first, second = ParamSpec("b", default=1), EnvSpec("a")
    for spec in (first, second, ParamSpec("b", default=2)):
        context.register(spec)

    assert context.get_all_specs() == [first, second]
    assert context.input_specs == {"b": first, "a": second}


def test_the_declarations_may_be_cleared():
    """Whoever starts a new workflow clears the old one's inputs."""
    context = WorkflowContext()
    context.register(ParamSpec("x"))
    context.input_specs.clear()

    assert context.get_all_specs() == []


def test_there_is_one_default_context_for_the_whole_process():
    """Other threads and fresh contexts see the same declarations."""
    seen = [get_current_context(), contextvars.Context().run(get_current_context)]
    thread = threading.Thread(target=lambda: seen.append(get_current_context()))
    thread.start()
    thread.join()

    assert seen[0] is seen[1] is seen[2]


def test_a_context_of_ones_own_hides_the_default():
    """A test or a server request may keep its declarations to itself."""
    own = WorkflowContext()
    token = _current_context.set(own)
    try:
        assert get_current_context() is own
    finally:
        _current_context.reset(token)

    assert get_current_context() is not own

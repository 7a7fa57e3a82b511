"""``dict`` and ``format``."""

from __future__ import annotations

from typing import Any

import pytest

import cascade as cs
from cascade.providers.helpers import _dict_task, _format_task
from tests.engines import make_engine, run

SECRET = "hunter2"


class Account:
    """Something with attributes, one of them private."""

    owner = "Ada"
    _password = SECRET


@pytest.mark.row("06-providers", "Built-in providers", "dict")
def test_dict_is_its_keywords() -> None:
    """The values may be lazy; names may be those of parameters elsewhere."""
    assert _dict_task.name == "dict"
    assert run(cs.dict(a=1, self=2, name=cs.format("{}", 3))) == {"a": 1, "self": 2, "name": "3"}
    assert run(cs.dict()) == {}
    assert run(cs.dict.map(n=[1, 2])) == [{"n": 1}, {"n": 2}]


@pytest.mark.row("06-providers", "Built-in providers", "format")
@pytest.mark.parametrize(
    ("template", "args", "kwargs"),
    [
        ("{} and {}", (1, 2), {}),
        ("{1} {0!r:>5} {name:^{width}}", ("a", "b"), {"name": "x", "width": 7}),
        ("{0[key]} {0[_key]} {a.owner}", ({"key": 1, "_key": 2},), {"a": Account()}),
        ("{{literal}} {0[a.__class__]}", ({"a.__class__": "only a key"},), {}),
        ("{self}{template_}", (), {"self": 1, "template_": 2}),
        ("", (), {}),
    ],
)
def test_format_is_that_of_str(template: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Positions, names, items, public attributes, conversions and nested widths give what ``str.format`` gives."""
    assert _format_task.name == "format"
    assert run(cs.format(template, *args, **kwargs)) == template.format(*args, **kwargs)


@pytest.mark.row("06-providers", "Built-in providers", "format")
@pytest.mark.parametrize(
    ("template", "error"),
    [("{", ValueError), ("{} {}", IndexError), ("{x}", KeyError), ("{0.x}", AttributeError), ("{:d}", ValueError)],
)
def test_errors_are_those_of_str(template: str, error: type[Exception]) -> None:
    """What is wrong with a template or its arguments is the error that ``str.format`` raises."""
    with pytest.raises(error) as expected:
        template.format("text")
    with pytest.raises(error) as caught:
        run(cs.format(template, "text"))

    assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize(
    "template",
    ["{0._password}", "{0.__class__}", "{a.owner.__class__}", "{0:{a._password}}", "{a[x].__init__.__globals__}"],
)
def test_private_attributes_are_refused(template: str) -> None:
    """A template from elsewhere cannot read what begins with an underscore, and the error says so."""
    with pytest.raises(ValueError, match="may not read attributes that begin with an underscore") as caught:
        run(cs.format(template, Account(), a=Account()))

    assert SECRET not in str(caught.value)


def test_format_in_hot_loops_and_maps() -> None:
    """A loop whose argument is formatted runs hot; template and arguments may be lazy."""

    @cs.task
    def count(left: int, text: str) -> Any:
        return count(left - 1, cs.format("{}{}", text, left)) if left else text

    engine = make_engine()

    assert run(count(9, ""), engine) == "987654321"
    assert engine.stats.hot >= 7
    assert run(cs.format.map(template=["{n}", "<{n}>"], n=[1, 2])) == ["1", "<2>"]
    assert run(cs.format(cs.format("{}", "{x}!"), x=cs.dict(a=1))) == "{'a': 1}!"

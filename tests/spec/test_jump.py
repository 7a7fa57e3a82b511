"""What user code makes at every step of a loop: ``Jump`` and ``TailCall`` are dataclasses, made cheaply."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any

import pytest

from cascade.graph._canonical import encode
from cascade.graph.hashing import _IdentityRules
from cascade.spec.blueprint import TailCall
from cascade.spec.jump import Jump
from cascade.spec.lazy_types import RetryPolicy


def test_fields_and_defaults() -> None:
    """They have the fields, the order and the defaults of their interface."""
    assert [field.name for field in dataclasses.fields(Jump)] == ["target_key", "data"]
    assert [field.name for field in dataclasses.fields(TailCall)] == ["args", "kwargs", "target_blueprint_id"]
    assert (Jump("a").target_key, Jump("a").data) == ("a", None)
    assert (TailCall().args, TailCall().kwargs, TailCall().target_blueprint_id) == ([], {}, None)
    assert list(inspect.signature(Jump).parameters) == ["target_key", "data"]
    assert list(inspect.signature(TailCall).parameters) == ["args", "kwargs", "target_blueprint_id"]
    assert dataclasses.is_dataclass(Jump("a"))
    assert dataclasses.asdict(TailCall([1], {"a": 2}, "b")) == {
        "args": [1],
        "kwargs": {"a": 2},
        "target_blueprint_id": "b",
    }
    assert dataclasses.replace(Jump("a", 1), data=2) == Jump("a", 2)


@pytest.mark.parametrize(
    "made",
    [
        Jump("a", 1),
        Jump("a", data=1),
        Jump(target_key="a", data=1),
        Jump(data=1, target_key="a"),
    ],
)
def test_jumps_are_made_in_every_way(made: Jump) -> None:
    """Arguments may be passed by position and by name, in any order."""
    assert made == Jump("a", 1)
    assert repr(made) == "Jump(target_key='a', data=1)"


@pytest.mark.parametrize(
    "made",
    [
        TailCall([1], {"k": 2}, "b"),
        TailCall([1], target_blueprint_id="b", kwargs={"k": 2}),
        TailCall(args=[1], kwargs={"k": 2}, target_blueprint_id="b"),
        TailCall([1], {"k": 2}, target_blueprint_id="b"),
    ],
)
def test_tail_calls_are_made_in_every_way(made: TailCall) -> None:
    """Arguments may be passed by position and by name, in any order."""
    assert made == TailCall([1], {"k": 2}, "b")
    assert repr(made) == "TailCall(args=[1], kwargs={'k': 2}, target_blueprint_id='b')"


@pytest.mark.parametrize(
    ("cls", "args", "kwargs"),
    [
        (Jump, (), {}),
        (Jump, (1, 2, 3), {}),
        (Jump, (1,), {"target_key": 2}),
        (Jump, (1,), {"other": 2}),
        (TailCall, (1, 2, 3, 4), {}),
        (TailCall, ([],), {"args": []}),
        (TailCall, (), {"other": 2}),
        (TailCall, ([], {}, "x"), {"kwargs": {}}),
    ],
)
def test_wrong_arguments_are_refused(cls: Any, args: Any, kwargs: Any) -> None:
    """Missing, surplus, doubled and unknown arguments are a TypeError."""
    with pytest.raises(TypeError):
        cls(*args, **kwargs)


def test_defaults_are_not_shared() -> None:
    """Each tail call has a list and a dict of its own, which may be changed."""
    one, other = TailCall(), TailCall()
    one.args.append(1)
    one.kwargs["a"] = 2

    assert (one.args, one.kwargs) == ([1], {"a": 2})
    assert other == TailCall([], {})


def test_they_are_mutable_and_compared_by_value() -> None:
    """Fields may be set; equality is by class and fields; what can change has no hash."""
    class Mine(Jump):
        pass

    jump, call = Jump("a"), TailCall()
    jump.target_key, jump.data = "b", [1]
    call.args, call.kwargs, call.target_blueprint_id = [1], {"a": 1}, "x"

    assert jump == Jump("b", [1])
    assert jump != Mine("b", [1])
    assert jump != "b"
    assert call == TailCall([1], {"a": 1}, "x")
    for one in (jump, call):
        with pytest.raises(TypeError, match="unhashable"):
            hash(one)


def test_they_are_copied_and_pickled() -> None:
    """Copies and pickles are equal and independent."""
    for one in (Jump("a", [1]), TailCall([1], {"b": [2]}, "c")):
        assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one

    deep = copy.deepcopy(Jump("a", [1]))
    deep.data.append(2)
    assert deep.data == [1, 2]


def test_they_match_patterns() -> None:
    """Positional patterns follow the order of the fields."""
    match Jump("a", 1):
        case Jump(key, data):
            assert (key, data) == ("a", 1)
    match TailCall([1]):
        case TailCall(args, kwargs, None):
            assert (args, kwargs) == ([1], {})


def test_subclasses_may_add_fields() -> None:
    """A dataclass may derive from them."""
    @dataclasses.dataclass
    class Noted(Jump):
        note: str = "none"

    noted = Noted("a", 1, note="mine")

    assert (noted.target_key, noted.data, noted.note) == ("a", 1, "mine")
    assert isinstance(noted, Jump)


def test_a_cache_knows_them_by_their_content() -> None:
    """As arguments they are plain data, on both kernels."""
    tokens = {encode(one, _IdentityRules()) for one in (Jump("a", [1]), Jump("a", [1]), TailCall([1]), RetryPolicy(3))}

    assert len(tokens) == 3
    assert tokens == {encode(one, _IdentityRules()) for one in (TailCall([1]), RetryPolicy(3), Jump("a", data=[1]))}

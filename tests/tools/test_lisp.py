"""Expressions as Lisp: the forms, and a reader that finds them well-formed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade as cs
from cascade.graph import build_graph
from cascade.graph.model import Edge, Graph, Node
from cascade.tools.lisp import LispTranspiler, to_lisp


@cs.task
def roll_dice(*args: Any, **named: Any) -> int:
    raise AssertionError("writing runs nothing")


@cs.task
def pair(*args: Any, **named: Any) -> Any:
    raise AssertionError("writing runs nothing")


def test_a_call_is_a_list() -> None:
    """Name in small letters with dashes, positional arguments in order, keywords after a colon in order of the call."""
    assert to_lisp(roll_dice()) == "(roll-dice)"
    assert to_lisp(pair(1, roll_dice(2), 3, z_y=roll_dice(), a=4)) == "(pair 1 (roll-dice 2) 3 :z-y (roll-dice) :a 4)"
    assert to_lisp(cs.task(lambda: None, name="My Task")()) == "(my-task)"
    assert to_lisp(pair(**{"a.b": roll_dice(), "a": [roll_dice(1)]})) == "(pair :a.b (roll-dice) :a `(,(roll-dice 1)))"


@pytest.mark.parametrize(
    "value, text",
    [
        *((None, "nil"), (True, "#t"), (False, "#f"), (7, "7"), (-2.5, "-2.5")),
        *((float("nan"), "+nan.0"), (float("inf"), "+inf.0"), (float("-inf"), "-inf.0")),
        *(("a b", '"a b"'), ('say "hi"\n\\', r'"say \"hi\"\n\\"'), ("ü", '"ü"')),
        *(([], "'()"), ([1, "b", None], '\'(1 "b" nil)'), ((1, [2, (3,)]), "'(1 (2 (3)))")),
        *(({}, "'()"), ({"k": 1, 2: [3]}, '\'(("k" . 1) (2 . (3)))')),
        *((1 + 2j, '"(1+2j)"'), (b"x", "\"b'x'\"")),
    ],
)
def test_literals(value: Any, text: str) -> None:
    """Numbers and text as JSON writes them, lists quoted once, dicts as association lists, the rest by its repr."""
    assert to_lisp(pair(value)) == f"(pair {text})"


def test_calls_inside_containers_are_unquoted() -> None:
    """A list that holds a call is quasi-quoted, at its outermost."""
    assert to_lisp(pair([1, roll_dice(), [roll_dice(2)]])) == "(pair `(1 ,(roll-dice) (,(roll-dice 2))))"
    assert to_lisp(pair({"k": roll_dice()}, [1])) == '(pair `(("k" . ,(roll-dice))) \'(1))'
    assert to_lisp(pair([pair([1])])) == "(pair `(,(pair '(1))))"


def test_maps_name_their_task() -> None:
    """``(map name :kw value)``; a factory without a name is called factory."""
    assert to_lisp(roll_dice.map(n=[1, 2])) == "(map roll-dice :n '(1 2))"
    assert to_lisp(pair(roll_dice.map(n=roll_dice()))) == "(pair (map roll-dice :n (roll-dice)))"


def test_conditions_are_keywords() -> None:
    """A call or a constant after ``:run-if``, behind the arguments."""
    assert to_lisp(pair(1, k=2).run_if(roll_dice())) == "(pair 1 :k 2 :run-if (roll-dice))"
    assert to_lisp(pair().run_if(False)) == "(pair :run-if #f)"


def test_predecessors_are_written() -> None:
    """What runs before for no argument's sake is not lost."""
    assert to_lisp(pair().after(roll_dice(1), roll_dice(2))) == "(pair :after (list (roll-dice 1) (roll-dice 2)))"


def test_routers_are_cases() -> None:
    """The selector is bound; routes are sorted by the text of their key, which is a literal."""
    router = cs.Router(roll_dice(), {"b": pair(2), "a": pair(1), 10: pair(3), None: 4})

    assert to_lisp(pair(router)) == (
        "(let* ((roll-dice-1 (roll-dice))) "
        '(pair (case roll-dice-1 ((10) (pair 3)) ((nil) 4) (("a") (pair 1)) (("b") (pair 2)))))'
    )


def test_routers_nest() -> None:
    """Inside containers and in routes; a constant selector needs no name."""
    inner = cs.Router("x", {"x": roll_dice()})
    outer = cs.Router(pair(), {1: inner})

    assert to_lisp(pair([outer])) == (
        '(let* ((pair-1 (pair))) (pair `(,(case pair-1 ((1) (case "x" (("x") (roll-dice))))))))'
    )


def test_what_is_used_twice_is_bound_once() -> None:
    """In dependency order, so that a binding may use those before it; what is used once stays in place."""
    dice = roll_dice()
    both = pair(dice, roll_dice(9))

    assert to_lisp(pair(dice, dice)) == "(let* ((roll-dice-1 (roll-dice))) (pair roll-dice-1 roll-dice-1))"
    assert to_lisp(pair(both, [both], k=dice)) == (
        "(let* ((roll-dice-1 (roll-dice)) (pair-1 (pair roll-dice-1 (roll-dice 9)))) "
        "(pair pair-1 `(,pair-1) :k roll-dice-1))"
    )


def test_two_calls_are_two_unless_their_task_is_pure() -> None:
    """Sharing is that of the graph."""
    pure = cs.task(lambda x: x, name="pure", pure=True)

    assert to_lisp(pair(roll_dice(), roll_dice())) == "(pair (roll-dice) (roll-dice))"
    assert to_lisp(pair(pure(1), pure(1))) == "(let* ((pure-1 (pure 1))) (pair pure-1 pure-1))"


def test_names_of_bindings_are_nobody_elses() -> None:
    """A task that is called like a binding keeps its name."""
    dice, odd = roll_dice(), cs.task(lambda: None, name="roll-dice-1")()

    assert to_lisp(pair(dice, dice, odd)) == (
        "(let* ((roll-dice-2 (roll-dice))) (pair roll-dice-2 roll-dice-2 (roll-dice-1)))"
    )


def test_injected_arguments_are_named() -> None:
    """An inject marker is a form of its own."""
    assert to_lisp(pair(cs.inject("db"))) == '(pair (inject "db"))'


def test_an_inner_node_can_be_written() -> None:
    """Only what it needs itself is bound."""
    dice = roll_dice()
    inner = pair(dice, dice)
    graph, instance_map = build_graph(pair(inner, dice))

    assert LispTranspiler(graph, instance_map).transpile(instance_map[inner._uuid]) == to_lisp(inner)


def test_a_graph_made_by_hand_can_be_written() -> None:
    """Bindings and edges are all it takes."""
    one, two = Node("1", "one"), Node("2", "two", input_bindings={"1": 5, "k": None})
    graph = Graph([one, two], [Edge(one, two, "0")])

    assert LispTranspiler(graph, {}).transpile(two) == "(two (one) 5 :k nil)"


@pytest.mark.parametrize("target", [3, None, "text", roll_dice, [roll_dice()]])
def test_only_lazy_results_are_written(target: Any) -> None:
    """Anything else is a TypeError."""
    with pytest.raises(TypeError, match="to_lisp takes a lazy result"):
        to_lisp(target)


def test_an_argument_that_contains_itself_is_refused() -> None:
    """The error names the task; shared parts are fine."""
    part: list[Any] = [1]
    part.append({"k": part})

    with pytest.raises(ValueError, match="argument of 'pair' cannot be written as Lisp: it contains itself"):
        to_lisp(pair(part))
    shared = [1]
    assert to_lisp(pair([shared, shared])) == "(pair '((1) (1)))"


@pytest.mark.slow
def test_a_hundred_thousand_levels_are_written() -> None:
    """Of calls and of lists: depth is no matter of the stack."""
    target: Any = roll_dice()
    deep: list[Any] = []
    for _ in range(100_000):
        target, deep = pair(target), [deep]

    assert to_lisp(target) == "(pair " * 100_000 + "(roll-dice)" + ")" * 100_000
    assert to_lisp(pair(deep)) == "(pair '" + "(" * 100_001 + ")" * 100_001 + ")"
    while deep:
        deep = deep[0]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("<call>"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_any_argument_gives_one_balanced_form(value: Any) -> None:
    """Outside of strings, parentheses match and the form ends with the text."""

    def with_calls(value: Any) -> Any:
        if value == "<call>":
            return roll_dice()
        if isinstance(value, list):
            return list(map(with_calls, value))
        return {k: with_calls(v) for k, v in value.items()} if isinstance(value, dict) else value

    text, depth, position, in_string = to_lisp(pair(with_calls(value))), 0, 0, False
    while position < len(text):
        character = text[position]
        if in_string and character == "\\":
            position += 1
        elif character == '"':
            in_string = not in_string
        elif not in_string:
            depth += {"(": 1, ")": -1}.get(character, 0)
            assert depth > 0 or position == len(text) - 1
        position += 1

    assert (depth, in_string) == (0, False)

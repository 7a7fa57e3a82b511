"""Plans as integers, and the dict that forgets."""

from __future__ import annotations

import pytest

from cascade.runtime.strategies._plans import BoundedDict, IndexedPlan


@pytest.mark.parametrize("stages", [[], [[0]], [[0, 2], [], [1]], [[3], [2], [1, 0]]])
def test_an_indexed_plan_reads_as_a_list_of_lists(stages: list[list[int]]) -> None:
    """Length, iteration, indices from both ends, slices, equality and text."""
    plan = IndexedPlan(stages)

    assert plan == stages
    assert plan == IndexedPlan(stages)
    assert plan != [*stages, [7]]
    assert plan != IndexedPlan([*stages, []])
    assert list(plan) == stages
    assert len(plan) == len(stages)
    assert [plan[i] for i in range(len(stages))] == stages
    assert [plan[i - len(stages)] for i in range(len(stages))] == stages
    assert plan[1:] == stages[1:]
    assert repr(plan) == f"IndexedPlan({stages!r})"
    for beyond in (len(stages), -len(stages) - 1):
        with pytest.raises(IndexError):
            plan[beyond]


def test_an_indexed_plan_is_two_arrays_of_32_bits() -> None:
    """Offsets and indices can be read through the buffer protocol, as the kernel does."""
    plan = IndexedPlan([[4, 5], [6]])

    assert list(memoryview(plan.offsets)) == [0, 2, 3]
    assert list(memoryview(plan.indices)) == [4, 5, 6]
    assert {memoryview(a).itemsize for a in (plan.offsets, plan.indices)} == {4}


def test_a_bounded_dict_forgets_what_was_set_longest_ago() -> None:
    """Setting a key again renews it; a smaller bound acts at the next setting."""
    kept: BoundedDict[str, int] = BoundedDict(3)
    for number, key in enumerate("abcad"):
        kept[key] = number

    assert dict(kept) == {"c": 2, "a": 3, "d": 4}
    kept.max_size = 1
    kept["e"] = 5
    assert dict(kept) == {"e": 5}

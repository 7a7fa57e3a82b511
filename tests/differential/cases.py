"""What the search judges, drawn from one seed: a program and a manner of running it, a story, or a storm.

    seed --Choices--> case --verdict--> what another kernel must do too, or an AssertionError
"""

from __future__ import annotations

import hashlib
from typing import Any

from tests.differential.judge import MANNERS, OFTEN, all_tiers, storm
from tests.differential.shrink import replayed, row_of, smallest
from tests.differential.story import retell, story
from tests.strategies import Choices, Grammar, drawn

__all__ = ["case", "digest", "failure", "made_small", "of_seed", "verdict"]

#: Of so many cases one is a story, and one a storm.
_OF = 24
_STORY, _STORM = 22, 23
#: Numbers that a manner may choose by.
_NUMBERS = 4

Case = tuple[Any, ...]


def case(choices: Choices) -> Case:
    """Draw what to judge."""
    kind = choices.below(_OF)
    if kind == _STORY:
        return ("story", story(choices))
    if kind == _STORM:
        return ("storm", Grammar(choices).storm())
    manner = choices.one(OFTEN)
    numbers = [choices.below(48) for _ in range(_NUMBERS)]
    return ("program", manner, numbers, Grammar(choices).program())


def of_seed(seed: int) -> Case:
    """Return the case of a seed."""
    return case(drawn(seed))


def verdict(what: Case) -> Any:
    """Judge a case; return what another kernel must do too, None where that is a matter of chance.

    Raises:
        AssertionError: a difference.
    """
    if what[0] == "story":
        return retell(what[1])
    if what[0] == "storm":
        return storm(what[1])
    _, manner, numbers, program = what
    left = iter(numbers)
    expected, told = all_tiers(program)
    more = MANNERS[manner](program, expected, Choices(lambda limit: next(left) % limit))
    return None if told is None else [told, more]


def digest(told: Any) -> str:
    """Return a name for what a verdict has told."""
    return "" if told is None else hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()


def failure(what: Case) -> Exception | None:
    """Return the difference that a case shows, if any."""
    try:
        verdict(what)
    except Exception as error:
        error.__context__ = None  # nobody needs to read of the larger one
        return error
    return None


def made_small(seed: int) -> tuple[Case, Exception] | None:
    """Return the smallest case found that fails as that of a seed does; None if that does not fail again."""
    first = failure(of_seed(seed))
    if first is None:
        return None
    row = smallest(row_of(seed, case), lambda one: type(failure(case(replayed(one)))) is type(first))
    small = case(replayed(row))
    error = failure(small)
    return None if error is None else (small, error)

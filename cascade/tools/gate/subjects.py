"""What a gate measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cascade.tools.gate.measuring import ROUNDS, compare
from cascade.tools.gate.yardsticks import STEPS

__all__ = ["Counter", "Gate", "Measure", "Subject"]

#: From the names of subjects to their ratios.
Measure = Callable[[Sequence[str]], Mapping[str, float]]

#: Steps of a yardstick that ``STEPS`` does not know.
_STEPS_OF_OTHERS = 1_000


@dataclass(frozen=True)
class Subject:
    """A workload: ``work()`` returns the units done, ``yardstick(steps)`` the steps.

    ``counts`` says what a unit is. ``calls`` is how many calls one run makes, where a run is what is measured. A
    ``scale`` below 1 shortens the yardstick, for trials.
    """

    name: str
    work: Callable[[], int]
    yardstick: Callable[[int], int]
    counts: str
    calls: int | None = None
    scale: float = 1.0

    def ratio(self, rounds: int) -> float:
        """Measure it against its yardstick."""
        steps = max(int(STEPS.get(self.yardstick, _STEPS_OF_OTHERS) * self.scale), 10)
        return compare(self.work, self.yardstick, steps, rounds).ratio


@dataclass(frozen=True)
class Counter:
    """How instructions are counted: ``count()`` returns those per unit by name, unless there is a reason not to."""

    names: Sequence[str] = ()
    count: Callable[[], Mapping[str, float]] = dict
    why_not: str = ""


@dataclass(frozen=True)
class Gate:
    """Subjects by name. ``is_complete`` says that there are no others: each row of a baseline must be theirs.

    ``elsewhere(names)`` measures subjects in another process and returns their ratios.
    """

    subjects: Mapping[str, Subject]
    counter: Counter = Counter()
    rounds: int = ROUNDS
    is_complete: bool = True
    elsewhere: Measure | None = None

    def ratios(self, names: Sequence[str]) -> dict[str, float]:
        """Measure these subjects in this process, one after the other."""
        return {name: self.subjects[name].ratio(self.rounds) for name in names}

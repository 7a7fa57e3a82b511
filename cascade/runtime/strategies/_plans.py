"""Plans as integers, free of nodes, and the bounded dict that keeps them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

__all__ = ["BoundedDict", "IndexedPlan"]

K = TypeVar("K")
V = TypeVar("V")


class IndexedPlan(Sequence[list[int]]):
    """Stages of positions in ``graph.nodes``: stage s is ``indices[offsets[s]:offsets[s + 1]]``, both int32.

    Reads as, and equals, a list of lists. ``owned`` keeps alive whatever the key of its template has the address of;
    ``common`` has what the operations of all its expressions have in common, once somebody has asked.
    """

    __slots__ = ("common", "indices", "offsets", "owned")

    def __init__(self, stages: Iterable[Iterable[int]] = ()) -> None:
        self.offsets = array("i", [0])
        self.indices = array("i")
        self.owned: Any = None
        self.common: Any = None
        for stage in stages:
            self.indices.extend(stage)
            self.offsets.append(len(self.indices))

    @classmethod
    def of(cls, offsets: array[int], indices: array[int]) -> IndexedPlan:
        """Return the plan that has these arrays."""
        plan = cls()
        plan.offsets, plan.indices = offsets, indices
        return plan

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> list[int]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"stage {index} of a plan with {len(self)}")
        return self.indices[self.offsets[index] : self.offsets[index + 1]].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        indices = self.indices.tolist()
        start = 0
        for end in self.offsets[1:]:
            yield indices[start:end]
            start = end

    def __eq__(self, other: object) -> bool:
        if isinstance(other, IndexedPlan):
            return self.offsets == other.offsets and self.indices == other.indices
        return isinstance(other, list) and list(self) == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"IndexedPlan({list(self)!r})"


class BoundedDict(dict[K, V]):
    """A dict that forgets what was set longest ago beyond ``max_size`` keys."""

    def __init__(self, max_size: int = 1024) -> None:
        super().__init__()
        self.max_size = max_size

    def __setitem__(self, key: K, value: V) -> None:
        self.pop(key, None)
        dict.__setitem__(self, key, value)
        while len(self) > self.max_size:
            del self[next(iter(self))]

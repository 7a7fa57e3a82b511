"""Counts amounts of named system resources and lets requests wait for them, fairly.

    capacity   |=============================|
               | in use | claimed |   free   |
                          ^ what earlier waiters ask for; later requests must fit into what is free

A request is granted when it fits beside everything in use and everything that earlier waiters ask for. So a later
request never delays an earlier one, and a large request cannot be starved by small ones; requests that do not
compete pass each other. A request that is granted at once costs O(names); a release costs O(names + requests granted)
as long as waiters want the same names.
"""

from __future__ import annotations

import asyncio
import math
import threading
from asyncio import _get_running_loop
from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["ResourceManager"]

_Amounts: TypeAlias = "dict[str, float]"
_Requirements: TypeAlias = "Mapping[str, int | float]"

#: Sums of fractions drift; without some slack a request for all of a resource could wait for ever.
_SLACK = 1e-9

#: Capacities under such names belong to global constraints, not to whoever sets the capacity of the machine.
_CONSTRAINT_PREFIX = "constraint:"


class ResourceManager:
    """The system resources of an engine: capacity by name, names without capacity are unlimited.

    Tasks of any event loop may wait, and any thread may change the capacity.
    """

    def __init__(self, capacity: Mapping[str, int | float] | None = None) -> None:
        #: Reentrant because closing a forgotten coroutine, which withdraws its request, may happen anywhere.
        self._lock = threading.RLock()
        self._capacity: _Amounts = {}
        #: _Amounts held, for names with a capacity.
        self._usage: _Amounts = {}
        #: _Amounts held under names without capacity, so that a limit set later knows what already runs.
        self._unlimited_usage: _Amounts = {}
        #: Requests that wait, oldest first.
        self._waiters: OrderedDict[_Waiter, None] = OrderedDict()
        #: Sum of the amounts of ``_waiters``.
        self._claims = _Claims()
        self.set_capacity(capacity or {})

    def set_capacity(self, capacity: Mapping[str, int | float]) -> None:
        """Replace all capacities; limits that global constraints have set stay."""
        if not isinstance(capacity, Mapping):
            raise TypeError(f"system resources are capacities by name, {{'cpu': 4}}, not {type(capacity).__name__}")
        wanted = {name: _number(name, value) for name, value in capacity.items()}
        with self._lock:
            for name, value in self._capacity.items():
                if name.startswith(_CONSTRAINT_PREFIX):
                    wanted.setdefault(name, value)
            self._change_capacity(wanted)

    def update_resource(self, name: str, capacity: float) -> None:
        """Set one capacity; a lower one than is in use only holds up new requests."""
        value = _number(name, capacity)
        with self._lock:
            self._change_capacity({**self._capacity, name: value})

    def remove_resource(self, name: str) -> None:
        """Make a name unlimited again."""
        with self._lock:
            self._change_capacity({other: value for other, value in self._capacity.items() if other != name})

    def can_acquire(self, requirements: _Requirements) -> bool:
        """Whether ``acquire`` would return at once."""
        amounts = _amounts(requirements)
        with self._lock:
            return self._fits(amounts, self._claims.totals)

    async def acquire(self, requirements: _Requirements) -> None:
        """Take all amounts together, waiting for them if need be.

        Raises:
            ValueError: an amount is not a number of at least 0, or exceeds the total capacity, also when a capacity
                is lowered below it during the wait.
        """
        amounts = _amounts(requirements)
        if not amounts:
            return
        with self._lock:
            self._raise_if_impossible(amounts)
            if self._fits(amounts, self._claims.totals):
                self._take(amounts)
                return
            waiter = self._enqueue(amounts)
        try:
            await waiter.future
        except BaseException:  # whatever ends the wait, the request leaves no trace
            self._withdraw(waiter)
            raise

    async def release(self, requirements: _Requirements) -> None:
        """Give amounts back and admit whom that allows."""
        amounts = _amounts(requirements)
        if not amounts:
            return
        with self._lock:
            self._give_back(amounts)
            self._admit()

    # -- everything below runs under the lock, except _withdraw, which takes it ---

    def _fits(self, amounts: _Amounts, claimed: Mapping[str, float]) -> bool:
        for name, amount in amounts.items():
            capacity = self._capacity.get(name)
            if capacity is not None:
                wanted = self._usage[name] + claimed.get(name, 0.0) + amount
                if wanted > capacity * (1.0 + _SLACK):
                    return False
        return True

    def _raise_if_impossible(self, amounts: _Amounts) -> None:
        for name, amount in amounts.items():
            capacity = self._capacity.get(name)
            if capacity is not None and amount > capacity * (1.0 + _SLACK):
                raise ValueError(
                    f"Resource request for {name!r} ({amount:g}) exceeds total system capacity ({capacity:g}): "
                    "ask for less, or raise the capacity"
                )

    def _take(self, amounts: _Amounts) -> None:
        for name, amount in amounts.items():
            usage = self._usage if name in self._capacity else self._unlimited_usage
            usage[name] = usage.get(name, 0.0) + amount

    def _give_back(self, amounts: _Amounts) -> None:
        for name, amount in amounts.items():
            if name in self._capacity:
                left = self._usage[name] - amount
                self._usage[name] = left if left > _SLACK else 0.0
            else:
                left = self._unlimited_usage.pop(name, 0.0) - amount
                if left > _SLACK:
                    self._unlimited_usage[name] = left

    def _enqueue(self, amounts: _Amounts) -> _Waiter:
        waiter = _Waiter(amounts)
        self._waiters[waiter] = None
        self._claims.add(amounts)
        return waiter

    def _dequeue(self, waiter: _Waiter) -> None:
        del self._waiters[waiter]
        self._claims.subtract(waiter.amounts)

    def _withdraw(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter.is_granted:
                self._give_back(waiter.amounts)
            elif waiter in self._waiters:
                self._dequeue(waiter)
            self._admit()

    def _admit(self) -> None:
        """Grant what fits, oldest first, until nothing is free of any name that somebody waits for."""
        claimed: _Amounts = {}
        open_names = set(self._claims.totals)
        leaving = []
        for waiter in self._waiters:
            if not open_names:
                break
            if waiter.loop.is_closed():  # its task can never go on
                leaving.append(waiter)
            elif self._fits(waiter.amounts, claimed):
                self._take(waiter.amounts)
                waiter.is_granted = True
                leaving.append(waiter)
            else:
                for name, amount in waiter.amounts.items():
                    claimed[name] = claimed.get(name, 0.0) + amount
                open_names = {name for name in open_names if self._has_room(name, claimed)}
        for waiter in leaving:
            self._dequeue(waiter)
            waiter.wake()

    def _has_room(self, name: str, claimed: _Amounts) -> bool:
        capacity = self._capacity.get(name)
        return capacity is None or self._usage[name] + claimed.get(name, 0.0) < capacity

    def _change_capacity(self, capacity: _Amounts) -> None:
        for name in self._capacity.keys() - capacity.keys():
            held = self._usage.pop(name)
            if held:
                self._unlimited_usage[name] = held
        for name in capacity.keys() - self._capacity.keys():
            self._usage[name] = self._unlimited_usage.pop(name, 0.0)
        self._capacity = capacity
        for waiter in list(self._waiters):
            self._refuse_if_impossible(waiter)
        self._admit()

    def _refuse_if_impossible(self, waiter: _Waiter) -> None:
        try:
            self._raise_if_impossible(waiter.amounts)
        except ValueError as error:  # kept in the queue it would hold up everybody behind it
            self._dequeue(waiter)
            waiter.wake(error)


class _Claims:
    """Sums of amounts by name; a name disappears with its last amount, and rounding errors with it."""

    def __init__(self) -> None:
        self.totals: _Amounts = {}
        self._counts: dict[str, int] = {}

    def add(self, amounts: _Amounts) -> None:
        for name, amount in amounts.items():
            self.totals[name] = self.totals.get(name, 0.0) + amount
            self._counts[name] = self._counts.get(name, 0) + 1

    def subtract(self, amounts: _Amounts) -> None:
        for name, amount in amounts.items():
            self._counts[name] -= 1
            if self._counts[name]:
                self.totals[name] -= amount
            else:
                del self.totals[name], self._counts[name]


class _Waiter:
    """One request that waits, on the event loop of its task."""

    __slots__ = ("amounts", "future", "is_granted", "loop")

    def __init__(self, amounts: _Amounts) -> None:
        self.amounts = amounts
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        #: Set together with taking the amounts; from then on whoever abandons the wait must give them back.
        self.is_granted = False

    def wake(self, error: Exception | None = None) -> None:
        """End the wait, from any thread."""
        if self.loop.is_closed():
            return
        if _get_running_loop() is self.loop:
            self._finish(error)
        else:
            self.loop.call_soon_threadsafe(self._finish, error)

    def _finish(self, error: Exception | None) -> None:
        if self.future.done():  # cancelled in the meantime
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


def _amounts(requirements: _Requirements) -> _Amounts:
    """Return the requirements as numbers, without zeros."""
    amounts = {}
    for name, value in requirements.items():
        amount = _number(name, value)
        if amount:
            amounts[name] = amount
    return amounts


def _number(name: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"amount of resource {name!r} must be a number, not {value!r}") from error
    if number < 0 or math.isnan(number):
        raise ValueError(f"amount of resource {name!r} must be at least 0, not {value!r}")
    return number

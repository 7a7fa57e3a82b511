"""From a blueprint to a routine: its calls as one program of the kernel, in the order of the instructions."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

from cascade import _kernel
from cascade.spec.blueprint import Blueprint, Call, Literal, Operand, Register

__all__ = ["Frame", "compiled"]


class Frame:
    """The registers of one blueprint, all None at first.

    A program has no such list: its operations are its registers. This one tells the compiler what is stored where.
    """

    __slots__ = ("registers",)

    def __init__(self, size: int) -> None:
        self.registers: list[Any] = [None] * size

    def load(self, operand: Operand) -> Any:
        """Return the value of an operand.

        Raises:
            TypeError: it is neither a literal nor a register.
        """
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Register):
            return self.registers[operand.index]
        raise TypeError(f"an operand is a Literal or a Register, not {type(operand).__name__}")

    def store(self, register: Register, value: Any) -> None:
        """Keep a value in a register."""
        self.registers[register.index] = value


def compiled(blueprint: Blueprint) -> Any:
    """Return the routine of a blueprint: its calls as one program, in the order of the instructions."""
    return _Compiler(blueprint).routine()


class _Compiler:
    """Compiles one blueprint.

    The kernel compiles expressions, so the calls become one: what a call reads from a register that an earlier call
    stores is that call, everything else is a place in its arguments. The last call ends the expression; where others
    are not needed for its value, one more call, of a function that returns its first argument, needs them all.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self.calls: list[Any] = []
        self.lazies: list[Any] = []  # by instruction
        self.values: list[list[Any]] = []  # by instruction: literals, None for whatever comes from a register
        self.read: dict[int, list[tuple[int, int]]] = {}  # by register: where it is read before a call stores into it
        self.stored = Frame(blueprint.register_count)  # the number of the last call that stored into each register
        self.needed: set[int] = set()  # calls whose results others need

    def routine(self) -> Any:
        """Return the routine.

        Raises:
            NotImplementedError, TypeError: an instruction, or an operand, is of no known kind.
            ValueError: there is no instruction.
        """
        for instruction in self.blueprint.instructions:
            if not isinstance(instruction, Call):
                raise NotImplementedError(f"no instruction {type(instruction).__name__} is known, only Call")
            self._add(instruction)
        if not self.calls:
            raise ValueError("a blueprint without instructions has no value")
        last = len(self.calls) - 1
        if len(self.needed) < last:
            self._add_last(last)
        return self._assembled()

    def _add(self, call: Call) -> None:
        number = len(self.calls)
        values: list[Any] = []
        given: list[Any] = []  # what the kernel is shown: a call, or nothing
        for position, operand in enumerate((*call.args, *call.kwargs.values())):
            found = self.stored.load(operand)
            is_register = isinstance(operand, Register)
            values.append(None if is_register else found)
            given.append(self.lazies[found] if is_register and found is not None else None)
            if given[-1] is not None:
                self.needed.add(found)
            elif isinstance(operand, Register):
                self.read.setdefault(operand.index, []).append((number, position))
        npos = len(call.args)
        task = _kernel.Task(call.func, call.task_name)
        names = dict(zip(call.kwargs, given[npos:], strict=True))
        self._keep(call, _kernel.LazyResult(task, tuple(given[:npos]), names), values)
        self.stored.store(call.output, number)

    def _add_last(self, last: int) -> None:
        rest = [lazy for number, lazy in enumerate(self.lazies) if number not in self.needed and number != last]
        given = (self.lazies[last], *rest)
        call = Call(_first, Register(self.blueprint.register_count), task_name=self.calls[last].task_name)
        self._keep(call, _kernel.LazyResult(_kernel.Task(_first, call.task_name), given, {}), [None] * len(given))

    def _keep(self, call: Call, lazy: Any, values: list[Any]) -> None:
        self.calls.append(call)
        self.lazies.append(lazy)
        self.values.append(values)

    def _assembled(self) -> Any:
        """Compile the expression, and number everything as it numbers the calls."""
        count = len(self.lazies)
        frame = _kernel.Frame(_kernel.ProgramCache(), {}, False)
        frame.begin(self.lazies[-1])
        try:
            operations = frame.expression.operations
            number_of = {id(lazy): number for number, lazy in enumerate(self.lazies)}
            numbers = [number_of[id(operation.lazy)] for operation in operations]
            ops = {number: op for op, number in enumerate(numbers)}
            order = array("i", (ops[number] for number in range(count)))
            program = _kernel.compile_program(frame, array("i", range(count + 1)), order)
        finally:
            frame.close()
        return _kernel.Routine(
            program,
            operations,
            [tuple(self.values[number]) for number in numbers],
            [self._places(register, ops) for register in self.blueprint.input_args],
            {name: self._places(register, ops) for name, register in self.blueprint.input_kwargs.items()},
            [
                (ops[stored], ops[number], position)
                for register, places in self.read.items()
                if (stored := self.stored.registers[register]) is not None
                for number, position in places
            ],
            [self.calls[number] for number in numbers],
        )

    def _places(self, register: int, ops: Mapping[int, int]) -> list[tuple[int, int]]:
        return [(ops[number], position) for number, position in self.read.get(register, ())]


def _first(value: Any, *_: Any) -> Any:
    return value

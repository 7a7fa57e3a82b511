"""From a lazy result to a blueprint: one call for each distinct lazy, dependencies first, results in registers.

    add(one(), 2)            Call(one, r0)  Call(add, r1, args=[r0, 2])
    add(3, 4) as a template  Call(add, r2, args=[r0, r1])    inputs r0, r1

Registers say nothing of retries, maps, resources, choices or conditions. A call that needs one of these is compiled to
a call that returns it as a lazy result, with the values that its registers had: who runs the blueprint evaluates it.
"""

from __future__ import annotations

from typing import Any

from cascade import _kernel
from cascade.spec.blueprint import Blueprint, Call, Literal, Operand, Register

__all__ = ["BlueprintBuilder"]

#: Policies that concern other calls than their own, or what a call is known by: they keep an expression in one piece.
_WHOLE = _kernel.CONDITION | _kernel.CONSTANT_CONDITION | _kernel.AFTER | _kernel.CACHE | _kernel.JUMP
_LAZY = (_kernel.LazyResult, _kernel.MappedLazyResult)


class BlueprintBuilder:
    """Compiles lazy results; it keeps nothing of any of them."""

    def build(self, target: Any, template: bool = False) -> Blueprint:
        """Return the blueprint of ``target``; its last instruction gives the target's value.

        Args:
            target: a lazy result.
            template: let the arguments of the target be inputs, to be given when the blueprint runs. They take the
                first registers; what they are now is not compiled.

        Raises:
            TypeError: ``target`` is no lazy result.
            CycleError, UncalledTaskError: the expression can never run.
        """
        if type(target) not in _LAZY:
            raise TypeError(f"Cannot compile non-LazyResult: {type(target).__name__}")
        expression = _kernel.trace(target)
        if template:
            return _template(target, expression.operations)
        if any(map(_keeps_whole, expression.operations)):
            return Blueprint([Call(_Whole(target), Register(0), task_name=_name(target))], 1)
        return _expression(expression.operations)


class _Again:
    """A call of a blueprint that returns a lazy result: a copy of one, with the arguments that it is called with."""

    __slots__ = ("lazy",)

    def __init__(self, lazy: Any) -> None:
        self.lazy = lazy

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        lazy = self.lazy
        policies = {
            "_retry_policy": lazy._retry_policy,
            "_cache_policy": lazy._cache_policy,
            "_condition": lazy._condition,
            "_constraints": lazy._constraints,
            "_dependencies": list(lazy._dependencies),
        }
        if type(lazy) is _kernel.MappedLazyResult:
            return _kernel.MappedLazyResult(lazy.factory, kwargs, **policies)
        return _kernel.LazyResult(lazy.task, args, kwargs, _jump_selector=lazy._jump_selector, **policies)


class _Whole:
    """A call of a blueprint that returns the lazy result that was compiled."""

    __slots__ = ("lazy",)

    def __init__(self, lazy: Any) -> None:
        self.lazy = lazy

    def __call__(self) -> Any:
        return self.lazy


def _expression(operations: Any) -> Blueprint:
    instructions: list[Any] = []
    registers: list[int] = []  # by operation
    for operation in operations:
        if operation.equal >= 0:
            registers.append(registers[operation.equal])
            continue
        output = len(instructions)
        registers.append(output)
        operands = _operands(operation, registers)
        instructions.append(_call(operation, Register(output), operands, _is_plain(operation)))
    return Blueprint(instructions, len(instructions))


def _template(target: Any, operations: Any) -> Blueprint:
    operation = operations[-1]
    count = len(operation.values)
    npos = count - len(operation.keywords)
    is_plain = len(operations) == 1 and _is_plain(operation) and not _keeps_whole(operation)
    call = _call(operation, Register(count), [Register(index) for index in range(count)], is_plain)
    named = dict(zip(operation.keywords, range(npos, count), strict=True))
    return Blueprint([call], count + 1, list(range(npos)), named)


def _operands(operation: Any, registers: list[int]) -> list[Operand]:
    """Return the arguments of a call that has no containers with lazy results in them."""
    if operation.codes is None:
        return [Literal(value) for value in operation.values]
    return [
        Register(registers[code[0]]) if code[0] >= 0 else Literal(operation.values[code[1]]) for code in operation.codes
    ]


def _call(operation: Any, output: Register, operands: Any, is_plain: bool) -> Call:
    lazy, npos = operation.lazy, len(operands) - len(operation.keywords)
    return Call(
        operation.callee.func if is_plain else _Again(lazy),
        output,
        operands[:npos],
        dict(zip(operation.keywords, operands[npos:], strict=True)),
        _name(lazy),
        lazy._constraints if is_plain else None,
    )


def _is_plain(operation: Any) -> bool:
    """Whether a call is no more than its function and its arguments."""
    if operation.flags & (_kernel.RETRY | _kernel.MAP):
        return False
    return operation.callee.mode is None and not operation.callee.injects


def _keeps_whole(operation: Any) -> bool:
    """Whether a call has what cannot be said of it alone."""
    if operation.flags & _WHOLE or any(amount >= 0 for _, amount in operation.amounts):
        return True
    return any(code[0] < 0 and code[0] != _kernel.ARGUMENT for code in operation.codes or ())


def _name(lazy: Any) -> str:
    if type(lazy) is _kernel.LazyResult:
        return str(lazy.task.name)
    return f"map({getattr(lazy.factory, 'name', 'factory')})"

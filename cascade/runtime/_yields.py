"""Whether code around a ``yield`` waits for exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, GeneratorType
from typing import Any

__all__ = ["is_guarded"]


def is_guarded(generator: Any) -> bool:
    """Whether there is a ``try`` or ``with`` around the ``yield`` at which a generator, or its delegate, waits.

    Read off the exception table of its code, which has the innermost handler of each instruction
    (https://github.com/python/cpython/blob/3.11/Objects/exception_handling_notes.txt). Handlers that the compiler adds
    by itself, such as the one around each generator since Python 3.12, begin with other instructions than those of
    statements, and pass the exception on to the next one. What is no generator of Python's is taken for guarded.
    """
    if not isinstance(generator, GeneratorType):
        return True
    frame = generator.gi_frame
    if frame is None:
        return False
    delegate = generator.gi_yieldfrom
    if delegate is not None and is_guarded(delegate):
        return True
    from opcode import opmap  # needed where something has failed only

    code = frame.f_code
    handlers, instructions = list(_handlers(code)), code.co_code
    at: int | None = frame.f_lasti
    passed = set()
    while at is not None and at not in passed:
        passed.add(at)
        at = next((handler for start, end, handler in handlers if start <= at < end), None)
        if at is not None and instructions[at] == opmap["PUSH_EXC_INFO"]:
            return True
    return False


def _handlers(code: CodeType) -> Iterator[tuple[int, int, int]]:
    """Yield the ranges of instructions that are protected, in bytes, with where their handlers begin."""
    numbers = _numbers(code.co_exceptiontable)
    for start, length, handler, _ in zip(numbers, numbers, numbers, numbers, strict=True):
        yield 2 * start, 2 * (start + length), 2 * handler


def _numbers(table: bytes) -> Iterator[int]:
    """Yield the numbers of an exception table: six bits a byte, highest first; bit 6 says that more follow."""
    number = 0
    for byte in table:
        number = number << 6 | byte & 0x3F
        if not byte & 0x40:
            yield number
            number = 0

"""Instructions of the register machine behind ``engine.run(..., use_vm=True)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cascade._kernel import TailCall
from cascade.spec.constraint import ResourceConstraint

__all__ = ["Blueprint", "Call", "Instruction", "Literal", "Operand", "Register", "TailCall"]


@dataclass
class Operand:
    """Where an instruction takes a value from."""


@dataclass
class Literal(Operand):
    """A value known when the blueprint is built."""

    value: Any


@dataclass
class Register(Operand):
    """A slot of the frame, counted from 0."""

    index: int


@dataclass
class Instruction:
    """One action of a blueprint."""


@dataclass
class Call(Instruction):
    """Call ``func`` with ``args`` and ``kwargs`` and keep the result in ``output``."""

    func: Callable[..., Any]
    output: Register
    args: list[Operand] = field(default_factory=list)
    kwargs: dict[str, Operand] = field(default_factory=dict)
    task_name: str = "unknown"
    constraints: ResourceConstraint | None = None


@dataclass
class Blueprint:
    """A program for the register machine: instructions in order, and the registers that take the inputs."""

    instructions: list[Instruction] = field(default_factory=list)
    register_count: int = 0
    input_args: list[int] = field(default_factory=list)
    input_kwargs: dict[str, int] = field(default_factory=dict)

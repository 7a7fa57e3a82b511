"""The file that a baseline is kept in: reason, place, and the rows of each kind."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.tools.gate.errors import BaselineBroken, BaselineMissing
from cascade.tools.gate.place import Place
from cascade.tools.gate.verdicts import Kind, Row

__all__ = ["Baseline", "read", "write"]

#: 1 had medians of rounds beside busy processes.
_FORMAT = 2
_REMEDY = "record one with --update --reason TEXT"

Rows = Mapping[Kind, Mapping[str, Row]]


@dataclass(frozen=True)
class Baseline:
    """Rows by kind and name, where they were recorded, and why."""

    reason: str
    place: Place
    rows: Rows


def read(path: Path) -> Baseline:
    """Return what a file holds.

    Raises:
        BaselineMissing: there is no such file.
        BaselineBroken: it cannot be read, or is no baseline.
    """
    try:
        return _parse(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise BaselineMissing(f"there is no baseline {path}; {_REMEDY}") from error
    except OSError as error:
        raise BaselineBroken(f"the baseline {path} cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaselineBroken(f"{path} is not a baseline ({type(error).__name__}: {error}); {_REMEDY}") from error


def _parse(content: Any) -> Baseline:
    if content["format"] != _FORMAT:
        raise ValueError(f"format {content['format']!r}, not {_FORMAT}")
    rows = {kind: {name: _row(**row) for name, row in content[kind.title].items()} for kind in Kind}
    return Baseline(content["reason"], Place(**content["recorded"]), rows)


def _row(value: float, tolerance: float, calls: int | None = None) -> Row:
    if not (0 < value < float("inf") and 0 < tolerance < 1 and (calls is None or calls > 0)):
        raise ValueError(f"no sense in a row of value {value}, tolerance {tolerance}, calls {calls}")
    return Row(float(value), float(tolerance), calls)


def write(path: Path, baseline: Baseline) -> None:
    """Write a baseline; a file that is there stays whole until the new one is.

    Raises:
        BaselineBroken: it cannot be written.
    """
    rows = {kind.title: {name: _facts(row) for name, row in baseline.rows[kind].items()} for kind in Kind}
    place = dataclasses.asdict(baseline.place)
    content = {"format": _FORMAT, "reason": baseline.reason, "recorded": place, **rows}
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(fresh, path)
    except OSError as error:
        raise BaselineBroken(f"the baseline {path} cannot be written ({error.strerror or error})") from error


def _facts(row: Row) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(row).items() if value is not None}

"""A table of constraints for people."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from cascade.cli._usage import CLI_REMEDY
from cascade.cli.observer.rendering import harmless
from cascade.spec.constraint import GlobalConstraint

try:
    import rich
    import rich.box
    import rich.console
    import rich.table
    import rich.text
except ImportError:  # said when a table is shown
    rich = None  # type: ignore[assignment]

__all__ = ["show_constraints"]

_COLUMNS = ("Scope", "Type", "Params", "Expires in")
#: Columns of a stream that is no terminal: what reads it wants whole lines.
_UNLIMITED = 100_000


def show_constraints(constraints: Iterable[GlobalConstraint]) -> None:
    """Print constraints on standard error, by scope and type.

    Raises:
        ImportError: rich is not installed.
    """
    if rich is None:
        raise ImportError(f"the table of constraints needs the 'rich' library: {CLI_REMEDY}")
    console = rich.console.Console(stderr=True, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    rows = sorted(constraints, key=lambda constraint: (constraint.scope, constraint.type))
    if not rows:
        console.print("No active constraints found.")
        return
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    now = time.time()
    for row in rows:
        texts = (row.scope, row.type, str(row.params))
        table.add_row(*(rich.text.Text(harmless(text)) for text in texts), _time_left(row.expires_at, now))
    console.print(table)


def _time_left(expires_at: float | None, now: float) -> rich.text.Text:
    left = math.inf if expires_at is None else float(expires_at) - now
    if left == math.inf:
        return rich.text.Text("Never")
    if left <= 0:
        return rich.text.Text("Expired", style="red")
    return rich.text.Text(f"{left:.1f}s")

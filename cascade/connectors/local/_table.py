"""What a subscriber of the constraint table is told."""

from __future__ import annotations

from typing import Any

from cascade.connectors._constraint_topics import topic_of
from cascade.connectors.local._store import Row

__all__ = ["news"]


def news(known: dict[str, Row], rows: list[Row]) -> list[tuple[str, dict[str, Any]]]:
    """Return topics and messages that lead from the rows a subscriber knows, by id, to those there are now.

    A scope that has lost a row is lifted as a whole, and told again what it still has: less cannot be lifted.
    """
    now = {row.id: row for row in rows}
    thinned = {row.scope for row in known.values() if row.id not in now or now[row.id].scope != row.scope}
    lifted: list[tuple[str, dict[str, Any]]] = [(topic_of(scope), {}) for scope in sorted(thinned)]
    changed = [row for row in rows if row.scope in thinned or known.get(row.id) != row]
    return lifted + [(topic_of(row.scope), row.payload()) for row in changed]

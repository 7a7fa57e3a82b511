"""The smallest parts of Lisp text: literals and names."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from cascade.graph.model import Node

__all__ = ["literal", "name_all", "symbol"]


def literal(value: Any) -> str:
    """Return a value that is no list and no dict; what Lisp has no form for is written as the text of its ``repr``."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "#t" if value else "#f"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _real(value)
    return json.dumps(value if isinstance(value, str) else repr(value), ensure_ascii=False)


def _real(value: float) -> str:
    if math.isnan(value):
        return "+nan.0"
    if math.isinf(value):
        return "+inf.0" if value > 0 else "-inf.0"
    return float.__repr__(value)


def symbol(name: str) -> str:
    """Return a name as Lisp writes it: small letters, and dashes for what a symbol cannot have."""
    return re.sub(r"""[_\s()\[\]{}"'`,;|\\#]""", "-", name.lower()) or "-"


def name_all(bound: Iterable[Node], nodes: Iterable[Node]) -> dict[int, str]:
    """Return by ``id`` a name for each node that is bound, unlike the names of all tasks."""
    taken = {symbol(node.name) for node in nodes}
    counts: Counter[str] = Counter()
    names: dict[int, str] = {}
    for node in bound:
        base = name = symbol(node.name)
        while name in taken:
            counts[base] += 1
            name = f"{base}-{counts[base]}"
        taken.add(name)
        names[id(node)] = name
    return names

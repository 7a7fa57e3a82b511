"""How a ratio is measured: as the regression gate does it, on the compiled kernel only."""

from __future__ import annotations

from cascade import _kernel
from cascade.tools.gate.measuring import Measured, compare, rate
from cascade.tools.gate.yardsticks import warm_up

__all__ = ["ROUNDS", "Measured", "compare", "need_compiled", "rate", "warm_up"]

#: Fewer than the gate makes, for programs whose end somebody awaits.
ROUNDS = 7


def need_compiled() -> str:
    """Returns what is wrong if another kernel than the compiled one is loaded, and an empty text otherwise."""
    loaded = _kernel.hot.__name__
    if loaded == "cascade._hot":
        return ""
    return (
        f"the compiled kernel is needed for measuring, but {loaded} is loaded: "
        "unset CASCADE_PURE and build the extension (pip install -e .)"
    )

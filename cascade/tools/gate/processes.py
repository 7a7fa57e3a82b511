"""Measuring in a process of its own: where a process has its memory can cost a subject a third, as long as it lives.

    elsewhere = measured_by([..., "--tell-ratios"])     elsewhere(["fib"]): COMMAND --only fib --> {"fib": 0.98}

The process that is started calls ``tell_ratios``; what its workloads print must not go to standard output.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence

from cascade.tools.gate.errors import MeasuringFailed
from cascade.tools.gate.subjects import Gate, Measure

__all__ = ["measured_by", "tell_ratios"]

#: Seconds after which a measurement is given up.
_PATIENCE = 900


def measured_by(command: Callable[[Sequence[str]], Sequence[str]]) -> Measure:
    """Return what measures subjects by name in a fresh process each time; ``command`` makes its command line.

    What is returned raises:
        MeasuringFailed: the process failed, took too long, or told something else.
    """

    def elsewhere(names: Sequence[str]) -> Mapping[str, float]:
        try:
            done = subprocess.run(command(names), stdout=subprocess.PIPE, timeout=_PATIENCE, check=True)
            ratios = json.loads(done.stdout)
            return {name: float(ratios[name]) for name in names}
        except subprocess.SubprocessError as error:
            raise MeasuringFailed(f"{', '.join(names)} could not be measured in another process ({error})") from error
        except (ValueError, KeyError, TypeError) as error:
            told = done.stdout[-200:].decode(errors="replace")
            raise MeasuringFailed(f"another process should have told ratios, and told {told!r}") from error

    return elsewhere


def tell_ratios(gate: Gate) -> int:
    """Measure each subject once, print the ratios as a JSON object, and return the exit code."""
    print(json.dumps(gate.ratios(list(gate.subjects))))
    return 0

"""A thousand fireflies fall into step.

Each firefly is an agent: a task that waits for the next beat, is pulled towards the others, and calls itself, for ever.
All of them run on one engine, in one run. When they flash together, the run is cancelled.

    python examples/fireflies.py [--count N] [--coupling K] [--out FILE]
    cascade run examples/fireflies.py      (no picture: they live until Ctrl-C)

The model is Kuramoto's: firefly i has a phase p[i] and a rate w[i] of its own, and p[i]' = w[i] + K r sin(q - p[i]),
where r (the order parameter, from 0 to 1) and q are length and angle of the mean of all exp(i p[j]).
"""

from __future__ import annotations

import argparse
import asyncio
import cmath
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver

BEAT = 0.05  # seconds of the model
TURN = 2 * math.pi
COUNT, COUPLING = 1000, 1.5


class Meadow:
    """Where the fireflies see each other. A beat is over when all have shown their phases."""

    def __init__(self, count: int, wanted: float, on_beat: Callable[[int, float], object]) -> None:
        self.phases = [0.0] * count
        self.first: list[float] = []
        #: Order parameter by beat.
        self.order: list[float] = []
        self.in_step = asyncio.Event()
        self._wanted = wanted
        self._on_beat = on_beat
        self._missing = count
        self._field = 0j
        self._next = asyncio.Event()

    async def show(self, index: int, phase: float) -> complex:
        """Show a phase; return the mean field of this beat when everybody has shown theirs."""
        self.phases[index] = phase
        self._missing -= 1
        if self._missing:
            await self._next.wait()
        else:
            self._turn()
        return self._field

    def _turn(self) -> None:
        self._field = sum(cmath.exp(1j * phase) for phase in self.phases) / len(self.phases)
        self.order.append(abs(self._field))
        self.first = self.first or list(self.phases)
        self._on_beat(len(self.order), self.order[-1])
        self._missing = len(self.phases)
        if self.order[-1] >= self._wanted:
            self.in_step.set()  # the beat stays as it is: nobody needs another
            return
        over, self._next = self._next, asyncio.Event()
        over.set()


@cs.task
async def firefly(index: int, phase: float, rate: float, coupling: float, meadow: Any = cs.inject("meadow")) -> None:
    """Live for one beat, then go on as the same firefly, a little later."""
    field = await meadow.show(index, phase)
    pull = coupling * abs(field) * math.sin(cmath.phase(field) - phase)
    return firefly(index, (phase + (rate + pull) * BEAT) % TURN, rate, coupling)


def swarm(count: int, coupling: float, seed: int) -> list[Any]:
    """Return the lazy fireflies: phases anywhere, rates near one flash a second."""
    chance = random.Random(seed)
    return [firefly(i, chance.uniform(0, TURN), chance.gauss(TURN, 0.25), coupling) for i in range(count)]


@cs.resource
def meadow() -> Iterator[Meadow]:
    """The place of ``main``, where no agreement is enough."""
    yield Meadow(COUNT, math.inf, lambda beat, order: None)


def main() -> list[Any]:
    """Return the lazy fireflies, for ``cascade run``."""
    return swarm(COUNT, COUPLING, seed=1)


@dataclass(frozen=True)
class Evening:
    """What came of it."""

    order: list[float]
    first: list[float]
    last: list[float]
    in_step: bool
    seconds: float
    steps: int


async def watch(
    fireflies: Sequence[Any],
    wanted: float,
    patience: float,
    on_beat: Callable[[int, float], object] = lambda beat, order: None,
) -> Evening:
    """Run fireflies until their order parameter is as wanted, at most ``patience`` seconds; then end them all."""
    meadow = Meadow(len(fireflies), wanted, on_beat)

    @cs.resource(name="meadow")
    def the_meadow() -> Iterator[Meadow]:
        yield meadow

    engine = cs.Engine(NativeSolver(), LocalExecutor(), cs.MessageBus())
    engine.register(the_meadow)
    started = time.monotonic()
    life = asyncio.create_task(engine.run(list(fireflies)))
    sight = asyncio.create_task(meadow.in_step.wait())
    try:
        await asyncio.wait({life, sight}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if life.done():
            life.result()  # they live for ever, so this is an error: raise it
    finally:
        sight.cancel()
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life
    seconds = time.monotonic() - started
    return Evening(meadow.order, meadow.first, meadow.phases, meadow.in_step.is_set(), seconds, engine.stats.steps)


# --------------------------------------------------------------------------------------------------------- the picture

WIDTH, HEIGHT = 960, 480
LEFT, RIGHT, TOP, BOTTOM = 72, 250, 100, 72

STYLE = """
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2933 }
  .title { font-size: 22px; font-weight: 600 }
  .note { font-size: 14px; fill: #52606d }
  .axis { font-size: 14px; fill: #3e4c59 }
  .tick { font-size: 13px; fill: #52606d }
"""


def text(x: float, y: float, kind: str, content: str, more: str = "") -> str:
    """Return a text element."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}"{more}>{content}</text>'


def picture(evening: Evening) -> str:
    """Return the order parameter over time, and the phases at the beginning and at the end, as SVG."""
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        text(28, 40, "title", f"{len(evening.last):,} fireflies {'fall into step' if evening.in_step else 'flash'}"),
        text(28, 66, "note", "Each is a task that calls itself; the pull between them does the rest."),
        *axes(len(evening.order)),
        curve(evening.order),
        *dial(evening.first, 185, "first beat"),
        *dial(evening.last, 345, "last beat"),
    ]
    body = "\n".join(f"  {part}" for part in parts)
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<style>{STYLE}</style>\n{body}\n</svg>\n'


def place(beat: float, order: float, beats: int) -> tuple[float, float]:
    """Return where a point of the curve is, in pixels."""
    x = LEFT + (beat / max(beats - 1, 1)) * (WIDTH - LEFT - RIGHT)
    return x, HEIGHT - BOTTOM - order * (HEIGHT - TOP - BOTTOM)


def axes(beats: int) -> Iterator[str]:
    """Yield grid, numbers and the names of the axes."""
    for order in (0.0, 0.25, 0.5, 0.75, 1.0):
        (x1, y), (x2, _) = place(0, order, beats), place(beats - 1, order, beats)
        colour = "#9aa5b1" if order == 0 else "#e4e7eb"
        yield f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}"/>'
        yield text(x1 - 10, y + 4.5, "tick", f"{order:g}", ' text-anchor="end"')
    for beat in range(0, beats, tick_step(beats)):
        x, y = place(beat, 0, beats)
        yield text(x, y + 20, "tick", f"{beat * BEAT:g}", ' text-anchor="middle"')
    x, y = place((beats - 1) / 2, 0, beats)
    yield text(x, y + 48, "axis", "Time in the meadow, seconds", ' text-anchor="middle"')
    _, y = place(0, 0.5, beats)
    yield text(22, y, "axis", "Order parameter", f' text-anchor="middle" transform="rotate(-90 22 {y:.1f})"')


def tick_step(beats: int) -> int:
    """Return the beats between two ticks: 1, 2 or 5 times a power of ten seconds, or a tenth of that."""
    seconds = max(beats * BEAT, BEAT)
    power = 10.0 ** math.floor(math.log10(seconds / 5))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * 6 >= seconds)
    return max(round(step / BEAT), 1)


def curve(order: Sequence[float]) -> str:
    """Return the order parameter as a line."""
    points = (place(beat, value, len(order)) for beat, value in enumerate(order))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="#b7791f" stroke-width="2.5" stroke-linejoin="round"/>'


def dial(phases: Sequence[float], y: float, name: str) -> Iterator[str]:
    """Yield a circle with a dot for each phase; dots of many fireflies at one place look solid."""
    x, radius = WIDTH - RIGHT / 2 + 10, 56
    yield f'<circle cx="{x}" cy="{y}" r="{radius}" fill="none" stroke="#cbd2d9"/>'
    for phase in phases:
        at = f'cx="{x + radius * math.cos(phase):.1f}" cy="{y - radius * math.sin(phase):.1f}"'
        yield f'<circle {at} r="3.2" fill="#b7791f" fill-opacity="0.22"/>'
    yield text(x, y + 5, "tick", name, ' text-anchor="middle"')


# --------------------------------------------------------------------------------------------------------- the program


def show(beat: int, order: float) -> None:
    """Show the order parameter: live on a terminal, now and then elsewhere."""
    line = f"beat {beat:4d}  order {order:.3f}  {'█' * round(40 * order):<40}"
    if sys.stdout.isatty():
        print(f"\r{line}", end="", flush=True)
    elif beat % 20 == 1:
        print(line.rstrip(), flush=True)


def command(argv: Sequence[str] | None = None) -> int:
    """Watch the fireflies, draw what was seen, and return the exit code: 0 if they fell into step."""
    parser = argparse.ArgumentParser(description="Coupled oscillators, each a recursive task.")
    parser.add_argument("--count", type=int, default=COUNT, help=f"number of fireflies (default: {COUNT})")
    parser.add_argument("--coupling", type=float, default=COUPLING, help=f"how strongly they pull ({COUPLING})")
    parser.add_argument("--wanted", type=float, default=0.98, help="order parameter to reach (default: 0.98)")
    parser.add_argument("--patience", type=float, default=120.0, help="give up after so many seconds (default: 120)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fireflies.svg"), help="picture (default: fireflies.svg)")
    arguments = parser.parse_args(argv)

    fireflies = swarm(arguments.count, arguments.coupling, arguments.seed)
    try:
        evening = asyncio.run(watch(fireflies, arguments.wanted, arguments.patience, show))
    except KeyboardInterrupt:
        print("\nStopped; all fireflies have ended.")
        return 130
    end = "in step" if evening.in_step else "not in step"
    work = f"{len(evening.order)} beats, {evening.steps:,} steps in {evening.seconds:.1f} s"
    print(f"\n{arguments.count:,} fireflies {end} after {work}")
    arguments.out.write_text(picture(evening), encoding="utf-8")
    print(f"Picture in {arguments.out}")
    return 0 if evening.in_step else 1


if __name__ == "__main__":
    sys.exit(command())

"""Draws what ``growth.py`` has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.lengths import Length
from benchmarks.sizes import Cost

__all__ = ["draw_nodes", "draw_steps", "need_matplotlib"]

#: Told apart without colour, too.
MARKERS = "osD^vP"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#a06800")


def need_matplotlib() -> Any:
    """Returns ``matplotlib.pyplot``, set up to write files.

    Raises:
        SystemExit: it is not installed; the message says how to install it.
    """
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("growth: drawing needs matplotlib: pip install cascade-hot[plot]") from None
    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot


def _axes(axes: Any, title: str, x: str, y: str = "") -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, which="major", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _logarithmic(axes: Any, pyplot: Any) -> None:
    """Costs against counts, labelled with numbers as one would write them: formulas need fonts of their own."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(pyplot.FuncFormatter(lambda value, _: f"{value:.0e}".replace("e+0", "e")))
    axes.yaxis.set_major_formatter(pyplot.FuncFormatter(lambda value, _: f"{value:g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(pyplot.NullFormatter())


def _save(figure: Any, path: Path, pyplot: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # No date or version in the file: it changes only with what it shows.
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def draw_nodes(shapes: Mapping[str, Mapping[int, Cost]], path: Path) -> None:
    """Draws the cost per node against the size of the expression, one panel a shape."""
    pyplot = need_matplotlib()
    figure, rows = pyplot.subplots(1, len(shapes), figsize=(12, 4.6), sharey=True, layout="constrained", squeeze=False)
    panels = rows[0]
    figure.suptitle("What a node costs, by the size of its expression")
    for axes, (name, costs) in zip(panels, shapes.items(), strict=True):
        sizes = sorted(costs)
        lines = {
            "run once": [costs[n].run for n in sizes],
            "written, run once and freed": [costs[n].whole for n in sizes],
            "the same in plain Python": [costs[n].plain for n in sizes],
            "without collector": [costs[n].alone for n in sizes],
            "plain Python without collector": [costs[n].plain_alone for n in sizes],
        }
        for (label, values), marker, colour in zip(lines.items(), MARKERS, COLOURS, strict=False):
            axes.plot(sizes, values, marker=marker, color=colour, label=label, linewidth=1.8, markersize=5)
        _axes(axes, name, "nodes", "trampoline steps per node" if axes is panels[0] else "")
        _logarithmic(axes, pyplot)
    panels[0].legend(frameon=False, fontsize=9)
    _save(figure, path, pyplot)


def draw_steps(loops: Mapping[str, Sequence[Length]], path: Path) -> None:
    """Draws the cost per step, and the memory that is left behind, against the number of steps."""
    pyplot = need_matplotlib()
    figure, (costs, memory) = pyplot.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    for (name, lengths), marker, colour in zip(loops.items(), MARKERS, COLOURS, strict=False):
        steps, last = [one.steps for one in lengths], lengths[-1]
        costs.plot(steps, [one.cost for one in lengths], marker=marker, color=colour, label=name, linewidth=1.8)
        period = last.steps // len(last.resident)
        begin = len(last.resident) // 10
        late = last.resident[begin:]
        at = [period * (begin + 1 + i) / last.steps for i in range(len(late))]
        memory.plot(
            at, [(size - late[0]) / 1024 for size in late], color=colour, linewidth=1.5, label=f"{name}, {last.steps:,}"
        )
    _axes(costs, "What a step costs, by the length of its loop", "steps", "trampoline steps per step")
    _logarithmic(costs, pyplot)
    costs.legend(frameon=False, fontsize=9, ncols=2)
    _axes(memory, "What the longest loop adds to memory", "part of the loop", "KB since its first tenth, resident")
    memory.set_ylim(-600, 600)
    memory.axhline(512, color="black", linestyle="--", linewidth=1)
    memory.annotate("allowed", (0.1, 512), xytext=(0, 4), textcoords="offset points", fontsize=9)
    memory.legend(frameon=False, fontsize=9, title="loop, steps", title_fontsize=9, ncols=2, loc="lower left")
    _save(figure, path, pyplot)

"""What a check found, as bars: the speed of each row as a part of the baseline's, with its limit."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.tools.gate.errors import PictureImpossible
from cascade.tools.gate.reports import summary
from cascade.tools.gate.verdicts import Kind, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cascade.tools.gate.checking import Report

__all__ = ["check_path", "draw", "why_not"]

_COLOURS = {"ok": "#7a9cc6", "faster": "#4c9f70", "fewer": "#4c9f70", "SLOWER": "#c8553d", "MORE": "#c8553d"}
_TITLES = {Kind.TIME: "time: speed as a ratio to a plain loop", Kind.INSTRUCTIONS: "instructions: fewer is longer"}
_LEGEND = "part of the recorded speed: dashed as recorded, black the limit"
_LONGEST = 2.0
_SUFFIXES = (".png", ".svg", ".pdf")


def why_not() -> str:
    """Return why no picture can be drawn here, and an empty text where one can."""
    if importlib.util.find_spec("matplotlib") is None:
        return "matplotlib is not installed: pip install 'cascade-hot[plot]'"
    return ""


def check_path(path: Path) -> None:
    """Raise what would make a picture impossible, before anything is measured for it."""
    reason = why_not()
    if reason:
        raise PictureImpossible(f"no picture: {reason}")
    if path.suffix.lower() not in _SUFFIXES:
        raise PictureImpossible(f"no picture {path}: its name must end with {', '.join(_SUFFIXES)}")
    if not path.parent.is_dir():
        raise PictureImpossible(f"no picture {path}: there is no folder {path.parent}")


def draw(report: Report, path: Path) -> None:
    """Draw a report into a file.

    Raises:
        PictureImpossible: matplotlib is missing, or the file cannot be written.
    """
    check_path(path)
    from matplotlib.figure import Figure

    groups = {kind: [v for v in report.verdicts if v.kind is kind] for kind in Kind}
    groups = {kind: verdicts for kind, verdicts in groups.items() if verdicts}
    heights = [len(verdicts) + 1.2 for verdicts in groups.values()]
    figure = Figure(figsize=(9, 1.3 + 0.32 * sum(heights)), layout="constrained")
    figure.suptitle(f"Regression gate: {summary(report)}", fontsize=12, fontweight="bold")
    axes = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=heights)
    for (kind, verdicts), (one,) in zip(groups.items(), axes, strict=True):
        _draw_group(one, kind, verdicts)
    axes[-1][0].set_xlim(0, max(1.2, *map(_length, report.verdicts)) * 1.02)
    axes[-1][0].set_xlabel(_LEGEND)
    try:
        figure.savefig(path, dpi=130)
    except OSError as error:
        raise PictureImpossible(f"no picture {path}: {error.strerror or error}") from error


def _draw_group(axes: Axes, kind: Kind, verdicts: list[Verdict]) -> None:
    places: Any = range(len(verdicts))
    colours = [_COLOURS[verdict.word] for verdict in verdicts]
    axes.barh(places, [_length(verdict) for verdict in verdicts], height=0.62, color=colours, zorder=2)
    starts, ends = [place - 0.42 for place in places], [place + 0.42 for place in places]
    axes.vlines([verdict.limit for verdict in verdicts], starts, ends, "black", lw=2, zorder=3)
    axes.axvline(1, color="grey", linestyle="--", linewidth=1, zorder=1)
    for place, verdict in enumerate(verdicts):  # in a column of their own: beside the bars they would hide the limits
        axes.text(1.01, place, _label(verdict), transform=axes.get_yaxis_transform(), va="center")
    axes.set_yticks(places, [verdict.name for verdict in verdicts])
    axes.set_ylim(len(verdicts) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_title(_TITLES[kind], loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _length(verdict: Verdict) -> float:
    """Return how far a bar goes: one row that became ten times as fast must not make the others invisible."""
    return min(verdict.share, _LONGEST) if math.isfinite(verdict.share) else 0.0


def _label(verdict: Verdict) -> str:
    return f"{verdict.share:.0%}" if verdict.word == "ok" else f"{verdict.share:.0%} {verdict.word}"

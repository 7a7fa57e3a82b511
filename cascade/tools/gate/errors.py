"""Why the gate cannot judge. Each text says on one line what is wrong and what would do.

GateError
    BaselineMissing      there is no file
    BaselineBroken       it cannot be read or written, or holds something else
    OtherPlace           it was recorded where other numbers hold
    RowsDiffer           what is measured and what was recorded are not the same
    CountingFailed       callgrind did not do what was asked
    MeasuringFailed      another process did not
    PictureImpossible    no matplotlib, or a file that cannot be written
"""

from __future__ import annotations

__all__ = [
    "BaselineBroken",
    "BaselineMissing",
    "CountingFailed",
    "GateError",
    "MeasuringFailed",
    "OtherPlace",
    "PictureImpossible",
    "RowsDiffer",
]


class GateError(Exception):
    """Nothing can be judged."""


class BaselineMissing(GateError):
    """There is no baseline yet."""


class BaselineBroken(GateError):
    """The file is no baseline, or cannot be read or written."""


class OtherPlace(GateError):
    """The baseline was recorded on a Python, machine or kernel whose ratios are others."""


class RowsDiffer(GateError):
    """Something has no row in the baseline, or a row has nothing that it speaks of."""


class CountingFailed(GateError):
    """The counting of instructions ended without counts."""


class MeasuringFailed(GateError):
    """A process that was to measure ended without ratios."""


class PictureImpossible(GateError):
    """No picture can be drawn or saved."""

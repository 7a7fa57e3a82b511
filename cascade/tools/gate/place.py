"""Where numbers hold: what of a Python, a machine and a build decides about ratios and instruction counts."""

from __future__ import annotations

import dataclasses
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from cascade import _kernel
from cascade.tools.gate.measuring import clock_name

__all__ = ["Place", "here"]

#: What compilers write into what they build.
_COMPILER = re.compile(rb"GCC: \([^()\x00]*(?:\([^()\x00]*\)[^()\x00]*)*\) [\d.]+|clang version [\d.]+")


@dataclass(frozen=True)
class Place:
    """What a baseline was recorded on. A field that could not be found out is empty."""

    python: str  # 3.11.7
    implementation: str  # CPython
    kernel: str  # compiled, or pure
    machine: str  # x86_64
    system: str  # Linux
    processor: str  # its model, where the system tells
    clock: str  # own time, or wall time
    build: str  # the compilers of Python and of the kernel, and the C library

    def strange(self, there: Place) -> list[str]:
        """Return in which ways the ratios of another place mean nothing here."""
        mine, theirs = ({**dataclasses.asdict(p), "python": _minor(p.python)} for p in (self, there))
        return _differences(mine, theirs, ("python", "implementation", "kernel", "machine"))

    def doubtful(self, there: Place) -> list[str]:
        """Return in which ways the ratios of another place may mean less here."""
        fields = ("python", "system", "processor", "clock")
        return _differences(dataclasses.asdict(self), dataclasses.asdict(there), fields)

    def uncountable(self, there: Place) -> list[str]:
        """Return in which ways the instruction counts of another place mean nothing here."""
        fields = ("python", "implementation", "kernel", "machine", "system", "build")
        return _differences(dataclasses.asdict(self), dataclasses.asdict(there), fields)


def _differences(mine: dict[str, str], theirs: dict[str, str], fields: tuple[str, ...]) -> list[str]:
    return [f"{f} {theirs[f] or 'unknown'}, here {mine[f] or 'unknown'}" for f in fields if mine[f] != theirs[f]]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def here() -> Place:
    """Return the place where this process runs."""
    return Place(
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        kernel=_kernel.kernel_name,
        machine=platform.machine(),
        system=platform.system(),
        processor=_processor(),
        clock=clock_name(),
        build=", ".join(filter(None, (platform.python_compiler().strip(), _built_by(), " ".join(platform.libc_ver())))),
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return platform.processor()
    found = re.search(r"^model name\s*:\s*(.*?)\s*$", text, re.MULTILINE)
    return found[1] if found else platform.processor()


def _built_by() -> str:
    """Return the compiler of the loaded kernel, as its file names it."""
    file = getattr(sys.modules[_kernel.hot.__name__], "__file__", None)
    if not file or file.endswith(".py"):
        return ""
    found = _COMPILER.search(Path(file).read_bytes())
    return found[0].decode("ascii", "replace") if found else ""

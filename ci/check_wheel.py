"""Checks what a wheel holds, and does not hold.

    python ci/check_wheel.py [--pure] WHEEL [SDIST]

A wheel is compared with ``cascade/`` in the current directory: each Python file and stub must be there, and nothing
else but the extension, the type marker, the texts and the metadata.
"""

from __future__ import annotations

import argparse
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

EXTENSION = re.compile(r"cascade/_hot\.[\w-]+\.(so|pyd)|cascade/_hot\.(so|pyd)")
TEXTS = re.compile(r"cascade/common/locales/en/\w+\.json")
METADATA = re.compile(r"cascade_hot-[^/]+\.dist-info/.+")
GENERATED = re.compile(r".*\.(c|cpp|html|so|pyd|pyc)|.*/build/.*")


def sources() -> set[str]:
    """Returns the Python files and stubs of the tree, as they are named in a wheel."""
    return {path.as_posix() for suffix in ("py", "pyi") for path in Path("cascade").rglob(f"*.{suffix}")}


def wheel_faults(wheel: Path, *, pure: bool) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        [metadata] = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    extensions = {name for name in names if EXTENSION.fullmatch(name)}
    texts = {name for name in names if TEXTS.fullmatch(name)}
    known = sources() | {"cascade/py.typed"}

    yield from (f"{name} is missing" for name in sorted(known - names))
    for name in sorted(names - known - extensions - texts):
        if not METADATA.fullmatch(name):
            yield f"{name} does not belong in a wheel"
    if len(extensions) != (0 if pure else 1):
        yield f"expected {'no' if pure else 'one'} extension, found {sorted(extensions)}"
    if wheel.name.endswith("-py3-none-any.whl") is not pure:
        yield f"the tag of {wheel.name} does not fit its content"
    if not texts:
        yield "cascade/common/locales/en/*.json is missing"
    needs = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    if needs != ["Requires-Dist: numpy"]:
        yield f"expected numpy as the only dependency, found {needs}"
    if not any(name.endswith("/LICENSE") for name in names):
        yield "LICENSE is missing"


def sdist_faults(sdist: Path) -> Iterator[str]:
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    needed = sources() | {"cascade/_hot.pyx", "cascade/_aside.h", "setup.py", "pyproject.toml", "LICENSE"}
    needed |= {"README.md", "CHANGELOG.md"}
    yield from (f"{name} is missing from the sdist" for name in sorted(needed - names))
    yield from (f"{name} does not belong in an sdist" for name in sorted(names) if GENERATED.fullmatch(name))


def main() -> int:
    """Prints each fault; returns 1 if there is any."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pure", action="store_true", help="the wheel was built without the extension")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("sdist", type=Path, nargs="?")
    options = parser.parse_args()

    faults = list(wheel_faults(options.wheel, pure=options.pure))
    if options.sdist:
        faults += sdist_faults(options.sdist)
    for fault in faults:
        print(f"{options.wheel.name}: {fault}", file=sys.stderr)
    if not faults:
        print(f"{options.wheel.name} holds what it should")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

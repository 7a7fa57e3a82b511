"""Is every name and signature of the older engine's surface there, as ``surface.json`` lists them?

    python tests/surface/check.py [--only PREFIX] [--all-installed] [--json]

Prints what is missing, incompatible or skipped, and the share of what is there; exit status 1 if something is missing
or incompatible. What needs an optional library that is not installed is skipped; with ``--all-installed``, which is for
an environment with every extra, a library that is not installed is a fault too. It runs from any directory, and checks
the ``cascade`` that Python would import there, or the one of this tree if there is none.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1]))  # last, so that an installed package is the one that is checked

from tests.surface.distribution import of_distribution, of_provider  # noqa: E402
from tests.surface.items import Finding, Item, judge  # noqa: E402
from tests.surface.modules import of_module  # noqa: E402

__all__ = ["items", "main", "read", "report", "share"]


def read() -> dict[str, Any]:
    """Return the surface."""
    surface: dict[str, Any] = json.loads((HERE / "surface.json").read_text(encoding="utf-8"))
    return surface


def items(surface: Mapping[str, Any]) -> Iterator[Item]:
    """Yield all that the surface asks for."""
    for module, entry in surface["modules"].items():
        yield from of_module(module, entry)
    for name, entry in surface["providers"].items():
        yield from of_provider(name, entry)
    yield from of_distribution(surface)


def share(findings: Iterable[Finding]) -> str:
    """Return the last line: how much of what could be checked is there. 100 % is said only if all is."""
    verdicts = Counter(finding.verdict for finding in findings)
    total = sum(verdicts.values()) - verdicts["skipped"]
    percent = 1000 * verdicts["ok"] // total / 10 if total else 100.0
    return f"surface: {verdicts['ok']} of {total} ({percent} %), {verdicts['skipped']} skipped"


def _without_excuse(finding: Finding) -> Finding:
    if not finding.needs:
        return finding
    return dataclasses.replace(finding, verdict="missing")


def report(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield a line for each fault, one for all that a module skips for one reason, and the share."""
    findings = list(findings)
    for finding in findings:
        if finding.verdict in ("missing", "incompatible"):
            yield f"{finding.verdict:<13} {finding.where}" + (f": {finding.why}" if finding.why else "")
    skipped = Counter((found.where.partition(":")[0], found.why) for found in findings if found.verdict == "skipped")
    for (module, why), number in skipped.items():
        yield f"skipped       {module}: {number} because {why}"
    yield share(findings)


def main(arguments: list[str] | None = None) -> int:
    """Check, print, and return the exit status."""
    parser = argparse.ArgumentParser(description="Check the package against the older engine's surface.")
    parser.add_argument("--only", metavar="PREFIX", default="", help="only what begins so, as cascade.runtime.engine:")
    parser.add_argument("--all-installed", action="store_true", help="a library that is not installed is a fault")
    parser.add_argument("--json", action="store_true", help="print all findings, also of what is there")
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")

    findings = [judge(item) for item in items(read()) if item.where.startswith(chosen.only)]
    if not findings:
        parser.error(f"nothing of the surface begins with {chosen.only}")
    if chosen.all_installed:
        findings = [_without_excuse(finding) for finding in findings]
    if chosen.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    else:
        print(*report(findings), sep="\n")
    return int(any(finding.verdict in ("missing", "incompatible") for finding in findings))


if __name__ == "__main__":
    sys.exit(main())

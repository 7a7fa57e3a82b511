"""Looks for a program on which the tiers and the reference disagree, with new programs each time.

    python ci/search.py 10000
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hypothesis import HealthCheck, given, settings

from tests.differential.test_differential import test_all_tiers_agree_with_the_reference as judged
from tests.strategies import programs


def main(examples: int) -> None:
    """Raises the failure, which hypothesis has made small, if there is one."""
    wanted = settings(
        max_examples=examples,
        deadline=None,
        derandomize=False,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    wanted(given(program=programs)(judged.hypothesis.inner_test))()
    print(f"{examples} drawn programs: all tiers agree with the reference")


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Looks for a program on which the tiers and the reference disagree.

    python ci/fuzz.py --programs 3000 --seed 7
    python ci/on_kernel.py pure ci/fuzz.py --programs 3000 --seed 7

Programs are drawn in portions of 500; portion k of seed S is what ``--seed S+k`` begins with. So a failure, which
hypothesis makes small before it is shown, is found again by the command printed below it, and nothing else is run.
Without ``--seed`` the programs are new each time.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hypothesis import HealthCheck, Phase, given, seed, settings

from cascade import _kernel
from tests.differential.test_differential import test_all_tiers_agree_with_the_reference as judged
from tests.strategies import programs

__all__ = ["main"]

PORTION = 500


def judge(count: int, number: int) -> None:
    """Draw ``count`` programs from a seed and compare all tiers on each.

    Raises:
        BaseException: the first difference, of the smallest program that shows it.
    """
    wanted = settings(
        max_examples=count,
        deadline=None,
        derandomize=False,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(wanted(given(program=programs)(judged.hypothesis.inner_test)))()


def main(arguments: list[str] | None = None) -> int:
    """Judge programs, portion by portion; the exit status is 1 if there is a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=3_000, help="how many to draw")
    parser.add_argument("--seed", type=int, help="of the first portion; drawn if it is not given")
    options = parser.parse_args(arguments)
    if options.programs < 1:
        parser.error("--programs takes a positive number")
    first = random.SystemRandom().randrange(1_000_000_000) if options.seed is None else options.seed
    print(f"{options.programs:,} programs on the {_kernel.kernel_name} kernel, seed {first}", flush=True)
    start, done = time.monotonic(), 0
    while done < options.programs:
        count, number = min(PORTION, options.programs - done), first + done // PORTION
        try:
            judge(count, number)
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt):
                command = "" if _kernel.kernel_name == "compiled" else "ci/on_kernel.py pure "
                print(f"\nagain: python {command}ci/fuzz.py --programs {count} --seed {number}", file=sys.stderr)
            raise
        done += count
        if done % (20 * PORTION) == 0:
            print(f"{done:>9,} programs, {done / (time.monotonic() - start):.0f} a second", flush=True)
    print(f"{done:,} drawn programs, seed {first}: all tiers agree with the reference")
    return 0


if __name__ == "__main__":
    sys.exit(main())

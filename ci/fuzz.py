"""Looks for a program on which the tiers, the kernels and the reference disagree.

    python ci/fuzz.py --programs 3000 --seed 7                         on the kernel that is loaded
    python ci/on_kernel.py pure ci/fuzz.py --programs 3000 --seed 7    on the other
    python ci/fuzz.py --programs 200000 --jobs 2 --kernels both        on both, and compares them

Case k of seed S is case 0 of seed S + k: a failure is found again, alone, by the command printed below it. It is then
made small before it is shown. One case in 24 is a story (``tests.differential.story``), one a storm, the rest are
programs, each judged as it is and in one of many manners (``tests.differential.judge``). Without ``--seed`` the cases
are new each time. With ``--jobs`` portions go to so many processes at a time.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import pickle
import random
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cascade import _kernel
from tests.differential import cases

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
PORTION = 250
#: Seconds after which a case is taken for one that hangs, and the process ends with every stack; None in tests, which
#: have a watch of their own.
_limit: float | None = None


class Difference(Exception):
    """A case that fails; the text says all about it."""


def judge(first: int, count: int) -> list[str]:
    """Judge the cases of so many seeds; return what to compare with another kernel.

    Raises:
        Difference: the first that fails, made small.
    """
    told = []
    for seed in range(first, first + count):
        try:
            with _watched():
                told.append(cases.digest(cases.verdict(cases.of_seed(seed))))
        except Exception as error:
            with _watched(10):
                raise Difference(_report(seed, error)) from None
    return told


@contextmanager
def _watched(times: int = 1) -> Iterator[None]:
    if _limit is None:
        yield
        return
    faulthandler.dump_traceback_later(times * _limit, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _report(seed: int, error: Exception) -> str:
    small = cases.made_small(seed)
    if small is None:
        shown = f"{cases.of_seed(seed)}\n\nIt does not fail when it is judged again."
    else:
        shown, error = f"{small[0]}", small[1]
    lines = "".join(traceback.format_exception(error))
    return f"{shown}\n\n{lines}\nagain: python {_command()} --programs 1 --seed {seed}\n"


def _command() -> str:
    return "ci/fuzz.py" if _kernel.kernel_name == "compiled" else "ci/on_kernel.py pure ci/fuzz.py"


# --------------------------------------------------------------------------------------------------- other processes


class Worker:
    """A process that judges portions on one kernel, and ends with its input."""

    def __init__(self, kernel: str) -> None:
        environment = os.environ | {"CASCADE_PURE": "1" if kernel == "pure" else "0"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        loaded = self._answer()
        if loaded != kernel:
            raise SystemExit(f"Asked for the {kernel} kernel, but {loaded} was loaded.")

    def judge(self, first: int, count: int) -> list[str]:
        """Return what ``judge`` returns there.

        Raises:
            Difference: a case failed, or the process ended.
        """
        assert self._process.stdin is not None
        pickle.dump((first, count), self._process.stdin)
        self._process.stdin.flush()
        answer = self._answer()
        if isinstance(answer, str):
            raise Difference(answer)
        found: list[str] = answer
        return found

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except EOFError:
            raise Difference(f"a process ended with status {self._process.wait()}") from None

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _loaded() -> str:
    return "compiled" if _kernel.kernel_name == "compiled" else "pure"


def serve() -> int:
    """Judge the portions that come in until there are no more."""
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever prints does not answer

    def answer(value: Any) -> None:
        pickle.dump(value, answers)
        answers.flush()

    answer(_loaded())
    while True:
        try:
            first, count = pickle.load(sys.stdin.buffer)
        except EOFError:
            return 0
        try:
            answer(judge(first, count))
        except Difference as difference:
            answer(str(difference))


class Workers:
    """One process a kernel for each thread that asks."""

    def __init__(self, kernels: list[str]) -> None:
        self.kernels = kernels
        self._own = threading.local()
        self._all: list[Worker] = []

    def judge(self, first: int, count: int) -> int:
        """Judge a portion on each kernel, one after the other, and compare; return how many cases there were.

        Raises:
            Difference: within a kernel, or between them.
        """
        if not hasattr(self._own, "workers"):
            self._own.workers = [Worker(kernel) for kernel in self.kernels]
            self._all += self._own.workers
        told = [worker.judge(first, count) for worker in self._own.workers]
        for number, found in enumerate(zip(*told, strict=True)):
            if len(set(found)) > 1:
                seed = first + number
                command = f"again: python ci/fuzz.py --kernels both --programs 1 --seed {seed}\n"
                raise Difference(f"{cases.of_seed(seed)}\n\nThe kernels differ.\n\n{command}")
        return count

    def close(self) -> None:
        """End all processes."""
        for worker in self._all:
            worker.close()


# -------------------------------------------------------------------------------------------------------------- main


def portions(first: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield the seeds that portions begin with, and how many cases each has."""
    for start in range(0, count, PORTION):
        yield first + start, min(PORTION, count - start)


def _search(options: argparse.Namespace, first: int) -> Iterator[int]:
    """Judge all portions; yield how many cases each had."""
    if options.jobs == 1 and options.kernels == "this":
        for start, count in portions(first, options.programs):
            yield len(judge(start, count))
        return
    kernels = ["compiled", "pure"] if options.kernels == "both" else [_loaded()]
    workers = Workers(kernels)
    pool = ThreadPoolExecutor(options.jobs)
    try:
        yield from pool.map(lambda portion: workers.judge(*portion), portions(first, options.programs))
    finally:
        pool.shutdown(cancel_futures=True)
        workers.close()


def main(arguments: list[str] | None = None) -> int:
    """Judge programs, portion by portion; the exit status is 1 if there is a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=3_000, help="how many cases to draw")
    parser.add_argument("--seed", type=int, help="of the first case; drawn if it is not given")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes judge at a time")
    parser.add_argument("--kernels", choices=("this", "both"), default="this", help="compare the kernels too")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        return serve()
    if options.programs < 1 or options.jobs < 1:
        parser.error("--programs and --jobs take a positive number")
    first = random.SystemRandom().randrange(1_000_000_000) if options.seed is None else options.seed
    where = "both kernels" if options.kernels == "both" else f"the {_kernel.kernel_name} kernel"
    print(f"{options.programs:,} programs on {where}, seed {first}", flush=True)
    start, done, shown = time.monotonic(), 0, 0
    try:
        for count in _search(options, first):
            done += count
            if done - shown >= 10_000:
                shown = done
                print(f"{done:>9,} programs, {done / (time.monotonic() - start):.0f} a second", flush=True)
    except Difference as difference:
        print(f"\nAmong the programs of seeds {first} to {first + options.programs - 1}:\n", file=sys.stderr)
        print(difference, file=sys.stderr)
        return 1
    seconds = time.monotonic() - start
    print(f"{done:,} drawn programs, seed {first}, {done / seconds:.0f} a second: all voices agree")
    return 0


if __name__ == "__main__":
    logging.disable()  # what the engine warns of is drawn on purpose
    _limit = 120.0
    sys.exit(main())

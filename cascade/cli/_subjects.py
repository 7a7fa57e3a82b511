"""From the names of workflows in a file to what the gate measures and counts."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cascade.adapters.executors.local import LocalExecutor
from cascade.cli._errors import CommandError
from cascade.cli._interrupts import Interrupts
from cascade.cli._load import load_file, maker, resources_of
from cascade.cli._params import read_params
from cascade.cli._running import cancelled_by_a_task, engine_with
from cascade.spec.resource import ResourceDefinition
from cascade.tools.gate.measuring import calibrate
from cascade.tools.gate.subjects import Subject
from cascade.tools.gate.yardsticks import trampoline

__all__ = ["Workflow", "subject_of", "workflows"]


class Workflow:
    """What stands under a name of a file, run again and again: each time made anew, on an engine of its own.

    What it prints goes to standard error, as standard output is for the gate's own report.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Any],
        params: Mapping[str, Any],
        resources: Sequence[ResourceDefinition[Any]],
        interrupts: Interrupts,
    ) -> None:
        self.name = name
        #: Calls that the last run has made.
        self.calls = 0
        self._make = make
        self._params = dict(params)
        self._resources = resources
        self._interrupts = interrupts

    def run(self, times: int) -> int:
        """Run it so many times, and return that number.

        Raises:
            CommandError: a task has ended the run or the process.
            KeyboardInterrupt: the user has.
            Exception: whatever a task raised.
        """
        try:
            with contextlib.redirect_stdout(sys.stderr):
                asyncio.run(self._evaluate(times))
        except (asyncio.CancelledError, KeyboardInterrupt) as error:
            if self._interrupts.count:
                raise KeyboardInterrupt from error
            raise CommandError(f"{self.name}: {cancelled_by_a_task(error)}") from error
        return times

    async def _evaluate(self, times: int) -> None:
        self._interrupts.watch()
        executor = LocalExecutor()
        try:
            for _ in range(times):
                engine = engine_with(self._resources, executor)
                await engine.run(self._make(), self._params)
            self.calls = max(engine.stats.nodes, 1)
        finally:
            executor.close()

    def calibrate(self) -> tuple[int, float]:
        """Return how many runs a round needs, so that what comes with each round does not count, and seconds a run."""
        self.run(1)  # the first one imports and compiles
        return calibrate(self.run)


def workflows(
    path: str, names: Sequence[str], given: Sequence[tuple[str, str]], interrupts: Interrupts
) -> dict[str, Workflow]:
    """Execute a file and return what stands under these names.

    Raises:
        CommandError: there is no such file, name or parameter, or nothing can be run.
        Exception: whatever the file raised.
    """
    with contextlib.redirect_stdout(sys.stderr):
        module = load_file(path)
        resources = resources_of(module)
        found = {}
        for name in names:
            make = maker(module, path, name)
            found[name] = Workflow(name, make, read_params(given, make()), resources, interrupts)
    return found


def subject_of(workflow: Workflow, runs: int, calls: int | None) -> Subject:
    """Return what the gate measures: calls per second, as many as a run made when it was recorded.

    A run that makes more calls than then is slower for that, as it is for its user.
    """
    units = calls or workflow.calls
    return Subject(
        workflow.name, lambda: units * workflow.run(runs), trampoline, "calls of a run", calls=workflow.calls
    )

"""What a strategy tells the bus and the log about nodes, loops and tasks."""

from __future__ import annotations

import time
from typing import Any

from cascade import _kernel
from cascade.graph._shadows import warns_of_recursion
from cascade.graph.model import Graph, Node
from cascade.runtime._shown import described, preview
from cascade.runtime.events import (
    LoopProgress,
    StaticAnalysisWarning,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskSkipped,
)
from cascade.runtime.strategies._runs import PROGRESS_INTERVAL, Run

__all__ = ["Teller"]

WARNING_TEXT = (
    "Task '{name}' returns a call of itself whose arguments are calls too. Each new structure of such a call is "
    "compiled once and then runs hot; a structure that differs at every step is built and planned at every step."
)

_NODE_EVENTS = (TaskExecutionStarted, TaskExecutionFinished, TaskSkipped)


class Teller:
    """Publishes what happens in the runs of one strategy, if somebody listens."""

    __slots__ = ("_strategy", "_uncached")

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy
        #: Names of tasks whose unused cache policy has been warned of.
        self._uncached: set[str] = set()

    def wants(self, event: type[Any]) -> bool:
        """Whether somebody listens to an event of this class."""
        wants = getattr(self._strategy.bus, "wants", None)
        return wants is None or bool(wants(event))

    def wants_nodes(self) -> bool:
        """Whether somebody listens to what becomes of every node; who only hears of failures is told in any tier."""
        wants = getattr(self._strategy.bus, "wants_successes", self.wants)
        return any(map(wants, _NODE_EVENTS))

    def wants_graph(self) -> bool:
        """Whether somebody who listens to nodes and to warnings about them would get the ids that a graph has."""
        return self.wants(StaticAnalysisWarning) and self.wants_nodes()

    def publish(self, event: type[Any], node: Node, run_id: str, **fields: Any) -> None:
        """Publish an event about a node."""
        if self.wants(event):
            told = event(run_id=run_id, task_id=node.structural_id, task_name=node.name, **fields)
            self._strategy.bus.publish(told)

    def publish_hot(self, event: type[Any], program: Any, op: int, run_id: str, **fields: Any) -> None:
        """Publish an event about an operation of a program."""
        if self.wants(event):
            told = event(run_id=run_id, task_id=hot_id(program, op), task_name=program.tasks[op], **fields)
            self._strategy.bus.publish(told)

    def failed_maps(self, run: Run, frame: Any, error: BaseException) -> None:
        """Publish the start and the end of the maps of hot programs that an item of theirs has failed."""
        for program, op in frame.fans:
            self.publish_hot(TaskExecutionStarted, program, op, run.run_id)
            facts = {"status": "Failed", "duration": 0.0, "error": described(error)}
            self.publish_hot(TaskExecutionFinished, program, op, run.run_id, **facts)

    # ------------------------------------------------------------------------------------------------------- loops

    def progress(self, run: Run, frame: Any, now: float, final: bool = False) -> None:
        """Publish how far a loop is, at most ten times a second.

        Who has just subscribed is told at once; that takes the place of the next time, so that there are no more.
        """
        heard = getattr(self._strategy.bus, "epoch", 0)
        is_new, run.heard = heard != run.heard, heard
        if (now < run.next_progress and not is_new and not final) or not self.wants(LoopProgress):
            return
        run.next_progress = (max(run.next_progress, now) if is_new else now) + PROGRESS_INTERVAL
        steps = run.hot_steps + frame.steps + run.warm + run.cold
        elapsed = now - run.started
        program = frame.last
        self._strategy.bus.publish(
            LoopProgress(
                run_id=run.run_id,
                task_name=program.tasks[-1] if program is not None else "",
                steps=steps,
                nodes=run.hot_nodes + frame.nodes + run.nodes,
                steps_per_second=steps / elapsed if elapsed > 0 else 0.0,
                elapsed=elapsed,
                final=final,
            )
        )

    def end_of_loop(self, run: Run, frame: Any, told: int) -> None:
        """After hot steps: the last progress, and the start and the end of the target, unless it is ``told``."""
        if frame.steps:
            self.progress(run, frame, time.monotonic(), final=True)
        program = frame.last
        if program is None:
            return
        run.target_id = hot_id(program, len(program) - 1)
        self.end_of_target(run, frame, told, run.started)

    def end_of_target(self, run: Run, frame: Any, told: int, started: float) -> None:
        """After hot steps: the start and the end of the last one's target, unless it is ``told``."""
        program = frame.last
        if program is None or not frame.steps or told == frame.steps:
            return
        target = len(program) - 1
        self.publish_hot(TaskExecutionStarted, program, target, run.run_id)
        if self.wants(TaskExecutionFinished):
            duration = time.monotonic() - started
            shown = preview(frame.value, program.tasks[target])
            facts = {"status": "Succeeded", "duration": duration, "result_preview": shown}
            self.publish_hot(TaskExecutionFinished, program, target, run.run_id, **facts)

    # ---------------------------------------------------------------------------------------------------- warnings

    def warn_of_recursion(self, graph: Graph, run_id: str) -> None:
        """Warn once of each task whose calls of itself have calls as arguments."""
        for node in graph.nodes:
            if node.warns_dynamic_recursion and self._is_first_warning(node.name):
                self.publish(StaticAnalysisWarning, node, run_id, **_warning(node.name))

    def warn_of_unseen_recursion(self, frame: Any, program: Any, run_id: str) -> None:
        """Do the same where there is no graph; only then is the expression of the frame put together, which costs."""
        if not self.wants(StaticAnalysisWarning):
            return
        met = set()
        for op, operation in enumerate(frame.expression.operations):
            task = getattr(operation.lazy, "task", None)
            if task is None or task in met:
                continue
            met.add(task)
            if warns_of_recursion(task) and self._is_first_warning(task.name):
                self.publish_hot(StaticAnalysisWarning, program, op, run_id, **_warning(task.name))

    def _is_first_warning(self, name: str) -> bool:
        issued = self._strategy._issued_warnings
        if name in issued:
            return False
        issued.add(name)
        return True

    def warn_of_cache(self, node: Node, value: Any) -> None:
        """Say once that a target which returns a call or a jump is not cached: its value is the next step's to find."""
        if node.cache_policy is None or node.name in self._uncached:
            return
        if _kernel.continuation(value, node.name) is None and not isinstance(value, _kernel.Jump):
            return
        self._uncached.add(node.name)
        import logging  # only needed when something is worth saying

        logging.getLogger("cascade").warning(
            "task %r has a cache policy but returned a %s as the target of its expression: nothing is saved for it; "
            "put with_cache on the call that makes the value",
            node.name,
            "jump" if isinstance(value, _kernel.Jump) else "call",
        )


def _warning(name: str) -> dict[str, str]:
    return {"warning_code": "CS-W001", "message": WARNING_TEXT.format(name=name)}


def hot_id(program: Any, op: int) -> str:
    """Return the id of an operation's node; within one strategy it belongs to the position."""
    template = program.table
    template.number()
    return str(template.id_at(template.node_of[op]))

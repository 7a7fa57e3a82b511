"""The tail-call loop of one evaluation: the kernel says what it needs, the awaiting is here.

    begin(target) --> kernel.run --+--> DONE      the value
          ^                        +--> YIELD     others run; constraints, subscribers and parts are looked at again
          |                        +--> AWAIT     a lone coroutine is driven in this Task
          |                        +--> GROUP     several coroutines run together
          |                        +--> MAPPED    the items of a map are evaluated
          |                        +--> FAILED    retry, or publish and raise
          +------- finish(value) --+--> STEP      known template: hot now, or warm; unknown: cold

A step of full processing asks for the value of each expression that an inner call returned. Until it is there the
evaluation is parked: no coroutine of it exists, and below the top of a run neither frame nor graph, only the values
of its expression, its place in the plan and the results so far. A level of recursion costs about 1 KB.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from cascade import _kernel
from cascade.graph.model import Node
from cascade.runtime import _evaluation
from cascade.runtime._concurrency import run_together
from cascade.runtime.strategies._attempts import Attempts
from cascade.runtime.strategies._build import Built, Packed, build_warm, compile_unseen, unpack
from cascade.runtime.strategies._items import Items
from cascade.runtime.strategies._runs import Run, Scope, StepState, clear
from cascade.runtime.strategies._stages import StageLoop

__all__ = ["Evaluation"]

#: What a step publishes unless it runs hot.

class Evaluation(_evaluation.Evaluation):
    """Computes the final value of an expression: a tail step replaces the one before it."""

    __slots__ = ("attempts", "frame", "lazy", "run", "scope", "signal", "stack", "step", "strategy", "told")

    def __init__(self, strategy: Any, run: Run, scope: Scope, lazy: Any) -> None:
        self.strategy = strategy
        self.run = run
        self.scope = scope
        self.lazy = lazy  # until it begins
        self.told: float | None = None  # when it began, if it is an item of a map whose end somebody hears of
        self.frame: Any = None  # not there while a nested evaluation is parked
        self.signal: int | None = None  # what a frame needs that has begun without this evaluation
        self.attempts: Attempts | None = None  # of the frame, once there was something to await or to retry
        self.step: StageLoop | Packed | None = None  # of full processing, while it waits for an expansion
        self.stack: ExitStack | None = None  # resources that last for the step which waits

    async def advance(self, value: Any = None, error: BaseException | None = None) -> Any:
        """Go on with the value or the error of the expansion that was asked for.

        Returns the final value, or what asks for another expansion.

        Raises:
            Exception: whatever a task raised, unchanged.
        """
        try:
            if self.signal is not None:
                found = await self._go_on(self.signal)
            elif self.step is None:
                lazy, self.lazy = self.lazy, None
                self._begin(lazy)
                del lazy
                found = None
            else:
                resuming, value = self._resume(value, error), None
                found = await resuming
            while found is None:
                found = await self._go_on()
            return found[0]
        except BaseException as failure:
            if self.frame is not None:
                self.strategy.tell.failed_maps(self.run, self.frame, failure)
            try:
                self._tear_down(failure)
            finally:
                self._close(failed=True)
            raise

    def _begin(self, lazy: Any) -> None:
        """Start with an expression, or with the one that replaces it."""
        is_hot = not self.run.through
        self.frame = _kernel.Frame(self.strategy._cycle_cache, self.scope.resources, is_hot and not self.run.in_full)
        if self.scope.top:
            self.run.frame = self.frame
            self.frame.jumps = True
        self.frame.begin(lazy)
        self.frame.hot = is_hot

    def adopt(self, frame: Any, signal: int) -> None:
        """Go on with a frame that has begun and needs something: ``signal`` says what."""
        self.frame, self.signal = frame, signal

    async def _go_on(self, signal: int | None = None) -> tuple[Any] | None:
        """Run until a step needs full processing; return the final value or an expansion to wait for, in a tuple."""
        frame, run = self.frame, self.run
        self.signal = None
        has_rested = False
        while True:
            if signal is None:
                signal = _kernel.run(frame, run.until)
            if signal == _kernel.DONE:
                return self._done()
            if signal == _kernel.YIELD:
                if not has_rested:
                    run.yields += 1
                    await run.turns.next()
                has_rested = False
                self._look_again(run.go_on())
            elif signal == _kernel.STEP:
                waited = run.is_over()
                if waited:
                    self._look_again(await run.breathe())
                return await self._step(waited)
            else:
                suspends = signal != _kernel.AWAIT or frame.started
                if signal == _kernel.AWAIT:
                    await self._attempts().resume()
                elif signal == _kernel.FAILED:
                    await self._attempts().again()
                elif signal == _kernel.MAPPED:
                    await self._attempts().fan_out(Items(self.strategy, run, self.scope))
                else:
                    items = Items(self.strategy, run, self.scope)
                    members = (run.taking_part(self._member(op, items)) for op in frame.group)
                    frame.settle(await run.away(run_together(members)))
                # If the quantum is over, then because others have had their turn; the kernel says YIELD all the same.
                has_rested = suspends and run.is_over()
            signal = None

    def _attempts(self) -> Attempts:
        if self.attempts is None:
            self.attempts = Attempts(self.strategy, self.run, self.frame)
        return self.attempts

    def _done(self) -> tuple[Any]:
        frame = self.frame
        if self.scope.top or self.told is not None:
            told = self.attempts.told if self.attempts is not None else -1
            if self.scope.top:
                self.strategy.tell.end_of_loop(self.run, frame, told)
            else:
                self.strategy.tell.end_of_target(self.run, frame, told, self.told)
        value = frame.value
        self._close()
        return (value,)

    def _look_again(self, now: float) -> None:
        """A control point: what others have changed takes effect."""
        frame, gate = self.frame, self.strategy.gate
        if self.scope.top:
            self.strategy.tell.progress(self.run, frame, now)
        self.run.look_again(gate, now)
        if frame.may_suspend and not gate.allows(frame.program):
            frame.suspend()

    async def _member(self, op: int, items: Items) -> Any:
        """Call one operation of a group, in an asyncio Task of its own, and return its final value."""
        frame, run = self.frame, self.run
        value = await run.away(Attempts(self.strategy, run, frame).call(op, items))
        asked = self.strategy.expansion(value, frame.name_of(op), str(op), run, self.scope)
        if asked is not None:
            del value  # an expression is let go of with its first step
            value = await asked
        run.nodes += 1  # also if another one fails, and the kernel never hears of this one
        return value

    # ------------------------------------------------------------------------------------------- one step, by tier

    async def _step(self, waited: bool) -> tuple[Any] | None:
        """Take the step that waits: hot if its program may run now, else through full processing."""
        strategy, run, scope, frame = self.strategy, self.run, self.scope, self.frame
        if not scope.top:
            scope.follow(run.resources)
            frame.resources = scope.resources
        in_full, run.in_full = run.in_full, False
        program, built = self._known(waited), None
        is_new = program is None
        if is_new and scope.through is None and not frame.unkeyed and strategy.gate.is_unseen():
            program = compile_unseen(strategy, frame, run)
            strategy.tell.warn_of_unseen_recursion(frame, program, run.run_id)
        elif is_new:
            built = strategy._build(frame, run)
            program = built.program
            strategy.tell.warn_of_recursion(built.graph, run.run_id)
        if not in_full and self._may_enter(program, is_new):
            frame.steps += not is_new  # also if its resources fail
            if not self._set_up(set(program.requires)):
                self._tear_down(None)
                frame.enter(program)
                return None
            frame.steps -= not is_new
        if built is None:
            built = build_warm(frame.expression, program)
            run.warm += not is_new
        self._set_up(strategy.resource_container.scan(built.graph))
        return await self._process(built)

    def _known(self, waited: bool) -> Any:
        """Return the program of the step that waits; while it did, others may have had the same one built."""
        frame = self.frame
        if frame.program is None and waited and not frame.unkeyed:
            return self.strategy._cycle_cache.get(frame.key)
        return frame.program

    def _may_enter(self, program: Any, is_cold: bool) -> bool:
        frame = self.frame
        if program is None or self.run.through or frame.refused or frame.results:
            return False
        if not self.strategy.gate.allows(program):
            return False
        # A step that has just been built publishes its events; it may be skipped only when nobody would get them.
        return not is_cold or not self.strategy.tell.wants_nodes()

    def _set_up(self, needed: set[str]) -> bool:
        """Set up the resources that are not active; whether one of them lasts for this step only.

        Those of run scope are there for the whole run.
        """
        scope, run, container = self.scope, self.run, self.strategy.resource_container
        missing = needed - scope.resources.keys()
        if not missing:
            return False
        before = set(scope.resources)
        resources = self.frame.resources = scope.own()
        if self.stack is None:
            self.stack = ExitStack()
        container.setup(missing, resources, run.stack, self.stack, run.run_id)
        made = resources.keys() - before
        lasting = {name for name in made if container.scope_of(name) == "run"}
        for name in lasting:
            run.resources.setdefault(name, resources[name])
        return lasting != made

    async def _process(self, built: Built) -> tuple[Any] | None:
        """Full processing of a step; operations that have run hot before keep their results."""
        strategy, run, scope, frame = self.strategy, self.run, self.scope, self.frame
        self._name_nodes(built)
        if scope.top and run.target_id is not None:
            await clear(scope.through)
        state = StepState(run, scope)
        results = frame.results
        if results:
            done = {id(built.nodes[op]) for op in results}
            built.plan = [[node for node in stage if id(node) not in done] for stage in built.plan]
            built.expression = None  # the record of a parked step has no place for this
            for op, value in results.items():
                await state.put_result(built.nodes[op].structural_id, value)
        if strategy.is_replaced:
            given = {} if frame.overrides is None else {"root_input_overrides": frame.overrides}
            value = await strategy._execute_graph(
                *(frame.lazy, run.params, scope.resources, run.run_id, state),
                *(built.graph, built.plan, built.instance_map),
                **given,
            )
            return self._finish(built.target, value)
        loop = StageLoop(strategy, built, state, scope.resources)
        loop.overrides = frame.overrides
        for op, value in results.items():
            await loop.flow.register_result(built.nodes[op].structural_id, value, state)
        return await self._stages(loop)

    def _name_nodes(self, built: Built) -> None:
        """Tell the nodes of this step from those of the evaluations around this one."""
        if built.graph._identity is None:
            return
        path, frame = self.scope.path, self.frame
        if frame is not None and frame.path:  # what a hot call returned: its place stands for a scope
            path = f"{path}/{frame.path:x}"
        built.graph._identity.scope = path

    async def _stages(
        self, loop: StageLoop, value: Any = None, error: BaseException | None = None
    ) -> tuple[Any] | None:
        """Run the stages on; return what they ask for, in a tuple, or finish the step."""
        advancing, value = loop.advance(value, error), None
        asked = await advancing
        if asked is not None:
            self._park(loop)
            return (asked,)
        return self._finish(loop.built.target, await loop.value())

    def _park(self, loop: StageLoop) -> None:
        """Keep of a step that waits no more than it takes to go on."""
        self.step = loop
        if not self.scope.top and self.frame is not None and self.frame.depth > 1:
            return
        packed = None if self.scope.top else loop.packed()
        if packed is not None:
            self.step = packed
            self._close()

    async def _resume(self, value: Any, error: BaseException | None) -> tuple[Any] | None:
        """Go on with the step that was parked."""
        step, self.step = self.step, None
        if type(step) is Packed:
            if error is not None:
                raise error
            built = unpack(step)
            self._name_nodes(built)
            loop = StageLoop(self.strategy, built, StepState(self.run, self.scope), self.scope.resources)
            loop.unpack(step)
            step = loop
        going_on, value = self._stages(step, value, error), None  # type: ignore[arg-type]
        return await going_on

    def _finish(self, target: Node, value: Any) -> tuple[Any] | None:
        """End a step with what its target's function returned; return that if it is the final value."""
        if self.scope.top:
            self.run.target_id = target.structural_id
        if type(value) is _kernel.Task:  # an error, which what the step has set up is to see
            _kernel.continuation(value, target.name)
        self._tear_down(None)
        self.strategy.tell.warn_of_cache(target, value)
        if self.scope.top and self.scope.through is not None and not self.run.through:
            self._forget_if_it_leads_on(target, value)
        if self.frame is not None:
            self.frame.finish(value)
            return None
        following = _kernel.continuation(value, target.name)
        if following is None:
            return (value,)
        self._begin(following)
        return None

    def _forget_if_it_leads_on(self, target: Node, value: Any) -> None:
        """A loop leaves its final result and nothing else, whichever tier its steps are in."""
        if isinstance(value, _kernel.Jump) or _kernel.continuation(value, target.name) is not None:
            self.run.leads_on, self.scope.through = True, None

    # -------------------------------------------------------------------------------------------------- endings

    def _tear_down(self, error: BaseException | None) -> None:
        """End the resources that lasted for one step."""
        stack, self.stack = self.stack, None
        if stack is None:
            return
        if error is None:
            stack.close()
        else:
            stack.__exit__(type(error), error, error.__traceback__)

    def _close(self, failed: bool = False) -> None:
        """Let go of the frame, and count what it has done."""
        frame, run = self.frame, self.run
        if frame is None:
            return
        if self.scope.top:
            if failed and frame.steps:
                self.strategy.tell.progress(run, frame, time.monotonic(), final=True)
            run.frame = None
        self.frame = self.attempts = None
        run.let_go(frame)

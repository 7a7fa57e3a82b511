"""A target with all that it takes to run, draw or preview it: what ``run`` and its kin put together for each call."""

from __future__ import annotations

import asyncio
from typing import Any

from cascade._state_backends import BackendFactory, RedisBackends
from cascade._state_backends import _create_state_backend_factory as _create_state_backend_factory
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.common.messaging.bus import bus
from cascade.common.messaging.protocols import Renderer
from cascade.common.renderers import CliRenderer, JsonRenderer
from cascade.internal.inputs import _internal_gather as _internal_gather
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.runtime.stats import Outcome
from cascade.runtime.subscribers import HumanReadableLogSubscriber, TelemetrySubscriber
from cascade.spec.protocols import Connector
from cascade.tools._targets import gathered

# The older engine had these here, too.
from cascade.tools.events import PlanAnalysisFinished as PlanAnalysisFinished
from cascade.tools.events import PlanAnalysisStarted as PlanAnalysisStarted
from cascade.tools.events import PlanNodeInspected as PlanNodeInspected
from cascade.tools.events import ToolEvent as ToolEvent
from cascade.tools.preview import DryRunConsoleSubscriber as DryRunConsoleSubscriber
from cascade.tools.preview import dry_run
from cascade.tools.visualize import _get_node_shape as _get_node_shape
from cascade.tools.visualize import draw, plain

__all__ = ["CascadeApp"]


class CascadeApp:
    """Runs, draws and previews one target.

    The parts are attributes: ``event_bus`` takes subscribers before a run, ``engine`` takes resources. Whoever makes an
    app changes nothing else in the process; a run sets the renderer of the message bus.

    Args:
        target: what to run; a list or tuple gives the list of values.
        params: values for ``cascade.Param`` by name.
        system_resources: capacity by name, for ``with_constraints``.
        log_level: DEBUG, INFO, WARNING or ERROR: what is told on standard error.
        log_format: ``"json"`` writes one JSON object a line, anything else text.
        connector: brings constraints while the run goes on, and carries its telemetry.
        state_backend: a function from run id to backend, or a ``redis://`` URL; in memory by default.

    Raises:
        ImportError: the library that ``state_backend`` needs is missing.
        ValueError, TypeError: ``state_backend`` is nothing of the above.
    """

    def __init__(
        self,
        target: Any,
        params: dict[str, Any] | None = None,
        system_resources: dict[str, Any] | None = None,
        log_level: str = "INFO",
        log_format: str = "human",
        connector: Connector | None = None,
        state_backend: str | BackendFactory | None = None,
    ) -> None:
        self.raw_target = target
        #: The target as one call; an empty list or tuple as it is.
        self.workflow_target = gathered(target)
        self.params = params
        self.system_resources = system_resources
        self.connector = connector
        self.sb_factory = _create_state_backend_factory(state_backend)
        self.renderer = _renderer(log_level, log_format)
        self.event_bus = MessageBus()
        self.log_subscriber = HumanReadableLogSubscriber(self.event_bus, log_level)
        self.solver = NativeSolver()
        self.executor = LocalExecutor()
        self.engine = Engine(
            solver=self.solver,
            executor=self.executor,
            bus=self.event_bus,
            state_backend_factory=self.sb_factory,
            system_resources=system_resources,
            connector=connector,
        )
        self.telemetry_subscriber: TelemetrySubscriber | None = None
        if connector is not None:
            self.telemetry_subscriber = TelemetrySubscriber(self.event_bus, connector)
            self.engine.add_subscriber(self.telemetry_subscriber)

    def run(self) -> Any:
        """Run the target and return its value; may be called again.

        Raises:
            RuntimeError: an event loop is running in this thread; ``await app.arun()`` there.
            TypeError: the target is nothing that can run.
            Exception: whatever a task raised, unchanged.
        """
        _refuse_running_loop("run", "await cascade.arun(...)")
        return asyncio.run(self.arun())

    async def arun(self) -> Any:
        """Do what :meth:`run` does, inside a running event loop."""
        bus.set_renderer(self.renderer)
        try:
            return await self.engine.run(self.workflow_target, self.params)
        finally:
            self._close()

    def run_outcome(self) -> Outcome[Any]:
        """Run the target, and return how the run ended instead of raising."""
        _refuse_running_loop("run_outcome", "await engine.run_outcome(...)")
        return asyncio.run(self._outcome())

    async def _outcome(self) -> Outcome[Any]:
        bus.set_renderer(self.renderer)
        try:
            return await self.engine.run_outcome(self.workflow_target, self.params)
        finally:
            self._close()

    def _close(self) -> None:
        """Let go of what runs have opened; another run opens it again."""
        self.executor.close()
        if isinstance(self.sb_factory, RedisBackends):
            self.sb_factory.close()

    def visualize(self) -> str:
        """Return the picture of the target as DOT text: of each node label and shape."""
        return draw(self.workflow_target, plain)

    def dry_run(self) -> None:
        """Print the plan of the target; nothing is run."""
        dry_run(self.workflow_target)


def _renderer(log_level: str, log_format: str) -> Renderer:
    if log_format == "json":
        return JsonRenderer(min_level=log_level)
    return CliRenderer(bus.store, min_level=log_level)


def _refuse_running_loop(name: str, there: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        f"cascade.{name}() uses asyncio.run(), which cannot be called from a running event loop; {there} there"
    )

"""The workflow context: which parameters and environment variables a workflow has declared."""

from __future__ import annotations

from contextvars import ContextVar

from cascade.spec.input import InputSpec

__all__ = ["WorkflowContext", "get_current_context"]


class WorkflowContext:
    """The inputs declared so far, by name, in order of declaration."""

    def __init__(self) -> None:
        #: May be cleared by whoever starts a new workflow.
        self.input_specs: dict[str, InputSpec] = {}

    def register(self, spec: InputSpec) -> None:
        """Add a declaration; the first one of a name stays."""
        self.input_specs.setdefault(spec.name, spec)

    def get_all_specs(self) -> list[InputSpec]:
        """Return the declarations in order."""
        return list(self.input_specs.values())


#: Set it to give a thread or a test a context of its own; everybody else shares the default one.
_current_context: ContextVar[WorkflowContext] = ContextVar("cascade_workflow_context", default=WorkflowContext())  # noqa: B039


def get_current_context() -> WorkflowContext:
    """Return the context in force."""
    return _current_context.get()

"""Jinja2 templates, in its sandbox."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NoReturn

from cascade.providers.registry import LazyFactory
from cascade.spec.task import task

try:
    import jinja2
    import jinja2.sandbox
except ImportError:  # said when a template is asked for
    jinja2 = None  # type: ignore[assignment]

__all__ = ["TemplateProvider", "render_template"]


@task(name="template")
def render_template(template_string: str, context: dict[str, Any] | None = None, **kwargs: Any) -> str:
    """Render a Jinja2 template; ``kwargs`` beat ``context``, and undefined names are empty.

    Templates run in Jinja2's sandbox.

    Raises:
        ImportError: jinja2 is not installed.
        jinja2.TemplateError: the template is malformed or fails; ``SecurityError`` if it tries to reach what the
            sandbox keeps from it.
    """
    _need_jinja2()
    text: str = _compiled(template_string).render({**(context or {}), **kwargs})
    return text


@lru_cache(maxsize=256)
def _compiled(template_string: str) -> Any:
    return _environment().from_string(template_string)


@lru_cache(maxsize=1)
def _environment() -> Any:
    class Sandbox(jinja2.sandbox.SandboxedEnvironment):
        """Says so where a template tries to escape; Jinja2's own makes nothing of the attribute at first."""

        def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
            raise jinja2.exceptions.SecurityError(
                f"template: access to attribute {attribute!r} of a value of type {type(obj).__name__!r} is unsafe"
            )

    return Sandbox()


def _need_jinja2() -> None:
    if jinja2 is None:
        raise ImportError("The 'jinja2' library is required for cascade.template: pip install 'cascade-hot[template]'")


class TemplateProvider:
    """``cascade.template``."""

    name = "template"

    def create_factory(self) -> LazyFactory:
        """Return the task.

        Raises:
            ImportError: jinja2 is not installed.
        """
        _need_jinja2()
        return render_template

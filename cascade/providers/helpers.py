"""``cascade.dict`` and ``cascade.format``."""

from __future__ import annotations

import re
from functools import lru_cache
from string import Formatter
from typing import Any

from cascade.providers.registry import LazyFactory, Provider
from cascade.spec.task import task

__all__ = ["DictProvider", "FormatProvider"]

#: A key in brackets, which may be anything; or an attribute whose name begins with an underscore.
_PRIVATE = re.compile(r"\[[^\]]*\]|\.(_\w*)")


@task(name="dict")
def _dict_task(**kwargs: Any) -> dict[str, Any]:
    """Return the keyword arguments as a dict."""
    return kwargs


@task(name="format")
def _format_task(template: str, *args: Any, **kwargs: Any) -> str:
    """Return ``template.format(*args, **kwargs)``.

    Templates may read attributes of the arguments (``{user.name}``), but none that begins with an underscore: by way
    of ``{0.__class__}`` a template from elsewhere could read every global variable, passwords included.

    Raises:
        ValueError: the template is malformed, or names an attribute that begins with an underscore.
        IndexError, KeyError, AttributeError: the arguments lack something that the template names.
    """
    _refuse_private(template)
    return str.format(template, *args, **kwargs)


@lru_cache(maxsize=256)
def _refuse_private(template: str) -> None:
    for _, field, spec, _ in Formatter().parse(template):
        for attribute in _PRIVATE.findall(field or ""):
            if attribute:
                raise ValueError(
                    f"format: {{{field}}} reads {attribute!r}; templates may not read attributes that begin with an "
                    "underscore, so pass the value itself"
                )
        if spec:
            _refuse_private(spec)


class DictProvider(Provider):
    """``cascade.dict``."""

    name = "dict"

    def create_factory(self) -> LazyFactory:
        return _dict_task


class FormatProvider(Provider):
    """``cascade.format``."""

    name = "format"

    def create_factory(self) -> LazyFactory:
        return _format_task

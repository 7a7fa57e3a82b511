"""Ready-made tasks, found by name: ``cascade.shell``, ``cascade.http.get`` and whatever other distributions bring.

A distribution brings a provider by an entry point in the group ``cascade.providers``: a class without constructor
arguments that has a ``name`` and ``create_factory()``.
"""

from __future__ import annotations

from cascade.providers.registry import LazyFactory, Provider, registry

__all__ = ["LazyFactory", "Provider", "registry"]

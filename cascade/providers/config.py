"""Configuration: ``cascade.load_yaml`` reads a document, ``cascade.lookup`` finds a value in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cascade.providers._threads import look
from cascade.providers.registry import LazyFactory, Provider
from cascade.spec.task import task

try:
    import yaml
except ImportError:  # said when a document is loaded
    yaml = None

__all__ = ["LookupProvider", "YamlLoaderProvider"]


@task(name="load_yaml")
async def _read_yaml_task(path: str) -> Any:
    """Return the document of a YAML file, read with the safe loader; a file called ``*.json`` is read as JSON.

    Raises:
        OSError: the file cannot be read.
        ValueError, yaml.YAMLError: it holds no such document.
        ImportError: PyYAML is not installed.
    """
    return await look(_read, Path(path))


def _read(path: Path) -> Any:
    if path.suffix.lower() == ".json":  # nearly all JSON is YAML, but not with tabs, and 1e3 is a text there
        return json.loads(path.read_bytes())
    if yaml is None:
        raise ImportError("The 'PyYAML' library is required for cascade.load_yaml: pip install 'cascade-hot[yaml]'")
    with path.open("rb") as file:
        return yaml.safe_load(file)


@task(name="lookup")
def _lookup_task(source: Any, key: str) -> Any:
    """Return the value at a dotted key, such as ``servers.0.port``; list indices are numbers.

    Raises:
        KeyError: a segment is not a key of its dict or an index of its list.
        TypeError: the key is no text, or a segment stands below a value that is neither.
    """
    if not isinstance(key, str):
        raise TypeError(f"lookup takes a dotted key, such as 'servers.0.port', not {type(key).__name__}: {key!r}")
    value = source
    for segment in key.split("."):
        value = _item(value, segment, key)
    return value


def _item(container: Any, segment: str, key: str) -> Any:
    if isinstance(container, Mapping):
        if segment in container:
            return container[segment]
        raise KeyError(f"lookup of '{key}': segment '{segment}' not found")
    if isinstance(container, (list, tuple)):
        try:
            return container[int(segment)]
        except (ValueError, IndexError):
            raise KeyError(
                f"lookup of '{key}': segment '{segment}' is not a valid list index ({len(container)} items)"
            ) from None
    raise TypeError(
        f"lookup of '{key}': segment '{segment}' stands below a non-container type, {type(container).__name__}"
    )


class YamlLoaderProvider(Provider):
    """``cascade.load_yaml``."""

    name = "load_yaml"

    def create_factory(self) -> LazyFactory:
        return _read_yaml_task


class LookupProvider(Provider):
    """``cascade.lookup``."""

    name = "lookup"

    def create_factory(self) -> LazyFactory:
        return _lookup_task

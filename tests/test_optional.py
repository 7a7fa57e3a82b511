"""Optional libraries: nothing is imported for nothing, and a module whose library is missing can be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import cascade

#: Modules that have an optional library as an attribute, by which tests of users take it away.
ATTRIBUTES = [
    ("cascade.adapters.cache.redis", "redis"),
    ("cascade.adapters.state.redis", "redis"),
    ("cascade.adapters.solvers.csp", "constraint"),
    ("cascade.connectors.mqtt.connector", "aiomqtt"),
    ("cascade.providers.config", "yaml"),
    ("cascade.providers.http", "aiohttp"),
    ("cascade.providers.s3", "aiobotocore"),
    ("cascade.providers.sql", "sqlalchemy"),
    ("cascade.providers.template", "jinja2"),
    ("cascade.tools.cli", "typer"),
]

#: Importing one of these raises ImportError in the program below, as if it was not installed.
ABSENT = """
import importlib, json, sys
pairs = json.loads(sys.argv[1])
for _, library in pairs:
    sys.modules[library] = None
found = {}
for module, library in pairs:
    try:
        found[module] = repr(getattr(importlib.import_module(module), library, "no attribute"))
    except Exception as error:
        found[module] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


@pytest.mark.parametrize("module, library", ATTRIBUTES, ids=[module for module, _ in ATTRIBUTES])
def test_a_library_is_an_attribute_of_the_module_that_needs_it(module: str, library: str) -> None:
    """It may be replaced there, by a mock or by None."""
    assert library in dir(import_module(module))


def test_without_a_library_the_attribute_is_none() -> None:
    """Every such module can be imported where none of the libraries is installed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(cascade.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", ABSENT, json.dumps(ATTRIBUTES)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {module: "None" for module, _ in ATTRIBUTES}


def test_an_unknown_name_is_no_attribute() -> None:
    """What neither the package nor a provider has is an ordinary AttributeError with Python's own text."""
    with pytest.raises(AttributeError, match=r"^module 'cascade' has no attribute 'nothing_of_that_name'$"):
        cascade.nothing_of_that_name  # noqa: B018

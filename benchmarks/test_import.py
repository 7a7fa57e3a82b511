"""How long does ``import cascade`` take, beside the standard modules that nobody can do without?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = {
    "cascade": "import cascade",
    "standard modules": "import asyncio, inspect, dataclasses, typing",
    "nothing": "pass",
}


@pytest.mark.benchmark(group="import")
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_import(benchmark: Any, program: str) -> None:
    """A new interpreter runs one line."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run() -> int:
        return subprocess.run([sys.executable, "-c", program], env=environment, check=True).returncode

    assert benchmark(run) == 0

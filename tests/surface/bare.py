"""What somebody sees who uses a feature without having its library: one clear line that says how to get it.

    python tests/surface/bare.py [--block]

Uses every provider, backend, connector, solver and command that needs an optional library, where none is installed; and
sees that ``import cascade`` loads nothing but what it needs. With ``--block``, libraries that are installed cannot be
imported. Prints what is wrong, and a last line; exit status 1 if something is.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))  # last, so that an installed package is the one that is used

from tests.surface.check import read
from tests.surface.items import lacking

__all__ = ["COMMANDS", "EXTRAS", "features", "line_faults", "main", "names_faults", "use_faults"]

#: Optional libraries as they are imported: what they are called, and the extra that has them.
EXTRAS = {
    "aiobotocore": ("aiobotocore", "s3"),
    "aiohttp": ("aiohttp", "http"),
    "aiomqtt": ("aiomqtt", "mqtt"),
    "constraint": ("python-constraint", "csp"),
    "jinja2": ("jinja2", "template"),
    "matplotlib": ("matplotlib", "plot"),
    "msgspec": ("msgspec", "msgpack"),
    "redis": ("redis", "redis"),
    "rich": ("rich", "cli"),
    "sqlalchemy": ("sqlalchemy", "sql"),
    "typer": ("typer", "cli"),
    "yaml": ("PyYAML", "yaml"),
}
#: Command lines, each with the library that it lacks first.
COMMANDS = {
    "cs-controller pause": "typer",
    "cs-controller resume": "typer",
    "cs-controller set-limit --scope global --concurrency 1": "typer",
    "cs-observer status": "typer",
    "cs-observer watch": "typer",
    "cascade control pause": "aiomqtt",
    "cascade control resume": "aiomqtt",
    "cascade control set-limit --scope global --rate 5/s": "aiomqtt",
    "cascade gate workflow.py --picture bars.png": "matplotlib",
    "cascade status": "rich",
    "cascade watch": "rich",
}
_PLACE = dict.fromkeys(
    ("python", "implementation", "kernel", "machine", "system", "processor", "clock", "build"), "unknown"
)
_TIME = {"main": {"value": 0.001, "tolerance": 0.5, "calls": 1}}
_BASELINE = {"format": 2, "reason": "first", "recorded": _PLACE, "time": _TIME, "instructions": {}}
#: What the commands find where they run.
_FILES = {
    "workflow.py": "import cascade as cs\n\n@cs.task\ndef one():\n    return 1\n\nmain = one()\n",
    "workflow.gate.json": json.dumps(_BASELINE),
}
#: What the parameters of providers are given.
_ARGUMENTS = {"url": "http://localhost:9/", "db": "sqlite://", "query": "select 1", "kwargs": None}


# ------------------------------------------------------------------------------------------------------------ features


def features() -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Yield what needs a library: its name, the library, and how it is used."""
    cs: Any = import_module("cascade")
    for name, entry in read()["providers"].items():
        if "requires" in entry:
            yield f"cascade.{name}", entry["requires"][0], functools.partial(_run_provider, name, entry)
    yield "state_backend='redis://...'", "redis", lambda: cs.run(_target(), state_backend="redis://localhost")
    yield (
        "RedisStateBackend",
        "redis",
        lambda: _made("cascade.adapters.state.redis", "RedisStateBackend", "r", object()),
    )
    yield "RedisCacheBackend", "redis", lambda: _made("cascade.adapters.cache.redis", "RedisCacheBackend", object())
    yield "MsgpackSerializer", "msgspec", lambda: _made("cascade.adapters.serializers", "MsgpackSerializer")
    yield "IpfsCacheBackend", "aiohttp", lambda: _made("cascade.providers.ipfs.cache", "IpfsCacheBackend", object())
    yield "CSPSolver", "constraint", lambda: _made("cascade.adapters.solvers.csp", "CSPSolver", {})
    yield "MqttConnector", "aiomqtt", lambda: _made("cascade.connectors.mqtt", "MqttConnector", "localhost")
    yield "RichCliRenderer", "rich", lambda: _made("cascade.cli.observer.rendering", "RichCliRenderer", None)
    yield "create_cli", "typer", lambda: cs.create_cli(_target())
    yield "examples.patterns.llm_openai", "jinja2", lambda: import_module("cascade.examples.patterns.llm_openai")


def _made(module: str, name: str, *arguments: Any) -> Any:
    return getattr(import_module(module), name)(*arguments)


def _target() -> Any:
    cs: Any = import_module("cascade")
    return cs.task(lambda: 1, name="one")()


def _run_provider(name: str, entry: dict[str, Any]) -> None:
    cs: Any = import_module("cascade")
    needed = [want["name"] for want in entry["params"] if "default" not in want and want["kind"] != "VAR_KEYWORD"]
    factory = functools.reduce(getattr, name.split("."), cs)
    cs.run(factory(**{name: _ARGUMENTS.get(name, "x") for name in needed}))


def use_faults(library: str, use: Callable[[], Any]) -> Iterator[str]:
    """Use a feature, and yield what is wrong with the error."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # where runs tell of their failure
            use()
    except ImportError as error:
        yield from line_faults(library, str(error))
    except Exception as error:
        yield f"raises {type(error).__name__}, not ImportError: {error}"
    else:
        yield "raises nothing"


def line_faults(library: str, text: str) -> Iterator[str]:
    """Yield what a text lacks that should name a library and how to install it, on one line."""
    name, extra = EXTRAS[library]
    remedy = f"pip install 'cascade-hot[{extra}]'"
    if len(text.strip().splitlines()) != 1:
        yield f"says more or less than one line: {text!r}"
    elif name not in text.replace(remedy, ""):
        yield f"does not name {name}: {text.strip()}"
    elif remedy not in text:
        yield f"does not say {remedy}: {text.strip()}"


# ------------------------------------------------------------------------------------------------- commands and imports


def _python(program: str, *arguments: str, block: bool) -> subprocess.CompletedProcess[str]:
    """Run a program in a directory of its own, which is also the user's home: nothing there has been set by anybody."""
    if block:
        program = f"import sys\nsys.modules.update(dict.fromkeys({sorted(EXTRAS)}))\n{program}"
    package = str(Path(str(import_module("cascade").__file__)).parents[1])
    with tempfile.TemporaryDirectory() as home:
        for name, text in _FILES.items():
            Path(home, name).write_text(text, encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=home,
            env={**os.environ, "HOME": home, "USERPROFILE": home, "PYTHONPATH": package},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def command_faults(line: str, library: str, *, block: bool) -> Iterator[str]:
    """Run a command, and yield what is wrong with what it says."""
    name, *arguments = line.split()
    program = (
        "import sys\nfrom importlib.metadata import distribution\n"
        f"sys.argv[0] = {name!r}\n[found] = distribution('cascade-hot').entry_points.select(name={name!r})\n"
        "sys.exit(found.load()())"
    )
    done = _python(program, *arguments, block=block)
    if done.returncode in (0, 130):
        yield f"ends with {done.returncode}"
    if done.stdout:
        yield f"prints {done.stdout!r}"
    yield from line_faults(library, done.stderr)


def names_faults() -> Iterator[str]:
    """Yield what ``import cascade`` loads and should not, whether it is installed or not."""
    done = _python("import cascade, sys\nprint(*sys.modules)", block=False)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    if "cascade" not in loaded:
        yield f"failed: {done.stderr}"
    yield from (f"loads {name}" for name in sorted(loaded & {*EXTRAS, "numpy"}))


def main(arguments: list[str] | None = None) -> int:
    """Use everything, print, and return the exit status."""
    parser = argparse.ArgumentParser(description="Use every feature that needs a library without having it.")
    parser.add_argument("--block", action="store_true", help="let no optional library be imported")
    block = parser.parse_args(arguments).block
    if block:
        sys.modules.update(dict.fromkeys(EXTRAS))  # type: ignore[arg-type]
    there = [library for library in EXTRAS if not lacking([library])]
    if there:
        parser.error(f"installed: {', '.join(there)}; use an environment without extras, or --block")

    faults = {"import cascade": list(names_faults())}
    faults |= {name: list(use_faults(library, use)) for name, library, use in features()}
    faults |= {line: list(command_faults(line, library, block=block)) for line, library in COMMANDS.items()}
    for name, found in faults.items():
        for fault in found:
            print(f"{name}: {fault}")
    print(f"without extras: {sum(not found for found in faults.values())} of {len(faults)} as they should be")
    return int(any(faults.values()))


if __name__ == "__main__":
    sys.exit(main())

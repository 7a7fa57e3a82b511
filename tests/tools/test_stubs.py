"""Stubs for the providers of other distributions: what they say, and what type checkers make of them."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Protocol, TypeVar

import pytest

import cascade as cs
from cascade.providers.registry import ProviderRegistry
from cascade.tools.stubs import main, stubs, write_stubs

ROOT = Path(cs.__file__).parents[1]
T = TypeVar("T")

PLUGIN = '''
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cascade as cs


@dataclass
class Row:
    key: str


@cs.task
async def query(text: str, limit: int | None = None, *, db: object = cs.inject("db")) -> list[Row]:
    return [Row(text)]


def ping(hosts: Sequence[str] = ("localhost",)) -> cs.LazyResult[dict[str, float]]:
    raise NotImplementedError


def provider(called, factory):
    class Made:
        name = called

        def create_factory(self):
            return factory

    return Made


Query = provider("acme.db.query", query)
Ping = provider("acme.ping", ping)
Soap = provider("http.soap", ping)
'''

USER = """
from typing import Any, assert_type
import acme
import cascade as cs

assert_type(cs.acme.db.query("x", limit=3), cs.LazyResult[list[acme.Row]])
assert_type(cs.acme.db.query(cs.shell("ls")), cs.LazyResult[list[acme.Row]])
assert_type(cs.acme.ping(["a"]), cs.LazyResult[dict[str, float]])
assert_type(cs.http.soap(), cs.LazyResult[dict[str, float]])
assert_type(cs.read.text("path"), cs.LazyResult[str])
assert_type(cs.io.local.exists("path"), cs.LazyResult[bool])
assert_type(cs.run(cs.acme.ping()), dict[str, float])
mapped: Any = cs.acme.db.query.map(text=["a", "b"])
from cascade.runtime.engine import Engine
from cascade.read import text
text("path")
assert_type(cs.Engine, type[Engine])
cs.acme.db.query(1)  # type: ignore[arg-type]
cs.acme.nothing()  # type: ignore[attr-defined]
"""


def declared(factory: Any, name: str = "acme") -> str:
    """Returns what the stub says of one provider."""
    registry = ProviderRegistry()
    registry.register(name, factory)
    path = "/".join(["cascade", *name.split(".")[:-1], "__init__.pyi"])
    return stubs(registry)[path].splitlines()[-1]


def test_nothing_to_write_for_the_package_itself() -> None:
    """The package comes with stubs of its own providers."""
    assert stubs(ProviderRegistry()) == {}


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (str, "_builtins.str"),
        (None, "None"),
        (Optional[int], "_builtins.int | None"),  # noqa: UP045 - as users write it
        (int | list[str], "_builtins.int | _builtins.list[_builtins.str]"),
        (tuple[int, ...], "_builtins.tuple[_builtins.int, ...]"),
        (Literal["a", 1], "_typing.Literal['a', 1]"),
        (Annotated[int, "seconds"], "_builtins.int"),
        (Path, "_pathlib.Path"),
        (T, "_typing.Any"),
        (Any, "_typing.Any"),
        ("NoSuchName", "_typing.Any"),
    ],
)
def test_types_are_written_in_full(hint: Any, text: str) -> None:
    """A result has its type; what cannot be named in a stub is Any."""

    def function() -> Any: ...

    function.__annotations__["return"] = hint

    assert declared(cs.task(function)) == f"def acme() -> _LazyResult[{text}]: ..."


def test_classes_that_cannot_be_imported_are_any() -> None:
    """A class of a function's own is of no use to a type checker."""

    class Local(Protocol): ...

    def function() -> Any: ...

    function.__annotations__["return"] = Local

    assert declared(cs.task(function)) == "def acme() -> _LazyResult[_typing.Any]: ..."


def test_arguments_may_be_lazy_and_injected_ones_are_left_out() -> None:
    """Kinds and plain defaults are kept."""

    def function(  # type: ignore[no-untyped-def]
        a: int, /, b: str = "x", *rest: int, c: object = object(), d=None, db: Any = cs.inject("db"), **more: bool
    ) -> None: ...

    lazy = "_LazyResult[_typing.Any]"

    assert declared(cs.task(function)) == (
        f"def acme(a: _builtins.int | {lazy}, /, b: _builtins.str | {lazy} = 'x', *rest: _builtins.int | {lazy}, "
        f"c: _builtins.object | {lazy} = ..., d: _typing.Any = None, **more: _builtins.bool | {lazy}) "
        "-> _LazyResult[None]: ..."
    )


def test_callables_that_do_not_tell_take_anything() -> None:
    """A factory without a signature is declared with what every call fits."""

    class Silent:
        __signature__ = "none"

        def __call__(self) -> Any: ...

    anything = "def acme(*args: _typing.Any, **kwargs: _typing.Any) -> _LazyResult[_typing.Any]: ..."

    assert declared(Silent()) == anything


def test_provider_without_its_library_takes_anything() -> None:
    """A stub is written although the factory cannot be made here."""

    def fail() -> Any:
        raise ImportError("needs lib")

    registry = ProviderRegistry()
    registry.names()
    registry._pending["acme"] = fail

    assert stubs(registry)["cascade/__init__.pyi"].endswith(
        "def acme(*args: _typing.Any, **kwargs: _typing.Any) -> _LazyResult[_typing.Any]: ...\n"
    )


def test_names_that_are_no_attributes_are_left_out() -> None:
    """What cannot be written behind a dot, or stands below another provider, is not declared."""
    registry = ProviderRegistry()
    for name in ("my-plugin.x", "class", "acme", "acme.below", "a..b"):
        registry.register(name, cs.wait)
    text = stubs(registry)["cascade/__init__.pyi"]

    assert text.count(" _LazyResult[None]: ...") == 1
    assert "def acme(" in text


def test_files_are_whole_and_stand_for_those_of_the_package(tmp_path: Path) -> None:
    """Each namespace gets a file; one that the package has too keeps all that is in it."""
    registry = ProviderRegistry()
    registry.register("http.soap", cs.wait)
    registry.register("acme.db.query", cs.wait)
    written = write_stubs(tmp_path, registry)
    texts = {str(path.relative_to(tmp_path)): path.read_text(encoding="utf-8") for path in written}

    own = {str(path.relative_to(ROOT)) for path in (ROOT / "cascade").rglob("__init__.pyi")}
    for text in texts.values():
        ast.parse(text)

    assert set(texts) == own | {"cascade/acme/__init__.pyi", "cascade/acme/db/__init__.pyi"}
    for name in own:
        assert texts[name].startswith((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture
def plugin(tmp_path: Path) -> dict[str, str]:
    """Installs a distribution in a folder and returns an environment that finds it."""
    site = tmp_path / "site"
    info = site / "acme_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "acme.py").write_text(PLUGIN, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-plugin\nVersion: 1.0\n", encoding="utf-8")
    entries = "query = acme:Query\nping = acme:Ping\nsoap = acme:Soap\n"
    (info / "entry_points.txt").write_text(f"[cascade.providers]\n{entries}", encoding="utf-8")
    paths = {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    return {**os.environ, **paths, "MYPYPATH": os.pathsep.join(["typings", str(site), str(ROOT)])}


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_know_the_providers_of_a_plugin(checker: str, plugin: dict[str, str], tmp_path: Path) -> None:
    """After the command, a program that uses a plugin is checked as if its providers came with the package."""
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    command = [sys.executable, "-m", "cascade.tools.stubs"]
    subprocess.run(command, cwd=tmp_path, env=plugin, check=True, capture_output=True)
    (tmp_path / "user.py").write_text(USER, encoding="utf-8")
    settings = {"include": ["user.py"], "extraPaths": ["site", ROOT.as_posix()]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    mypy = ["--strict", "--follow-imports=silent", "--config-file=", "user.py"]
    arguments = mypy if checker == "mypy" else ["--pythonpath", sys.executable, "--project", str(tmp_path)]
    environment = {**plugin, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", checker, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_command_says_what_it_wrote(plugin: dict[str, str], tmp_path: Path) -> None:
    """It prints one path for each file, below the folder that is asked for."""
    command = [sys.executable, "-m", "cascade.tools.stubs", "elsewhere"]
    done = subprocess.run(command, cwd=tmp_path, env=plugin, check=True, capture_output=True, text=True)

    assert done.stdout.splitlines()[0] == str(Path("elsewhere/cascade/__init__.pyi"))
    assert all((tmp_path / line).is_file() for line in done.stdout.splitlines())


def test_command_without_plugins_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and that is no error."""
    monkeypatch.setattr("cascade.tools.stubs.write_stubs", lambda folder: write_stubs(folder, ProviderRegistry()))

    assert main([str(tmp_path)]) == 0
    assert "nothing to write" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

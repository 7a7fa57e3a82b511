"""Looking providers up: entry points, names, namespaces, and what is said of broken ones."""

from __future__ import annotations

import copy
import importlib.metadata
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cascade as cs
from cascade.providers import LazyFactory, Provider, registry
from cascade.providers._builtin import BUILTIN
from cascade.providers.registry import ProviderNamespace, ProviderRegistry
from cascade.spec.task import Task
from tests.engines import run

GROUP = "cascade.providers"


@cs.task
def greet(name: str = "you") -> str:
    return f"hello {name}"


class Greeter(Provider):
    """A provider as other distributions bring them."""

    name = "acme.greet"
    made = 0

    def create_factory(self) -> LazyFactory:
        type(self).made += 1
        return greet


def provider(name: object = "acme.greet", make: Callable[[], Any] = lambda: greet) -> type:
    """Returns a provider class that derives from nothing."""
    return type("Made", (), {"name": name, "create_factory": lambda self: make()})


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ProviderRegistry]:
    """Returns a function that makes a registry which finds plugins (name = class) besides our own entry points."""
    module = ModuleType("acme_plugins")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    asked: list[str] = []

    def make(**classes: Any) -> ProviderRegistry:
        vars(module).update(classes)
        entries = [EntryPoint(name, f"{module.__name__}:{name}", GROUP) for name in classes]
        entries += [EntryPoint(name, value, GROUP) for name, value in BUILTIN.items()]

        def entry_points(*, group: str) -> Iterable[EntryPoint]:
            asked.append(group)
            return entries

        monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
        found = ProviderRegistry()
        found.asked = asked  # type: ignore[attr-defined]
        return found

    return make


# ------------------------------------------------------------------------------------------------------------ finding


def test_registry_is_one() -> None:
    """``instance`` returns the registry that the package asks, each time."""
    assert ProviderRegistry.instance() is ProviderRegistry.instance() is registry


def test_entry_points_are_read_once_on_the_first_get(plugins: Any) -> None:
    """Making a registry reads nothing; the first name reads the group, and nothing reads it again."""
    found = plugins(greet=Greeter)
    before = list(found.asked)
    for name in ("wait", "wait", "acme.greet", "shell"):
        found.get(name)

    assert before == []
    assert found.asked == [GROUP]


def test_key_is_the_name_of_the_instance(plugins: Any) -> None:
    """A plugin is found by what its instance is called, not by what its entry point is."""
    found = plugins(hello=Greeter)

    assert found.get("acme.greet") is greet
    with pytest.raises(AttributeError):
        found.get("hello")


def test_name_may_be_set_in_the_constructor(plugins: Any) -> None:
    """It is the instance that is asked for the name."""

    class Late:
        def __init__(self) -> None:
            self.name = "acme.late"

        def create_factory(self) -> LazyFactory:
            return greet

    assert plugins(late=Late).get("acme.late") is greet


def test_factories_are_made_once(plugins: Any) -> None:
    """Asking again gives the factory that is there."""
    found = plugins(greet=Greeter)
    Greeter.made = 0

    assert found.get("acme.greet") is found.get("acme.greet")
    assert Greeter.made == 1


def test_built_in_provider_loads_no_plugin(plugins: Any) -> None:
    """To find a provider of the package, and a namespace of it, the classes of others are not loaded."""
    found = plugins(greet=Greeter)
    Greeter.made = 0
    found.get("wait")
    found.get("read").text  # noqa: B018

    assert Greeter.made == 0
    assert found.get("acme.greet") is greet


def test_each_module_is_loaded_when_it_is_named() -> None:
    """Importing the package, and asking for one provider, loads no other provider's module."""
    program = """
import sys, cascade
print(sorted(n for n in sys.modules if n.startswith("cascade.providers")))
cascade.wait, cascade.read
print(sorted(n for n in sys.modules if n.startswith("cascade.providers.") and not n.rpartition(".")[2].startswith("_")))
"""
    root = Path(cs.__file__).parents[1]
    shown = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True).stdout

    assert shown.splitlines() == ["[]", "['cascade.providers.registry', 'cascade.providers.time']"]


def test_without_entry_points_the_providers_of_the_package_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source tree that was never installed has no metadata, and all of its providers."""
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [])
    found = ProviderRegistry()

    assert found.names() == sorted(BUILTIN)
    assert found.get("wait") is registry.get("wait")


def test_names_are_all_there_are(plugins: Any) -> None:
    """``names`` lists what was registered, what is built in and what plugins bring."""
    found = plugins(greet=Greeter)
    found.register("mine.own", greet)

    assert found.names() == sorted([*BUILTIN, "acme.greet", "mine.own"])


# -------------------------------------------------------------------------------------------------------- registering


def test_registered_factory_is_found() -> None:
    """What a program registers itself is found like any other provider."""
    found = ProviderRegistry()
    found.register("mine.greet", greet)

    assert found.get("mine.greet") is greet
    assert run(found.get("mine").greet("Ada")) == "hello Ada"


@pytest.mark.parametrize("first", [True, False], ids=["before the first get", "after it"])
def test_registering_beats_what_is_built_in(first: bool) -> None:
    """A program may replace a provider, whenever it likes."""
    found = ProviderRegistry()
    if not first:
        found.get("wait")
    found.register("wait", greet)

    assert found.get("wait") is greet


# --------------------------------------------------------------------------------------------------------- namespaces


def test_prefix_gives_a_namespace() -> None:
    """``read`` is a namespace because there is ``read.text``; attributes go on to any depth."""
    namespace = registry.get("read")

    assert isinstance(namespace, ProviderNamespace)
    assert namespace.text is registry.get("read.text")
    assert registry.get("io").local.read_text is namespace.text
    assert repr(namespace) == "<ProviderNamespace cascade.read>"


def test_namespace_lists_what_is_below_it() -> None:
    """``dir`` of a namespace gives the next names only."""
    assert dir(registry.get("io")) == ["local", "s3", "stdin", "stdout"]
    assert dir(registry.get("io").local) == ["exists", "read_bytes", "read_text", "write_bytes", "write_text"]


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        (lambda: registry.get("nothing"), "nothing"),
        (lambda: registry.get("read.nothing"), "read.nothing"),
        (lambda: registry.get("read").nothing, "read.nothing"),
        (lambda: registry.get("io").local.nothing, "io.local.nothing"),
        (lambda: registry.get("rea"), "rea"),
    ],
)
def test_unknown_names_are_attribute_errors(ask: Callable[[], Any], name: str) -> None:
    """The error has the full name; the beginning of a name is no namespace."""
    with pytest.raises(AttributeError, match=f"^Cascade provider '{name}' not found$"):
        ask()


def test_tools_may_ask_a_namespace_for_what_python_has() -> None:
    """Names that begin with an underscore are never looked up, so copying, say, works."""
    import copy

    namespace = copy.copy(registry.get("io"))

    assert namespace.local.read_text is registry.get("read.text")
    assert not hasattr(namespace, "__len__")


# ------------------------------------------------------------------------------------------------------------- broken


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (failing(ValueError("no luck")), "no luck"),
        (failing(ImportError("cannot import name 'x'")), "cannot import name 'x'"),
        (provider(make=failing(ValueError("no factory"))), "no factory"),
        (provider("wait"), "there is a provider 'wait' already"),
    ],
    ids=["constructor", "import", "factory", "taken name"],
)
def test_broken_plugin_is_reported_once(
    plugins: Any, broken: Any, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says which entry point is broken and why; everything else is there, and nothing is said again."""
    found = plugins(broken=broken, sound=provider("sound"))
    for _ in range(2):
        found.names()
        with pytest.raises(AttributeError):
            found.get("broken")
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == 1
    assert lines[0].startswith("Error loading plugin ")
    assert lines[0].endswith(problem)
    assert found.get("sound") is greet
    assert isinstance(found.get("wait"), Task)


def test_entry_point_to_nothing_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An entry point whose own module or class is not there is broken, not one that lacks a library."""
    entries = [EntryPoint("gone", "acme_gone.providers:X", GROUP), EntryPoint("lost", "tests.engines:X", GROUP)]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: entries)
    ProviderRegistry().names()
    lines = capsys.readouterr().out.splitlines()

    assert [line.partition(":")[0] for line in lines] == ["Error loading plugin gone", "Error loading plugin lost"]


@pytest.mark.parametrize(
    "members", [{}, {"name": "x"}, {"create_factory": lambda self: greet}, {"name": 1, "create_factory": len}]
)
def test_class_without_the_members_is_skipped_with_a_warning(
    plugins: Any, members: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """A class that is no provider gives one line that names the entry point."""
    found = plugins(odd=type("Odd", (), members))
    found.names()
    found.names()

    assert found.names() == sorted(BUILTIN)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("Warning: plugin odd ")


def test_missing_library_is_said_at_the_moment_of_use(plugins: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A plugin whose library is not installed is no reason to print; whoever uses it gets the error."""
    missing = ModuleNotFoundError("No module named 'fancylib'", name="fancylib")
    found = plugins(fancy=failing(missing), plain=provider("plain", failing(ImportError("needs otherlib"))))
    found.names()

    assert capsys.readouterr() == ("", "")
    with pytest.raises(ImportError, match="fancylib"):
        found.get("fancy")
    with pytest.raises(ImportError, match="otherlib"):
        found.get("plain")
    assert found.get("wait") is registry.get("wait")


def test_dir_leaves_out_what_cannot_be_had(plugins: Any) -> None:
    """Tools get each attribute that is listed, so what lacks a library is not; ``names`` has it all the same."""
    found = plugins(plain=provider("lacking.one", failing(ImportError("needs lib"))), sound=provider("lacking.two"))

    assert dir(found.get("lacking")) == ["two"]
    assert {"lacking.one", "lacking.two"} <= set(found.names())


def test_provider_is_there_once_its_library_is(plugins: Any) -> None:
    """A failed attempt is not remembered."""
    answers = [failing(ImportError("needs lib")), failing(ImportError("needs lib")), lambda: greet]
    found = plugins(late=provider("late", lambda: answers.pop(0)()))
    with pytest.raises(ImportError):
        found.get("late")

    assert found.get("late") is greet


def test_plugin_may_use_providers_while_it_is_loaded(plugins: Any) -> None:
    """Asking the registry from a constructor neither hangs nor loads anything twice."""
    found: ProviderRegistry

    class Eager(Greeter):
        def __init__(self) -> None:
            self.wait = found.get("wait")
            with pytest.raises(AttributeError):
                found.get("nothing")

    found = plugins(eager=Eager)
    Eager.made = 0

    assert found.get("acme.greet") is greet
    assert Eager.made == 1


def test_registering_beats_what_is_being_made(plugins: Any) -> None:
    """A factory that is registered while the plugin makes its own is the one that stays."""
    found: ProviderRegistry

    def make() -> Any:
        found.register("acme.greet", cs.wait)
        return greet

    found = plugins(greet=provider(make=make))

    assert found.get("acme.greet") is cs.wait


def test_thread_waits_for_plugins_that_another_one_loads(plugins: Any) -> None:
    """While the classes are being loaded nobody is told that there is no such provider."""
    loading, go_on = threading.Event(), threading.Event()
    got: list[Any] = []

    class Slow(Greeter):
        def __init__(self) -> None:
            loading.set()
            go_on.wait()

    found = plugins(slow=Slow)
    threads = [threading.Thread(target=lambda: got.append(found.get("acme.greet"))) for _ in range(2)]
    threads[0].start()
    loading.wait()
    threads[1].start()
    threads[1].join(0.05)  # time enough to give a wrong answer
    go_on.set()
    for thread in threads:
        thread.join()

    assert got == [greet] * 2


def test_threads_find_the_same(plugins: Any) -> None:
    """Threads that ask at once all get the factory, which is made once."""
    found = plugins(greet=Greeter)
    Greeter.made = 0
    start = threading.Barrier(8)
    got: list[Any] = []

    def ask() -> None:
        start.wait()
        got.append(found.get("acme.greet"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert got == [greet] * 8
    assert Greeter.made == 1


def test_namespaces_can_be_copied_and_pickled() -> None:
    """Arguments and closures are; the registry behind them, with its lock, is not."""
    local, http = (registry.get(name) for name in ("io.local", "http"))

    assert copy.deepcopy(local) is local
    assert pickle.loads(pickle.dumps([http])) == [http]
    own = ProviderRegistry()
    own.register("a.b", cs.task(len))
    with pytest.raises(TypeError, match="of a registry of its own"):
        pickle.dumps(own.get("a"))

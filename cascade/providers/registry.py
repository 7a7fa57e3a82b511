"""Where providers are looked up. Their modules are loaded when they are first named, not before.

Asked for a name, the registry answers with the first of these that there is:

1. a factory that is there: registered, or made earlier;
2. a provider of this package: its module is loaded and its factory made;
3. a namespace, if there are names below this one;
4. a provider of another distribution. Only its class knows what it is called, so all of those classes are loaded.
"""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Protocol

from cascade.providers._builtin import BUILTIN
from cascade.spec.protocols import LazyFactory

__all__ = ["LazyFactory", "Provider", "ProviderNamespace", "ProviderRegistry", "registry"]

GROUP = "cascade.providers"


class Provider(Protocol):
    """What an entry point of the group ``cascade.providers`` names: a class without constructor arguments."""

    if TYPE_CHECKING:
        name: str  # Pyright lets no class attribute stand for a property
    else:

        @property
        def name(self) -> str:
            """Where the factory is found below ``cascade``; dots make namespaces."""

    def create_factory(self) -> LazyFactory:
        """Return a task, or a function that returns a lazy result.

        Raises:
            ImportError: a library that the provider needs is missing. Whoever asks for the provider sees this error.
        """
        ...


class ProviderNamespace:
    """The providers whose names begin with ``<prefix>.``, as attributes."""

    __slots__ = ("_prefix", "_registry")

    def __init__(self, registry: ProviderRegistry, prefix: str) -> None:
        self._registry = registry
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._registry.get(f"{self._prefix}.{name}")

    def __dir__(self) -> list[str]:
        return self._registry.below(self._prefix)

    def __repr__(self) -> str:
        return f"<ProviderNamespace cascade.{self._prefix}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies are the namespace itself; pickles name it, as those of functions do.

        Raises:
            TypeError: it is of a registry that a test has made, and nobody could find it.
        """
        if self._registry is not registry:
            raise TypeError(f"cannot copy {self!r}: it is of a registry of its own")
        return _namespace, (self._prefix,)


def _namespace(prefix: str) -> Any:
    return registry.get(prefix)


class ProviderRegistry:
    """Factories of lazy results by name. There is one for all, :data:`registry`; tests may make their own."""

    _instance: ProviderRegistry | None = None

    def __init__(self) -> None:
        #: Factories that are there.
        self._providers: dict[str, LazyFactory] = {}
        #: Makes the factories that nobody has asked for, or that lacked a library when somebody did.
        self._pending: dict[str, Callable[[], LazyFactory]] = {}
        #: Namespaces that somebody has asked for.
        self._namespaces: dict[str, ProviderNamespace] = {}
        #: Entry points of other distributions whose classes have not been loaded.
        self._unloaded: list[EntryPoint] = []
        #: Whether the entry points have been read.
        self._loaded = False
        self._lock = threading.RLock()

    @classmethod
    def instance(cls) -> ProviderRegistry:
        """Return the registry that ``cascade`` asks."""
        if ProviderRegistry._instance is None:
            ProviderRegistry._instance = cls()
        return ProviderRegistry._instance

    def register(self, name: str, factory: LazyFactory) -> None:
        """Set the factory of a name, whatever there was before."""
        self._providers[name] = factory

    def get(self, name: str) -> Any:
        """Return the factory of a name, or the namespace if there are providers below it.

        Raises:
            AttributeError: there is neither.
            ImportError: the provider needs a library that is missing.
        """
        if name not in self._providers and self.knows(name):
            self._make(name)
        if name in self._providers:
            return self._providers[name]
        if name not in self._namespaces:
            if not self._is_listed(name):
                raise AttributeError(f"Cascade provider '{name}' not found")
            self._namespaces[name] = ProviderNamespace(self, name)
        return self._namespaces[name]

    def knows(self, name: str) -> bool:
        """Whether there is a provider of this name or below it."""
        if name in self._providers or name in self._namespaces:  # workflows ask for the same names again and again
            return True
        self._read_entry_points()
        if self._is_listed(name):
            return True
        self._load_others()
        return self._is_listed(name)

    def names(self) -> list[str]:
        """Return the full names of all providers, sorted."""
        self._read_entry_points()
        self._load_others()
        return sorted({*self._providers, *self._pending})

    def below(self, prefix: str = "") -> list[str]:
        """Return what may follow ``<prefix>.`` up to the next dot, sorted.

        Providers that lack a library are left out: tools such as ``help`` get each attribute that ``dir`` lists.
        """
        start = f"{prefix}." if prefix else ""
        parts = {name[len(start) :].partition(".")[0] for name in self.names() if name.startswith(start)}
        return sorted(part for part in parts if self._is_usable(start + part))

    def _is_usable(self, name: str) -> bool:
        try:
            self.get(name)
        except (AttributeError, ImportError):
            return False
        return True

    def _is_listed(self, name: str) -> bool:
        start = f"{name}."
        return any(known == name or known.startswith(start) for known in (*self._providers, *self._pending))

    def _read_entry_points(self) -> None:
        with self._lock:
            if self._loaded:
                return
            own: list[EntryPoint] = []
            for entry in importlib.metadata.entry_points(group=GROUP):
                (own if _is_own(entry) else self._unloaded).append(entry)
            # A source tree that nobody installed has no entry points; its own providers are there all the same.
            for entry in own or _builtin():
                self._pending[entry.name] = _maker(entry)
            self._loaded = True

    def _load_others(self) -> None:
        with self._lock:
            # A class that asks for providers while it is loaded gets what there is so far.
            entries, self._unloaded = self._unloaded, []
            for entry in entries:
                self._load(entry)

    def _load(self, entry: EntryPoint) -> None:
        """Load the class of another distribution and make its factory; report it if it is broken."""
        try:
            provider = entry.load()()
        except Exception as error:
            if _is_missing_library(error, entry):
                self._pending.setdefault(entry.name, _maker(entry))
            else:
                _report(entry.name, error)
            return
        name = getattr(provider, "name", None)
        if not isinstance(name, str) or not callable(getattr(provider, "create_factory", None)):
            _say(f"Warning: plugin {entry.name} is left out: its class is no Provider with a name and create_factory()")
        elif name in self._providers or name in self._pending:
            _report(entry.name, f"there is a provider '{name}' already")
        else:
            self._pending[name] = provider.create_factory
            with suppress(ImportError):  # whoever uses the provider sees it
                self._make(name)

    def _make(self, name: str) -> None:
        """Make the factory of a name if it is pending; one that is broken is reported and left out.

        Raises:
            ImportError: a library is missing; the factory stays pending.
        """
        make = self._pending.get(name)
        if make is None:
            return
        try:
            factory = make()
        except ImportError:
            raise
        except Exception as error:
            _report(name, error)
        else:
            self._providers.setdefault(name, factory)
        self._pending.pop(name, None)


def _is_own(entry: EntryPoint) -> bool:
    """Whether the provider is of this package, where an entry has the name of its provider."""
    value = getattr(entry, "value", None)
    return isinstance(value, str) and value.startswith(f"{__package__}.")


def _builtin() -> list[EntryPoint]:
    return [EntryPoint(name, value, GROUP) for name, value in BUILTIN.items()]


def _maker(entry: EntryPoint) -> Callable[[], LazyFactory]:
    def make() -> LazyFactory:
        provider: Provider = entry.load()()
        return provider.create_factory()

    return make


def _is_missing_library(error: Exception, entry: EntryPoint) -> bool:
    """Whether what could not be found is another package than the provider's own."""
    own = str(getattr(entry, "value", "")).partition(":")[0].partition(".")[0]
    return isinstance(error, ModuleNotFoundError) and (error.name or own).partition(".")[0] != own


def _report(plugin: str, problem: object) -> None:
    _say(f"Error loading plugin {plugin}: {problem}")


def _say(line: str) -> None:
    print(line)  # noqa: T201 - users of the older engine look for it on standard output


#: The registry that ``cascade`` asks.
registry = ProviderRegistry.instance()

"""The kernel in plain Python: lazy results, tracer, programs, hot loop. The readable specification of ``_hot.pyx``.

    expression --trace--> key (integers) + leaves --look up--> program --run--> value or the next expression

A *key* describes an expression without its leaves, one record for each lazy result, dependencies first::

    key      = count record*
    record   = serial head name{nkw} item{npos+nkw} [condition] [n (name amount)*] [n predecessor*] [equal]
    head     = npos | nkw << 20 | flags << 40          DIRECT: all items are leaves and left out
    item     = LEAF | register | LIST n item* | TUPLE n item* | DICT n item* | SHARED k
             | ROUTER n item* | INJECT name | KIND type item
    condition, predecessor = register                  amount = register | LEAF
    equal    = register of an earlier call of the same pure task, which stands for this one too (MERGED)

Counts come before items, so a key can be decoded (``decode``) and two expressions have equal keys exactly if one
program serves both. Cost: trace and run are linear in calls plus the items of containers that are searched.

The kernel does no I/O and no asyncio. ``run(frame, deadline)`` returns what it needs next (see the signals below) and
whoever called it does the awaiting. Nothing here imports from the package; what it needs of it is given to ``install``.
"""

from __future__ import annotations

import array
import inspect
import itertools
import os
import struct
import sys
import time
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

kernel_name = "pure Python"

# What run() says. The frame holds the particulars.
DONE: Final = 0  #: the evaluation has its value: ``frame.value``
YIELD: Final = 1  #: the deadline has passed, or the program on top may not go on as it is; call run() again
AWAIT: Final = 2  #: ``frame.awaitable`` has yielded ``frame.yielded`` (or was not started); then resume() or fail()
GROUP: Final = 3  #: the operations ``frame.group`` may run together; then settle()
STEP: Final = 4  #: the expression ``frame.lazy`` needs full processing; then enter() or finish()
FAILED: Final = 5  #: the operation ``frame.op`` has raised ``frame.error``; again() tries it once more
MAPPED: Final = 6  #: the operation ``frame.op`` is a map whose items are not evaluated here; then resume()

# Items of a key.
LEAF: Final = -1
LIST: Final = -2
TUPLE: Final = -3
DICT: Final = -4
SHARED: Final = -5
ROUTER: Final = -6
INJECT: Final = -7
KIND: Final = -8
ARGUMENT: Final = -9  # only in programs: the argument at this position of the call itself

# Flags of a record.
DIRECT: Final = 1
RETRY: Final = 2
CACHE: Final = 4
CONSTRAINTS: Final = 8
CONDITION: Final = 16
AFTER: Final = 32
JUMP: Final = 64
MAP: Final = 128
CONSTANT_CONDITION: Final = 256
MERGED: Final = 512

_COUNT_BITS: Final = 20
_COUNT_MASK: Final = (1 << _COUNT_BITS) - 1
_FLAG_SHIFT: Final = 2 * _COUNT_BITS

_monotonic = time.monotonic
_serials = itertools.count(1)
_hooks: dict[str, Any] = {}


def install(**hooks: Any) -> None:
    """Hand over what the kernel needs from the layers above.

    ``constraint``: class of with_constraints(); ``describe``, ``equal``, ``flatten``: repr, == and pickling of lazy
    results; ``retry``: function that refuses wrong numbers of retries; ``problem``: function of (kind, details...) that
    makes the error to raise.
    """
    _hooks.update(hooks)


def _problem(kind: str, *details: Any) -> BaseException:
    return cast(BaseException, _hooks["problem"](kind, *details))


# ---------------------------------------------------------------------------------------------------- identities

_uid_counter = itertools.count(1)
_uid_prefix = ""


def _renew_prefix() -> None:
    global _uid_prefix
    text = os.urandom(8).hex()
    _uid_prefix = f"{text[:8]}-{text[8:12]}-{text[12:]}-"


_renew_prefix()
if hasattr(os, "register_at_fork"):  # a child must not repeat its parent's identities
    os.register_at_fork(after_in_child=_renew_prefix)


def _new_uid() -> str:
    number = f"{next(_uid_counter):016x}"
    return f"{_uid_prefix}{number[:4]}-{number[4:]}"


# ------------------------------------------------------------------------------------------------ tasks and values


class Inject:
    """Marks a default or an argument to be replaced by the resource of that name."""

    __slots__ = ("resource_name",)

    def __init__(self, resource_name: str) -> None:
        self.resource_name = resource_name

    def __repr__(self) -> str:
        return f"Inject(resource_name={self.resource_name!r})"


@dataclass
class RetryPolicy:
    """``max_attempts`` retries after the first attempt; seconds of ``delay``, multiplied by ``backoff`` each time."""

    max_attempts: int
    delay: float = 0.0
    backoff: float = 1.0


@dataclass(slots=True)
class Jump:
    """Returned by a target to continue at the route ``target_key`` with ``data`` as its new arguments."""

    target_key: Any
    data: Any = None


@dataclass(slots=True)
class TailCall:
    """Returned by a task to run a blueprint again, or another one when ``target_blueprint_id`` names it."""

    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    target_blueprint_id: str | None = None


class Callee:
    """What a task is at one moment: never changed, replaced as a whole, told apart by a serial that is never reused."""

    __slots__ = ("__weakref__", "_injects", "_parameters", "func", "is_async", "mode", "name", "pure", "serial")

    def __init__(self, func: Callable[..., Any], name: str, pure: bool, mode: str | None, is_async: bool) -> None:
        self.func = func
        self.name = name
        self.pure = pure
        self.mode = mode
        self.is_async = is_async
        self.serial = next(_serials)
        self._injects: tuple[tuple[str, int, str], ...] | None = None
        self._parameters: tuple[str, ...] | None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that may be passed by position and by name, in order."""
        if self._parameters is None:
            self._parameters = _find_parameters(self.func)
        return self._parameters

    @property
    def injects(self) -> tuple[tuple[str, int, str], ...]:
        """Injected parameters as (name, position or -1, resource name); position -2: positional-only."""
        if self._injects is None:
            self._injects = find_injects(self.func)
        return self._injects


def find_injects(func: Callable[..., Any]) -> tuple[tuple[str, int, str], ...]:
    """Return the parameters of ``func`` whose default is an inject marker, see ``Callee.injects``."""
    has_defaults = getattr(func, "__defaults__", None) or getattr(func, "__kwdefaults__", None)
    if not has_defaults and type(func) is types.FunctionType and not hasattr(func, "__wrapped__"):
        return ()
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        return ()
    positions: dict[Any, int] = {inspect.Parameter.KEYWORD_ONLY: -1, inspect.Parameter.POSITIONAL_ONLY: -2}
    return tuple(
        (p.name, positions.get(p.kind, index), p.default.resource_name)
        for index, p in enumerate(parameters)
        if type(p.default) is Inject
    )


def _find_parameters(func: Callable[..., Any]) -> tuple[str, ...]:
    """Return the parameters of ``func``, see ``Callee.parameters``."""
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        return ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name if p.kind == kinds[1] else "" for p in parameters if p.kind in kinds)


def _is_async(func: Any) -> bool:
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(type(func).__call__)


def _check_name(name: Any) -> str:
    """Return a name as a plain text: subclasses of str, such as enumerations, print as they like."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a task is a text, not {name!r}")
    return str.__str__(name)


def _refuse_hidden_injects(func: Any) -> None:
    """Refuse inject markers as defaults of positional-only parameters: nobody can give such a parameter by name."""
    defaults: Any = getattr(func, "__defaults__", None)
    code: Any = getattr(func, "__code__", None)
    count = getattr(code, "co_posonlyargcount", 0)
    if not defaults or type(count) is not int or not count:
        return
    first = code.co_argcount - len(defaults)
    for at in range(first, count):
        if at >= 0 and type(defaults[at - first]) is Inject:
            raise TypeError(
                f"parameter {code.co_varnames[at]!r} of {code.co_name}() is positional-only, so nothing can be "
                "injected into it: put it behind the '/'"
            )


def _check_mode(mode: str | None) -> str | None:
    if mode not in (None, "blocking", "compute"):
        raise ValueError(f"task mode must be None, 'blocking' or 'compute', not {mode!r}")
    return mode


class Task(Generic[P, R]):
    """A function whose calls are lazy.

    Calling a task runs nothing: it returns a :class:`LazyResult`. To type checkers the call has the return type of the
    function, so that tasks can call tasks as functions call functions.

    Raises:
        TypeError: ``func`` cannot be called.
        ValueError: ``mode`` is not None, ``"blocking"`` or ``"compute"``.
    """

    _potential_tco_targets: Any = None

    def __init__(
        self, func: Callable[P, R], name: str | None = None, pure: bool = False, mode: str | None = None
    ) -> None:
        if not callable(func):
            raise TypeError(f"a task needs a function, not {type(func).__name__}")
        for attribute in ("__module__", "__qualname__", "__doc__"):
            if hasattr(func, attribute):
                setattr(self, attribute, getattr(func, attribute))
        self.__wrapped__ = vars(self)["func"] = func
        _refuse_hidden_injects(func)
        shown = _check_name(name or getattr(func, "__name__", None) or type(func).__name__)
        self._callee = Callee(func, shown, bool(pure), _check_mode(mode), _is_async(func))

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, LazyResult(self, args, kwargs))

    def map(self, /, **kwargs: Any) -> Any:
        """Return a lazy list: one call for each index of the given sequences, which must have one length."""
        return MappedLazyResult(self, kwargs)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def __reduce__(self) -> str:
        return cast(str, self.__dict__["__qualname__"])

    def _replace(self, **changes: Any) -> None:
        old = self._callee
        now = {n: getattr(old, n) for n in ("func", "name", "pure", "mode", "is_async")} | changes
        self._callee = Callee(**now)

    @property
    def func(self) -> Callable[..., Any]:
        """The function. Setting it takes effect with the next step.

        It is in the instance's dictionary too, where ``unittest.mock.patch`` looks for what to put back.
        """
        return self._callee.func

    @func.setter
    def func(self, func: Callable[..., Any]) -> None:
        _refuse_hidden_injects(func)
        self.__dict__.pop("_signature_of", None)
        self.__wrapped__ = vars(self)["func"] = func
        self._replace(func=func, is_async=_is_async(func))

    @property
    def name(self) -> str:
        """Name in events and errors."""
        return self._callee.name

    @name.setter
    def name(self, name: str) -> None:
        self._replace(name=_check_name(name))

    @property
    def pure(self) -> bool:
        """Whether equal calls within one expression are one call."""
        return self._callee.pure

    @pure.setter
    def pure(self, pure: bool) -> None:
        self._replace(pure=pure)

    @property
    def mode(self) -> str | None:
        """None: on the event loop's thread; ``"blocking"``: in a thread; ``"compute"``: in a process."""
        return self._callee.mode

    @mode.setter
    def mode(self, mode: str | None) -> None:
        self._replace(mode=_check_mode(mode))

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""
        return self._callee.is_async

    @is_async.setter
    def is_async(self, is_async: bool) -> None:
        self._replace(is_async=is_async)

    @property
    def injects(self) -> tuple[tuple[str, int, str], ...]:
        """Injected parameters, see ``Callee.injects``."""
        return self._callee.injects

    @property
    def _signature(self) -> inspect.Signature | None:
        try:
            return inspect.signature(self._callee.func)
        except (TypeError, ValueError):
            return None


class _Lazy:
    """What both kinds of lazy result share: identity, policies, and the methods that set them."""

    __slots__ = (
        "__weakref__",
        "_cache_policy",
        "_condition",
        "_constraints",
        "_list",
        "_retry_policy",
        "_uid",
    )

    _uid: str | None
    _list: list[Any] | None
    _retry_policy: Any
    _cache_policy: Any
    _condition: Any
    _constraints: Any

    @property
    def _uuid(self) -> str:
        if self._uid is None:
            self._uid = _new_uid()
        return self._uid

    @_uuid.setter
    def _uuid(self, value: str) -> None:
        self._uid = value

    @property
    def _dependencies(self) -> list[Any]:
        if self._list is None:
            self._list = []
        return self._list

    @_dependencies.setter
    def _dependencies(self, value: list[Any]) -> None:
        self._list = value

    def __hash__(self) -> int:
        return hash(self._uuid)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        return bool(_hooks["equal"](self, other))

    def __repr__(self) -> str:
        return cast(str, _hooks["describe"](self))

    def __reduce__(self) -> Any:
        return _hooks["flatten"](self)

    def run_if(self, condition: Any) -> Any:
        """Run this call only if the value of ``condition`` is true; the last call wins."""
        self._condition = condition
        return self

    def with_retry(self, max_attempts: int = 3, delay: float = 0.0, backoff: float = 1.0) -> Any:
        """Retry a failing call up to ``max_attempts`` times, see :class:`RetryPolicy`; the last call wins."""
        _hooks["retry"](self, max_attempts, delay, backoff)
        self._retry_policy = RetryPolicy(max_attempts, delay, backoff)
        return self

    def with_cache(self, policy: Any) -> Any:
        """Ask a cache policy before the call and give it the value after; the last call wins."""
        self._cache_policy = policy
        return self

    def with_constraints(self, **kwargs: Any) -> Any:
        """Hold these amounts of system resources while the function runs; replaces earlier amounts."""
        amounts = {name: continuation(one, name) if type(one) is Router else one for name, one in kwargs.items()}
        self._constraints = _hooks["constraint"](requirements=amounts)
        return self

    def after(self, *predecessors: Any) -> Any:
        """Run this call after ``predecessors`` without taking their values; calls add up."""
        for one in predecessors:
            if type(one) is not LazyResult and type(one) is not MappedLazyResult:
                raise TypeError(f"after() takes lazy results, not {type(one).__name__}: {self!r}")
        self._dependencies.extend(predecessors)
        return self


class LazyResult(_Lazy, Generic[T]):
    """A pending call of a task."""

    __slots__ = ("_jump_selector", "args", "kwargs", "task")

    def __init__(
        self,
        task: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        _uuid: str | None = None,
        _retry_policy: Any = None,
        _cache_policy: Any = None,
        _condition: Any = None,
        _constraints: Any = None,
        _dependencies: list[Any] | None = None,
        _jump_selector: Any = None,
    ) -> None:
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self._uid = _uuid
        self._retry_policy = _retry_policy
        self._cache_policy = _cache_policy
        self._condition = _condition
        self._constraints = _constraints
        self._list = _dependencies
        self._jump_selector = _jump_selector


class MappedLazyResult(_Lazy, Generic[T]):
    """A pending call of a factory for each index of some sequences."""

    __slots__ = ("factory", "mapping_kwargs")

    def __init__(
        self,
        factory: Any,
        mapping_kwargs: dict[str, Any],
        _uuid: str | None = None,
        _condition: Any = None,
        _retry_policy: Any = None,
        _cache_policy: Any = None,
        _constraints: Any = None,
        _dependencies: list[Any] | None = None,
    ) -> None:
        self.factory = factory
        self.mapping_kwargs = mapping_kwargs
        self._uid = _uuid
        self._condition = _condition
        self._retry_policy = _retry_policy
        self._cache_policy = _cache_policy
        self._constraints = _constraints
        self._list = _dependencies


def _as_dataclass(cls: type, names: Sequence[str]) -> None:
    """Let ``dataclasses.fields`` and friends see a class that keeps its attributes in its own way."""
    plain = [n for n in names if n in ("task", "args", "kwargs", "factory", "mapping_kwargs")]
    made = {"_uuid": field(default_factory=_new_uid), "_dependencies": field(default_factory=list)}
    body: dict[str, Any] = {n: made.get(n, field(default=None)) for n in names if n not in plain}
    shape: Any = dataclass(type("Shape", (), {"__annotations__": dict.fromkeys(names, Any), **body}))
    assert [f.name for f in fields(shape)] == list(names)
    for attribute in ("__dataclass_fields__", "__dataclass_params__", "__match_args__"):
        setattr(cls, attribute, getattr(shape, attribute))


_as_dataclass(
    LazyResult,
    (
        *("task", "args", "kwargs", "_uuid", "_retry_policy", "_cache_policy", "_condition", "_constraints"),
        *("_dependencies", "_jump_selector"),
    ),
)
_as_dataclass(
    MappedLazyResult,
    (
        *("factory", "mapping_kwargs", "_uuid", "_condition", "_retry_policy", "_cache_policy", "_constraints"),
        "_dependencies",
    ),
)


@dataclass
class Router:
    """Stands for the value of the route whose key equals the value of ``selector``; only that route runs."""

    selector: Any
    routes: Mapping[Any, Any]


def call_of(lazy: Any) -> tuple[Any, tuple[Any, ...], tuple[str, ...]]:
    """Return (task or factory, positional values followed by keyword values, keyword names) of a lazy result."""
    if type(lazy) is LazyResult:
        return lazy.task, (*lazy.args, *lazy.kwargs.values()), tuple(lazy.kwargs)
    return lazy.factory, tuple(lazy.mapping_kwargs.values()), tuple(lazy.mapping_kwargs)


def _returned(value: Any) -> Any:
    return value


#: Stands for a returned container (or Router): its value is the container with the values in it.
_gather: Task[Any, Any] = Task(_returned, "_internal_gather")


#: Jumps once the calls in its data have their values.
_arrive: Task[Any, Any] = Task(Jump, "_internal_jump")


def _overridden(data: Any, callee: Any, npos: int, keywords: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that the data of a jump gives to a call, by key: ``"0"``, ``"1"`` for positions, or a name.

    A dict names them, anything else is argument ``"0"``. A key that names a parameter in another way than the call does
    means the same parameter; ``callee`` is None for a map, which takes names only.

    Raises:
        TypeError: a key is no text, or counts the arguments of a map.
    """
    given = data if isinstance(data, dict) else {"0": data}
    found: dict[str, Any] = {}
    for key, value in given.items():
        if type(key) is not str or (callee is None and key.isdecimal()):
            raise _problem("override", callee.name if callee is not None else "map", key)
        if callee is not None and key not in keywords:
            names = callee.parameters
            if key.isdecimal():
                position = int(key)
                if npos <= position < len(names) and names[position] in keywords:
                    key = names[position]
            elif key in names and names.index(key) < npos:
                key = str(names.index(key))
        found[key] = value
    return found


def _is_lazy(value: Any) -> bool:
    cls = type(value)
    return cls is LazyResult or cls is MappedLazyResult


def is_marker(value: Any) -> bool:
    """Whether a value stands for another one: a lazy result, a Router or an inject marker."""
    cls = type(value)
    return cls is LazyResult or cls is MappedLazyResult or cls is Router or cls is Inject


def _items_of(container: Any) -> Iterator[Any]:
    return iter(container.values() if isinstance(container, dict) else container)


def holds_markers(container: Any) -> bool:
    """Whether a list, tuple or dict holds a marker at any depth. Data may contain itself."""
    seen = {id(container)}
    stack = [_items_of(container)]
    while stack:
        for item in stack[-1]:
            if is_marker(item):
                return True
            if isinstance(item, (list, tuple, dict)) and id(item) not in seen:
                seen.add(id(item))
                stack.append(_items_of(item))
                break
        else:
            stack.pop()
    return False


def _plain_router(router: Router) -> Router:
    """Return a new Router whose selector is a lazy result and whose routes are lazy results or plain values.

    It stays as it is now, whatever becomes of the user's. Whatever else holds markers (containers, Routers, inject
    markers) becomes a call that returns its value, so that it can be pruned like any other route.
    """
    selector = router.selector
    routes: dict[Any, Any] = {
        key: LazyResult(_gather, (route,), {}) if _is_compound(route) else route
        for key, route in router.routes.items()
    }
    return Router(selector if _is_lazy(selector) else LazyResult(_gather, (selector,), {}), routes)


def _is_compound(value: Any) -> bool:
    """Whether a value holds markers without being a lazy result."""
    cls = type(value)
    return cls is Router or cls is Inject or (isinstance(value, (list, tuple, dict)) and holds_markers(value))


def continuation(value: Any, name: str) -> Any:
    """Return the expression that a value returned by task ``name`` stands for, or None when it is final.

    Raises:
        UncalledTaskError: the value is a task that was not called.
    """
    cls = type(value)
    if cls is LazyResult or cls is MappedLazyResult:
        return value
    if cls is Router or (isinstance(value, (list, tuple, dict)) and holds_markers(value)):
        return LazyResult(_gather, (value,), {})
    if cls is Task:
        raise _problem("returned", name, value)
    return None


# ---------------------------------------------------------------------------------------------------------- trace


@dataclass(slots=True)
class Operation:
    """One lazy result of a traced expression: what to call, with which values, and its policies.

    ``codes`` is None when the values are the arguments as they are. Otherwise it is a program for a stack: a register
    pushes its result, ARGUMENT j one of the values, LEAF k a leaf, INJECT a resource by name; LIST n, TUPLE n and
    DICT n k replace n items by a container (the keys of a dict are the leaves from k on), ROUTER n k by the chosen one
    (leaf k is the Router, the keys of its routes follow), KIND k turns a container into one like leaf k; SHARED k
    pushes the k-th container again. ``constant`` is the leaf that is its condition, where that is no lazy result,
    ``factory`` the one that makes the items of a map.
    """

    callee: Any
    values: tuple[Any, ...]
    retry: Any
    lazy: Any
    keywords: tuple[str, ...]
    codes: tuple[tuple[Any, ...], ...] | None
    flags: int
    condition: int
    amounts: tuple[tuple[str, int], ...]
    after: tuple[int, ...]
    equal: int = -1  # the operation whose result is this one's too
    constant: int = -1
    factory: int = -1


#: Types whose values are compared to find equal calls of pure tasks; others are equal only if they are one object.
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
#: More distinct calls of one pure task in one expression are not compared.
_MERGE_LIMIT: Final = 64


def _same_value(one: Any, other: Any) -> bool | None:
    """Whether two arguments are equal and of one type; None if that would take more than a glance."""
    if one is other:
        return True
    cls = type(one)
    if cls not in _SCALARS and type(other) not in _SCALARS:
        return None
    if cls is not type(other):
        return False
    if cls is float:  # nan is equal to nan here, and 0.0 is not -0.0
        return struct.pack("d", one) == struct.pack("d", other)
    return bool(one == other)


def _same_retry(one: Any, other: Any) -> bool | None:
    if one is other:
        return True
    if type(one) is not RetryPolicy or type(other) is not RetryPolicy:
        return None
    pairs = [(getattr(one, f), getattr(other, f)) for f in ("max_attempts", "delay", "backoff")]
    return _all_same(_same_value(*pair) for pair in pairs)


def _all_same(answers: Iterable[bool | None]) -> bool | None:
    """False as soon as one is, else None if one is unknown."""
    known: bool | None = True
    for answer in answers:
        if answer is False:
            return False
        known = known and answer
    return known


@dataclass(slots=True)
class _Open:
    """A container that is being searched."""

    item: Any
    items: Iterator[Any]
    tokens: int
    leaves: int
    found: bool = False
    looped: bool = False


#: Why an expression has no key.
UNKEYED = "several calls of a pure task may be one call, depending on their values"


class Trace:
    """The key of an expression, and everything of it that is not in the key."""

    __slots__ = ("_pure", "key", "leaves", "names", "operations", "unkeyed", "why")

    def __init__(self, root: Any) -> None:
        self._pure: dict[int, list[int]] = {}  # serial of a pure task -> the operations that are distinct calls of it
        self.key: list[int] = [0]
        self.names: list[Any] = []  # strings and types whose addresses are in the key, in order
        self.operations: list[Operation] = []
        self.leaves: list[Any] = []  # values inside containers that hold lazies, in order
        self.why: list[str] = []  # why this expression cannot be hot
        self.unkeyed: str = ""  # why no plan may be kept for it
        self._walk(root)
        self.key[0] = len(self.operations)

    def _walk(self, root: Any) -> None:
        """Post-order without recursion: a lazy is entered, its dependencies are entered, then its record is written."""
        registers: dict[int, int] = {}
        entered: dict[int, Any] = {}
        routers: dict[int, tuple[Router, Router]] = {}  # what stands for a user's Router in all of the expression
        stack: list[Any] = [root]
        while stack:
            lazy = stack[-1]
            me = id(lazy)
            if me in registers:
                stack.pop()
            elif me in entered:
                stack.pop()
                self._record(lazy, entered.pop(me), registers)
                registers[me] = len(self.operations) - 1
            else:
                entered[me] = parts = _Parts(lazy, routers)
                for one in reversed(parts.lazies()):
                    if id(one) in entered:
                        raise _problem("cycle", [x for x in stack if id(x) in entered], one)
                    if id(one) not in registers:
                        stack.append(one)

    def _record(self, lazy: Any, parts: _Parts, registers: dict[int, int]) -> None:
        """Write the record of a lazy whose dependencies have registers."""
        callee, flags, key = parts.callee, parts.flags, self.key
        if all(item == [LEAF] for item in parts.items):
            flags |= DIRECT
        npos = len(parts.values) - len(parts.names)
        key.append(callee.serial if callee is not None else 0)
        head = len(key)
        key.append(npos | len(parts.names) << _COUNT_BITS | flags << _FLAG_SHIFT)
        for name in parts.names:
            self._address(name)
        first = len(self.leaves)
        if not flags & DIRECT:
            for item in parts.items:
                self._tokens(item, registers)
        self.leaves += parts.leaves
        constant = self._leaf(parts.condition) if flags & CONSTANT_CONDITION else -1
        factory = self._leaf(lazy.factory) if flags & MAP else -1
        codes = None if flags & DIRECT else _postfix(parts.items, first, registers)
        operation = Operation(
            callee=callee,
            values=parts.values,
            retry=lazy._retry_policy,
            lazy=lazy,
            keywords=tuple(parts.names),
            codes=codes,
            flags=flags,
            condition=registers[id(parts.condition)] if flags & CONDITION else -1,
            amounts=tuple((n, registers.get(id(v), LEAF) if _is_lazy(v) else LEAF) for n, v in parts.amounts),
            after=tuple(registers[id(one)] for one in parts.after),
            constant=constant,
            factory=factory,
        )
        self._policies(operation)
        if callee is not None and callee.pure:
            self._merge(callee, operation, registers, head)
        self.why += parts.why
        self.operations.append(operation)

    def _leaf(self, value: Any) -> int:
        self.leaves.append(value)
        return len(self.leaves) - 1

    def _merge(self, callee: Callee, operation: Operation, registers: dict[int, int], head: int) -> None:
        """Note which earlier call of the same pure task this one is equal to."""
        earlier = self._pure.setdefault(callee.serial, [])
        answers = [self._same_call(self.operations[one], operation, registers) for one in earlier]
        if True in answers:
            operation.equal = earlier[answers.index(True)]
            operation.flags |= MERGED
            self.key[head] |= MERGED << _FLAG_SHIFT
            self.key.append(operation.equal)
            return
        if None in answers or len(earlier) >= _MERGE_LIMIT:
            self.unkeyed = UNKEYED
        earlier.append(len(self.operations))

    def _same_call(self, one: Operation, other: Operation, registers: dict[int, int]) -> bool | None:
        """Whether two calls of a task are equal; None if that would take more than a glance."""
        if len(one.values) != len(other.values) or len(one.keywords) != len(other.keywords):
            return False
        if (one.flags ^ other.flags) & ~(DIRECT | MERGED):
            return False
        if one.keywords != other.keywords:
            return None if set(one.keywords) == set(other.keywords) else False
        answers = [self._same_argument(*pair, registers) for pair in zip(one.values, other.values, strict=True)]
        if other.flags & ~(DIRECT | RETRY | MAP):
            answers.append(None)
        return _all_same((*answers, _same_retry(one.retry, other.retry)))

    def _same_argument(self, one: Any, other: Any, registers: dict[int, int]) -> bool | None:
        if _is_lazy(one) and _is_lazy(other):
            return self._class_of(registers[id(one)]) == self._class_of(registers[id(other)])
        return _same_value(one, other)

    def _class_of(self, register: int) -> int:
        equal = self.operations[register].equal
        return register if equal < 0 else equal

    def _policies(self, operation: Operation) -> None:
        key, flags = self.key, operation.flags
        if flags & CONDITION:
            key.append(operation.condition)
        if flags & CONSTRAINTS:
            key.append(len(operation.amounts))
            for name, amount in operation.amounts:
                self._address(name)
                key.append(amount)
        if flags & AFTER:
            key.append(len(operation.after))
            key += operation.after

    def _address(self, owned: Any) -> None:
        if type(owned) is str:
            owned = sys.intern(owned)
        self.names.append(owned)
        self.key.append(id(owned))

    def _tokens(self, item: list[Any], registers: dict[int, int]) -> None:
        for token in item:
            if type(token) is int:
                self.key.append(token)
            elif type(token) is str or isinstance(token, type):
                self._address(token)
            else:
                self.key.append(registers[id(token)])


class _Parts:
    """The arguments and policies of one lazy, searched for other lazies."""

    __slots__ = (
        *("after", "amounts", "callee", "condition", "flags", "items", "leaves", "names", "values", "why"),
        *("_made", "_memo", "_routers"),
    )

    def __init__(self, lazy: Any, routers: dict[int, tuple[Router, Router]]) -> None:
        task, self.values, self.names = call_of(lazy)
        mapped = type(lazy) is MappedLazyResult
        self.callee: Callee | None = task._callee if type(task) is Task else None
        if self.callee is None and not mapped:
            raise _problem("target", lazy)
        self.flags = MAP if mapped else 0
        self.leaves: list[Any] = []
        self.why: list[str] = []
        self._memo: dict[int, Any] = {}
        self._routers = routers
        self._made = 0
        self.items = [self._search(v, index) for index, v in enumerate(self.values)]
        self.condition: Any = None
        self.amounts: list[tuple[str, Any]] = []
        self.after: list[Any] = []
        self._policies(lazy)

    def _policies(self, lazy: Any) -> None:
        if lazy._retry_policy is not None:
            self.flags |= RETRY
        if lazy._cache_policy is not None:
            self._cold(CACHE, "cache")
        if lazy._condition is not None:
            self.condition = lazy._condition
            if type(self.condition) is Router:
                self.condition = LazyResult(_gather, (self.condition,), {})
            elif type(self.condition) is Task:
                raise _problem("passed", (self._name(), "run_if"), self.condition)
            self.flags |= CONDITION if _is_lazy(self.condition) else CONSTANT_CONDITION
        if lazy._constraints:
            self._cold(CONSTRAINTS, "with_constraints")
            self.amounts = list(lazy._constraints.requirements.items())
        if lazy._list:
            self.flags |= AFTER
            self.after = list(lazy._list)
        if getattr(lazy, "_jump_selector", None) is not None:
            self.flags |= JUMP

    def _cold(self, flag: int, why: str) -> None:
        self.flags |= flag
        self.why.append(why)

    def lazies(self) -> list[Any]:
        """The lazies this one depends on, in argument order."""
        lists = [*self.items, [self.condition], [item for _, item in self.amounts], self.after]
        return [token for tokens in lists for token in tokens if _is_lazy(token)]

    def _search(self, value: Any, position: int = -1) -> list[Any]:
        """Return the tokens of a value; leaves inside containers go to ``self.leaves``."""
        cls = type(value)
        if cls is LazyResult or cls is MappedLazyResult:
            return [value]
        if cls is Task and position >= 0:
            raise _problem("passed", self._shown(position), value)
        if cls is Inject:
            return [INJECT, value.resource_name]
        if cls is not Router and not isinstance(value, (list, tuple, dict)):
            return [LEAF]
        return self._search_container(value)

    def _shown(self, position: int) -> tuple[str, str]:
        npos = len(self.values) - len(self.names)
        argument = str(position) if position < npos else self.names[position - npos]
        return (self._name(), argument)

    def _name(self) -> str:
        return self.callee.name if self.callee is not None else "map"

    def _search_container(self, value: Any) -> list[Any]:
        """Depth-first with a memo; a container without lazies shrinks to a leaf again when it has been searched."""
        tokens: list[Any] = []
        stack: list[_Open] = []
        item = value
        while True:
            self._place(item, tokens, stack)
            while stack:
                top = stack[-1]
                try:
                    item = next(top.items)
                    break
                except StopIteration:
                    stack.pop()
                    self._close(top, tokens, stack)
            else:
                if tokens == [LEAF]:
                    self.leaves.pop()  # the argument itself: it is in the call's own values
                return tokens

    def _place(self, item: Any, tokens: list[Any], stack: list[_Open]) -> None:
        cls = type(item)
        if cls is LazyResult or cls is MappedLazyResult:
            tokens.append(item)
            stack[-1].found = True
        elif cls is Inject:
            tokens += [INJECT, item.resource_name]
            stack[-1].found = True
        elif cls is Router or isinstance(item, (list, tuple, dict)):
            self._place_container(item, tokens, stack)
        else:
            tokens.append(LEAF)
            self.leaves.append(item)

    def _place_container(self, item: Any, tokens: list[Any], stack: list[_Open]) -> None:
        known = self._memo.get(id(item))
        if known is None:
            self._memo[id(item)] = opened = self._open(item, tokens)
            stack.append(opened)
        elif type(known) is int:
            tokens += [SHARED, known]
            if stack:
                stack[-1].found = True
        else:  # searched before and plain, or being searched: then it must not turn out to hold lazies
            if known is not True:
                known.looped = True
            tokens.append(LEAF)
            self.leaves.append(item)

    def _open(self, item: Any, tokens: list[Any]) -> _Open:
        opened = _Open(item, iter(()), len(tokens), len(self.leaves))
        cls = type(item)
        if cls is Router:
            if id(item) not in self._routers:
                self._routers[id(item)] = (item, _plain_router(item))
            router = self._routers[id(item)][1]
            items = [router.selector, *router.routes.values()]
            tokens += [ROUTER, len(items)]
            self.leaves += (router, *router.routes)
            opened.found = True
        else:
            base = list if isinstance(item, list) else tuple if isinstance(item, tuple) else dict
            items = list(_items_of(item))
            if cls is not base:
                tokens += [KIND, cls]
                self.leaves.append(item)
            tokens += [{list: LIST, tuple: TUPLE, dict: DICT}[base], len(items)]
            if base is dict:
                self.leaves += item
        opened.items = iter(items)
        return opened

    def _close(self, done: _Open, tokens: list[Any], stack: list[_Open]) -> None:
        if not done.found:
            del tokens[done.tokens :], self.leaves[done.leaves :]
            tokens.append(LEAF)
            self.leaves.append(done.item)
            self._memo[id(done.item)] = True
            return
        if done.looped:
            raise _problem("loop", self._name(), done.item)
        if tokens[done.tokens] == KIND:
            self.why.append(f"container of type {type(done.item).__name__}")
        self._memo[id(done.item)] = self._made
        self._made += 1
        if stack:
            stack[-1].found = True


@dataclass(frozen=True, slots=True)
class Expression:
    """A traced expression: its key, and its operations (one for each lazy result, dependencies first)."""

    key: bytes
    names: list[Any]
    leaves: list[Any]
    operations: list[Operation]
    unkeyed: str


def trace(target: Any) -> Expression:
    """Walk the expression that ends in the lazy result ``target``.

    Raises:
        CycleError, UncalledTaskError: the expression can never run.
    """
    return _expression(Trace(target))


def _expression(traced: Trace) -> Expression:
    key = array.array("q", traced.key).tobytes()
    return Expression(key, traced.names, traced.leaves, traced.operations, traced.unkeyed)


def _postfix(items: Sequence[Sequence[Any]], leaf: int, registers: dict[int, int]) -> tuple[tuple[Any, ...], ...]:
    """Turn the tokens of all arguments (containers before their items) into stack codes (items first)."""
    codes: list[tuple[Any, ...]] = []
    for position, tokens in enumerate(items):
        if len(tokens) == 1:
            codes.append((ARGUMENT, position) if tokens[0] is LEAF else (registers[id(tokens[0])],))
            continue
        stack: list[list[Any]] = []  # [items still to come, code]
        rest = iter(tokens)
        for token in rest:
            if type(token) is not int:
                codes.append((registers[id(token)],))
            elif token == LEAF:
                codes.append((LEAF, leaf))
                leaf += 1
            elif token in (SHARED, INJECT):
                codes.append((token, next(rest)))
            elif token == KIND:
                next(rest)
                stack.append([1, (KIND, leaf)])
                leaf += 1
                continue
            else:
                count = next(rest)
                stack.append([count, (token, count, leaf) if token in (DICT, ROUTER) else (token, count)])
                leaf += count if token in (DICT, ROUTER) else 0
                if count:
                    continue
                codes.append(stack.pop()[1])
            while stack:
                stack[-1][0] -= 1
                if stack[-1][0]:
                    break
                codes.append(stack.pop()[1])
    return tuple(codes)


# -------------------------------------------------------------------------------------------------------- decoding


@dataclass(frozen=True)
class Record:
    """A decoded record of a key: items are nested tuples, see ``decode``."""

    serial: int
    flags: int
    positional: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...]
    condition: int = -1
    constraints: tuple[tuple[str, int], ...] = ()
    after: tuple[int, ...] = ()
    equal: int = -1


class _Reader:
    def __init__(self, key: bytes, names: Sequence[Any]) -> None:
        self.tokens = array.array("q", key)
        self.names = iter(names)
        self.at = 0

    def next(self) -> int:
        self.at += 1
        return self.tokens[self.at - 1]

    def name(self) -> Any:
        address, owned = self.next(), next(self.names)
        if id(owned) != address:
            raise ValueError(f"token {self.at - 1} is not the address of {owned!r}")
        return owned

    def item(self) -> Any:
        """An item as a register (int) or a tuple that starts with its code."""
        stack: list[tuple[list[Any], int]] = []
        while True:
            code = self.next()
            done: Any = code
            if code in (LIST, TUPLE, DICT, ROUTER):
                count = self.next()
                stack.append(([code], count))
            elif code == KIND:
                stack.append(([KIND, self.name()], 1))
            else:
                done = code if code >= 0 else (code, *self._rest(code))
                if not stack:
                    return done
                stack[-1][0].append(done)
            while stack and len(stack[-1][0]) - (2 if stack[-1][0][0] == KIND else 1) == stack[-1][1]:
                done = tuple(stack.pop()[0])
                if not stack:
                    return done
                stack[-1][0].append(done)

    def _rest(self, code: int) -> tuple[Any, ...]:
        if code == SHARED:
            return (self.next(),)
        return (self.name(),) if code == INJECT else ()


def decode(key: bytes, names: Sequence[Any]) -> tuple[Record, ...]:
    """Read a key back into records. The inverse of ``encode``.

    Raises:
        ValueError: the key does not end where its last record ends, or a name does not belong to it.
    """
    reader = _Reader(key, names)
    records = tuple(_decode_record(reader) for _ in range(reader.next()))
    if reader.at != len(reader.tokens):
        raise ValueError(f"{len(reader.tokens) - reader.at} tokens follow the last record")
    return records


def _decode_record(reader: _Reader) -> Record:
    serial, head = reader.next(), reader.next()
    npos, nkw, flags = head & _COUNT_MASK, head >> _COUNT_BITS & _COUNT_MASK, head >> _FLAG_SHIFT
    names = [reader.name() for _ in range(nkw)]
    items = [(LEAF,)] * (npos + nkw) if flags & DIRECT else [reader.item() for _ in range(npos + nkw)]
    condition = reader.next() if flags & CONDITION else -1
    amounts = [(reader.name(), reader.next()) for _ in range(reader.next())] if flags & CONSTRAINTS else []
    after = [reader.next() for _ in range(reader.next())] if flags & AFTER else []
    equal = reader.next() if flags & MERGED else -1
    keywords = tuple(zip(names, items[npos:], strict=True))
    return Record(serial, flags, tuple(items[:npos]), keywords, condition, tuple(amounts), tuple(after), equal)


def encode(records: Sequence[Record]) -> bytes:
    """Write records as a key. The inverse of ``decode``."""
    tokens: list[int] = [len(records)]

    def item(value: Any) -> None:
        stack = [value]
        while stack:
            one = stack.pop()
            if type(one) is int:
                tokens.append(one)
            elif one[0] in (LIST, TUPLE, DICT, ROUTER):
                tokens.extend((one[0], len(one) - 1))
                stack.extend(reversed(one[1:]))
            elif one[0] == KIND:
                tokens.extend((KIND, id(one[1])))
                stack.append(one[2])
            else:
                tokens.append(one[0])
                tokens.extend(x if type(x) is int else id(x) for x in one[1:])

    for r in records:
        tokens += (r.serial, len(r.positional) | len(r.keywords) << _COUNT_BITS | r.flags << _FLAG_SHIFT)
        tokens += (id(name) for name, _ in r.keywords)
        if not r.flags & DIRECT:
            for value in (*r.positional, *(v for _, v in r.keywords)):
                item(value)
        if r.flags & CONDITION:
            tokens.append(r.condition)
        if r.flags & CONSTRAINTS:
            tokens.append(len(r.constraints))
            tokens += (token for name, amount in r.constraints for token in (id(name), amount))
        if r.flags & AFTER:
            tokens += (len(r.after), *r.after)
        if r.flags & MERGED:
            tokens.append(r.equal)
    return array.array("q", tokens).tobytes()


# -------------------------------------------------------------------------------------------------------- programs


@dataclass(frozen=True, slots=True)
class Instruction:
    """How one operation of a program is called: ``codes`` as in :class:`Operation`, then the injected resources."""

    npos: int
    keywords: tuple[str, ...]
    codes: tuple[tuple[Any, ...], ...] | None
    injected: tuple[str, ...]
    is_async: bool  # or a map: what waits for others
    is_map: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """What decides whether an operation runs.

    A register as ``condition``, or a leaf as ``constant``, that is not true skips it; so does one of ``after`` that was
    skipped, and an input without a value. ``inputs`` are the registers that its arguments need, each with the number of
    the Router that it is the selector of, or -1; a skipped operation passes the value of the first one on. ``choice``
    is the number of its first Router.
    """

    condition: int
    constant: int
    after: tuple[int, ...]
    inputs: tuple[tuple[int, int], ...]
    choice: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A Router: leaf ``router``, chosen by the register ``selector`` for ``consumer``.

    ``routes`` are registers or, as ~k, leaves.
    """

    consumer: int
    selector: int
    router: int
    routes: tuple[int, ...]


class Program:
    """A compiled template: immutable, without a single value of the expression it was compiled from.

    ``plan`` and ``table`` belong to the strategy, which also sets ``open`` (may it run hot now?) for an ``epoch``.
    ``tasks`` are the names of the operations' tasks, ``requires`` those of injected resources.
    """

    def __init__(self, key: bytes, names: list[Any], instructions: list[Instruction]) -> None:
        self.key = key
        self.names = names
        self.instructions = instructions
        self.order: list[int] = []
        self.groups: dict[int, int] = {}
        self.turns: list[Turn] = []  # by operation; empty where all of them run, one after the other
        self.choices: list[Choice] = []
        self.ends: list[int] = []  # by place in the order: where its stage ends
        self.places: dict[int, int] = {}  # in the order, by operation
        self.requires: tuple[str, ...] = ()
        self.tasks: tuple[str, ...] = ()
        self.why: tuple[str, ...] = ()
        self.hot = False
        self.open = False
        self.epoch = -1
        self.plan: Any = None
        self.table: Any = None
        self.watch: list[Any] = []

    def __len__(self) -> int:
        return len(self.instructions)


def layers(frame: Frame) -> tuple[array.array[int], array.array[int]]:
    """Plan the expression that the frame is waiting with: an operation comes in the first stage after all it needs.

    Returns offsets and indices as ``compile_program`` takes them; a stage keeps the order of the operations.
    """
    levels: list[int] = []
    stages: list[list[int]] = []
    position = 0
    for operation in frame._pending.trace.operations:
        if operation.equal >= 0:
            levels.append(levels[operation.equal])
            continue
        level = 1 + max((levels[one] for one in _needs(operation)), default=-1)
        levels.append(level)
        if level == len(stages):
            stages.append([])
        stages[level].append(position)
        position += 1
    offsets = array.array("i", (0, *itertools.accumulate(map(len, stages))))
    return offsets, array.array("i", itertools.chain.from_iterable(stages))


def _needs(operation: Operation) -> Iterator[int]:
    """The operations that one waits for, for whatever reason."""
    yield from (code[0] for code in operation.codes or () if code[0] >= 0)
    yield from (amount for _, amount in operation.amounts if amount >= 0)
    yield from operation.after
    if operation.flags & CONDITION:
        yield operation.condition


#: Why a program cannot be hot although all its calls could.
UNSOUND = "the solver's plan is not an order of all calls that ends with the target"


def compile_program(frame: Frame, offsets: Sequence[int], indices: Sequence[int]) -> Program:
    """Compile the expression that the frame is waiting with.

    ``offsets`` and ``indices`` are the indexed plan: stage s is ``indices[offsets[s]:offsets[s + 1]]``. Index i is the
    i-th operation of the expression that is not merged into another; those beyond are nodes that stand for none.
    """
    traced = frame._pending.trace
    why = list(traced.why)
    alias = [i if o.equal < 0 else o.equal for i, o in enumerate(traced.operations)]
    instructions = [_instruction(operation, alias, why) for operation in traced.operations]
    program = Program(array.array("q", traced.key).tobytes(), traced.names, instructions)
    # Full processing sets up every injected default, also one that the call overrides.
    injects = [inject for o in traced.operations if o.callee is not None for inject in o.callee.injects]
    marked = {code[1] for o in traced.operations for code in o.codes or () if code[0] == INJECT}
    program.requires = tuple(sorted(marked.union(name for _, _, name in injects)))
    if any(map(_has_turn, traced.operations)):
        program.turns = [_turn(op, operation, alias, program.choices) for op, operation in enumerate(traced.operations)]
    _schedule(program, traced.operations, offsets, indices, why)
    program.why = tuple(dict.fromkeys(why))
    program.hot = not why
    program.tasks = tuple(map(_name_of, traced.operations))
    program.watch = [o.callee for o in traced.operations if o.callee is not None]
    return program


def _instruction(operation: Operation, alias: Sequence[int], why: list[str]) -> Instruction:
    callee, is_map = operation.callee, bool(operation.flags & MAP)
    npos = len(operation.values) - len(operation.keywords)
    codes = operation.codes
    if codes is not None:
        codes = tuple((alias[code[0]],) if code[0] >= 0 else code for code in codes)
    if callee is None or is_map:
        return Instruction(npos, operation.keywords, codes, (), True, True)
    if callee.mode is not None:
        why.append(f"mode={callee.mode!r}")
    if operation.flags & RETRY and any(code[0] in (LIST, TUPLE, DICT, ROUTER) for code in codes or ()):
        why.append("a retried call keeps the arguments that were put together for its first attempt")
    missing = [p for p in callee.injects if not 0 <= p[1] < npos and p[0] not in operation.keywords]
    if any(position == -2 for _, position, _ in missing):
        why.append("positional-only injected parameter")
    if missing and codes is None:
        codes = tuple((ARGUMENT, position) for position in range(len(operation.values)))
    keywords = (*operation.keywords, *(name for name, _, _ in missing))
    return Instruction(npos, keywords, codes, tuple(r for _, _, r in missing), callee.is_async)


def _schedule(
    program: Program,
    operations: Sequence[Operation],
    offsets: Sequence[int],
    indices: Sequence[int],
    why: list[str],
) -> None:
    """Flatten the stages: in each, synchronous operations first, then the asynchronous ones as a group."""
    done: set[int] = set()
    distinct = [op for op, operation in enumerate(operations) if operation.equal < 0]
    for stage in range(len(offsets) - 1):
        members = [distinct[i] for i in indices[offsets[stage] : offsets[stage + 1]] if i < len(distinct)]
        if any(not _reads(program, i) <= done for i in members):
            why.append(UNSOUND)
            return
        together = [i for i in members if program.instructions[i].is_async]
        program.order += [i for i in members if not program.instructions[i].is_async]
        if len(together) > 1:
            program.groups[len(program.order)] = len(together)
        program.order += together
        program.ends += [len(program.order)] * len(members)
        done.update(members)
    program.places = {op: place for place, op in enumerate(program.order)}
    complete = len(program.order) == len(done) == len(distinct)
    if not complete or program.order[-1] != len(operations) - 1:
        why.append(UNSOUND)


def _reads(program: Program, op: int) -> set[int]:
    """The operations that one waits for, for whatever reason."""
    reads = {code[0] for code in program.instructions[op].codes or () if code[0] >= 0}
    if program.turns:
        turn = program.turns[op]
        reads.update(one for one in (turn.condition, *turn.after) if one >= 0)
    return reads


def _has_turn(operation: Operation) -> bool:
    """Whether something else than its place in the plan decides when, or whether, an operation runs."""
    if operation.flags & (CONDITION | CONSTANT_CONDITION | AFTER):
        return True
    return any(code[0] == ROUTER for code in operation.codes or ())


def _turn(op: int, operation: Operation, alias: Sequence[int], choices: list[Choice]) -> Turn:
    """Read off the stack codes of an operation what its arguments need; its Routers are added to ``choices``."""
    first = len(choices)
    inputs: list[tuple[int, int]] = []
    stack: list[tuple[list[tuple[int, int]], int]] = []  # inputs, and the item itself: a register or ~leaf
    for code in operation.codes or ():
        kind = code[0]
        if kind >= 0:
            stack.append(([(alias[kind], -1)], alias[kind]))
        elif kind == ROUTER:
            items = stack[-code[1] :]
            del stack[-code[1] :]
            selector = items[0][1]
            choices.append(Choice(op, selector, code[2], tuple(item for _, item in items[1:])))
            stack.append(([(selector, len(choices) - 1)], 0))
        elif kind in (LIST, TUPLE, DICT):
            items = stack[len(stack) - code[1] :]
            del stack[len(stack) - code[1] :]
            stack.append(([one for found, _ in items for one in found], 0))
        elif kind != KIND:  # whatever is shared was found before
            stack.append(([], ~code[1] if kind == LEAF else 0))
    for found, _ in stack:
        inputs += found
    condition = alias[operation.condition] if operation.condition >= 0 else -1
    after = tuple(alias[one] for one in operation.after)
    return Turn(condition, operation.constant, after, tuple(dict.fromkeys(inputs)), first)


def assemble(frame: Frame, level: _Level, op: int) -> list[Any]:
    """Run the stack codes of an operation and return what is on the stack at the end."""
    leaves, registers, values = level.trace.leaves, level.registers, level.trace.operations[op].values
    codes = level.program.instructions[op].codes or ()
    chosen = iter(level.flow.chosen[level.program.turns[op].choice :] if level.flow is not None else ())
    stack: list[Any] = []
    made: list[Any] = []
    for code in codes:
        kind = code[0]
        if kind >= 0:
            stack.append(registers[kind])
        elif kind == ARGUMENT:
            stack.append(values[code[1]])
        elif kind == LEAF:
            stack.append(leaves[code[1]])
        elif kind == SHARED:
            stack.append(made[code[1]])
        elif kind == INJECT:
            stack.append(frame.resources[code[1]])
        else:
            count = code[1]
            items = stack[len(stack) - count :]
            del stack[len(stack) - count :]
            if kind == ROUTER:
                made.append(items[1 + next(chosen)])
            elif kind == DICT:
                made.append(dict(zip(leaves[code[2] : code[2] + count], items, strict=True)))
            else:
                made.append(items if kind == LIST else tuple(items))
            stack.append(made[-1])
    return stack


@dataclass(slots=True)
class Routine:
    """A blueprint as a program: one operation for each call, in the order of its instructions.

    ``values`` are the arguments of each operation when it begins: literals, and None for a register that nothing was
    stored in. ``inputs`` and ``named`` say for each input, by position or name, which arguments take it, as pairs of
    operation and position. A register that is read before it is written keeps what the last round stored: ``carried``
    has these as (operation that stores, operation that reads, position). ``calls`` belongs to the machine.
    """

    program: Program
    operations: Sequence[Operation]
    values: Sequence[tuple[Any, ...]]
    inputs: Sequence[Sequence[tuple[int, int]]]
    named: Mapping[str, Sequence[tuple[int, int]]]
    carried: Sequence[tuple[int, int, int]]
    calls: Sequence[Any] = ()


def _laid(operations: list[Operation]) -> Trace:
    """Return what a level reads of a traced expression, for a routine."""
    made = Trace.__new__(Trace)
    made.operations, made.leaves = operations, []
    return made


def _put(operations: Sequence[Operation], op: int, position: int, value: Any) -> None:
    values = operations[op].values
    operations[op].values = (*values[:position], value, *values[position + 1 :])


def _load(routine: Routine, operations: Sequence[Operation], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Load arguments into the inputs of a routine."""
    if len(args) > len(routine.inputs) or not routine.named.keys() >= kwargs.keys():
        raise _problem("inputs", len(routine.inputs), list(routine.named), args, kwargs)
    for value, places in zip(args, routine.inputs, strict=False):
        for op, position in places:
            _put(operations, op, position, value)
    for name, value in kwargs.items():
        for op, position in routine.named[name]:
            _put(operations, op, position, value)


class ProgramCache:
    """Programs by key, the least recently used dropped beyond ``max_size``, those of dead tasks at once.

    Reads as a dict from key to program. ``epoch`` is raised when what the strategy decided about programs may be stale.
    """

    def __init__(self, max_size: int = 1024) -> None:
        self.max_size = max_size
        self.epoch = 0
        self.steps = 0
        self.nodes = 0
        self._programs: dict[bytes, Program] = {}
        self._last: dict[int, Program] = {}

    def __len__(self) -> int:
        return len(self._programs)

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._programs))

    def __contains__(self, key: object) -> bool:
        return key in self._programs

    def __getitem__(self, key: bytes) -> Program:
        return self._programs[key]

    def __eq__(self, other: object) -> bool:
        return self._programs == other

    __hash__ = None  # type: ignore[assignment]

    def get(self, key: bytes, default: Any = None) -> Any:
        """Return the program with this key, or the default."""
        return self._programs.get(key, default)

    def keys(self) -> list[bytes]:
        """Return the keys, least recently used first."""
        return list(self._programs)

    def values(self) -> list[Program]:
        """Return the programs, least recently used first."""
        return list(self._programs.values())

    def items(self) -> list[tuple[bytes, Program]]:
        """Return keys and programs, least recently used first."""
        return list(self._programs.items())

    def clear(self) -> None:
        """Forget all programs."""
        self._programs.clear()
        self._last.clear()

    def add(self, program: Program) -> None:
        """Keep a program until one of its tasks dies or ``max_size`` others were used after it."""
        program.watch = [weakref.ref(c, _Dropper(self, program.key)) for c in set(program.watch)]
        self._programs.pop(program.key, None)
        self._programs[program.key] = program
        while len(self._programs) > max(self.max_size, 1):
            self.drop(next(iter(self._programs)))

    def drop(self, key: bytes) -> None:
        """Forget the program with this key, if it is there."""
        program = self._programs.pop(key, None)
        if program is not None:
            for serial in [s for s, p in self._last.items() if p is program]:
                del self._last[serial]

    def find(self, trace: Trace) -> Program | None:
        """Return the program of a traced expression: first the last one of its root's task, then any."""
        callee = trace.operations[-1].callee
        serial = callee.serial if callee is not None else 0
        key = array.array("q", trace.key).tobytes()
        last = self._last.get(serial)
        if last is not None and last.key == key:
            self._programs[key] = self._programs.pop(key)
            return last
        program = self._programs.pop(key, None)
        if program is not None:
            self._programs[key] = program
            if len(self._last) >= 256:
                self._last.clear()
            self._last[serial] = program
        return program


class _Dropper:
    """Callback of a weak reference to a callee; holds the cache weakly."""

    __slots__ = ("cache", "key")

    def __init__(self, cache: ProgramCache, key: bytes) -> None:
        self.cache = weakref.ref(cache)
        self.key = key

    def __call__(self, _: Any) -> None:
        cache = self.cache()
        if cache is not None:
            cache.drop(self.key)


# ----------------------------------------------------------------------------------------------------- frame and loop


#: In a register: the operation has no value (yet).
_NOTHING: Any = object()


class _Level:
    """An expression being evaluated: its program, what was traced, the results so far."""

    __slots__ = ("fan", "flow", "parent", "path", "pc", "program", "registers", "trace")

    def __init__(self, program: Program, trace: Trace, parent: int, path: int) -> None:
        self.fan: _Fan | None = None  # of the map whose turn it is
        self.program = program
        self.trace = trace
        self.registers: list[Any] = [_NOTHING] * len(trace.operations)
        self.pc = 0
        self.flow = _Flow(program, trace.leaves, self.registers) if program.turns else None
        self.parent = parent  # the operation of the level below that waits for this value
        self.path = path  # of the operations that wait below, 0 at the bottom


@dataclass(slots=True)
class _Fan:
    """A map whose items are evaluated one after the other, each on a level of its own."""

    task: Task[Any, Any]
    columns: dict[str, list[Any]]
    count: int
    retry: Any
    values: list[Any] = field(default_factory=list)


#: What a turn comes to: the operation runs, is skipped, is skipped with those it comes after, or cannot be judged here.
_RUN: Final = 0
_SKIP: Final = 1
_SKIP_WITH: Final = 2
_REFUSE: Final = 3

_UNKNOWN: Final = -1  # what a Router chooses
_NO_ROUTE: Final = -2


def _route(router: Router, choice: Any) -> int:
    """The number of the route that a selector's value names; what cannot be a key names none."""
    try:
        route = router.routes.get(choice, _NOTHING)
    except TypeError:
        return _NO_ROUTE
    return next((j for j, one in enumerate(router.routes.values()) if one is route), _NO_ROUTE)


class _Flow:
    """Which operations of a level are skipped, and which are needed whatever the open choices turn out to be.

    Operations run in batches: those of the first stage that has any which are needed and have not run. What a choice
    makes needed belongs to the next batch. Operations that no choice ever needs do not run.
    """

    __slots__ = ("_leaves", "_program", "_registers", "_wanted", "back", "batch", "chosen", "end", "skipped")

    def __init__(self, program: Program, leaves: Sequence[Any], registers: list[Any]) -> None:
        self._program = program
        self._leaves = leaves
        self._registers = registers
        self.skipped = [False] * len(registers)
        self.chosen = [_UNKNOWN] * len(program.choices)  # by Router: the number of its route
        self._wanted = [0] * len(registers)  # the batch from which on an operation is needed, 0: from none
        self.batch = 0
        self.end = 0  # of the stage of this batch, as a place in the order
        self.back = 0  # the first place that the next batch may have to go back to
        self._want(len(registers) - 1)

    def next_batch(self, place: int) -> int:
        """The stage is through: choose, and return the place to go on at."""
        for number, choice in enumerate(self._program.choices):
            value = self._registers[choice.selector]
            if self.chosen[number] == _UNKNOWN and value is not _NOTHING:
                self.chosen[number] = _route(self._leaves[choice.router], value)
                route = self._route_of(number)
                if self._wanted[choice.consumer] and route >= 0:
                    self._want(route)
        self.batch += 1
        place, self.back = min(place, self.back), len(self._program.order)
        self.end = self._program.ends[place]
        return place

    def _route_of(self, number: int) -> int:
        """The register, or as ~k the leaf, that a Router has chosen; a leaf that there is not if it has not."""
        chosen = self.chosen[number]
        return self._program.choices[number].routes[chosen] if chosen >= 0 else ~len(self._leaves)

    def _want(self, op: int) -> None:
        """An operation, and with it all that it needs, belongs to the next batch."""
        stack = [op]
        while stack:
            one = stack.pop()
            if self._wanted[one]:
                continue
            self._wanted[one] = self.batch + 1
            self.back = min(self.back, self._program.places[one])
            turn = self._program.turns[one]
            stack += [needed for needed in (turn.condition, *turn.after) if needed >= 0]
            for register, number in turn.inputs:
                stack.append(register)
                if number >= 0 and self._route_of(number) >= 0:
                    stack.append(self._route_of(number))

    def is_due(self, op: int) -> bool:
        """Whether an operation belongs to this batch and has not had its turn."""
        return 0 < self._wanted[op] <= self.batch and self._registers[op] is _NOTHING and not self.skipped[op]

    def judge(self, op: int) -> int:
        """Whether an operation runs when its turn has come."""
        turn, registers = self._program.turns[op], self._registers
        if turn.constant >= 0 and not self._leaves[turn.constant]:
            return _SKIP
        if turn.condition >= 0 and (self.skipped[turn.condition] or not registers[turn.condition]):
            return _SKIP
        if any(self.skipped[one] for one in turn.after):
            return _SKIP_WITH
        unclear = False
        for register, number in turn.inputs:
            if registers[register] is _NOTHING:
                return _SKIP
            if number >= 0:
                unclear = unclear or self.chosen[number] < 0
                if self._route_of(number) >= 0 and self.skipped[self._route_of(number)]:
                    return _SKIP
        return _REFUSE if unclear else _RUN

    def skip(self, op: int) -> None:
        """Skip an operation: it passes its first input on."""
        self.skipped[op] = True
        if self._program.turns[op].inputs:
            item, number = self._program.turns[op].inputs[0]
            if number >= 0:
                item = self._route_of(number)
            if item >= 0:
                self._registers[op] = self._registers[item]
            elif ~item < len(self._leaves):
                self._registers[op] = self._leaves[~item]


class _Pending:
    """An expression that waits for full processing."""

    __slots__ = ("lazy", "parent", "path", "program", "refused", "results", "trace")

    def __init__(self, lazy: Any, trace: Trace, program: Program | None, parent: int, path: int) -> None:
        self.lazy = lazy
        self.trace = trace
        self.program = program
        self.parent = parent
        self.path = path
        self.results: dict[int, Any] = {}  # of operations that have run hot before
        self.refused = False


class Frame:
    """The evaluation stack of one expression: tail calls replace the top level, expansions of inner calls push one."""

    def __init__(self, cache: ProgramCache, resources: dict[str, Any], hot: bool = True) -> None:
        self.cache = cache
        self.resources = resources
        self.hot = hot
        self._hurried = False  # somebody has asked for a control point
        self.last: Program | None = None  # of the last step, if that was hot
        self.value: Any = None
        self.awaitable: Any = None
        self.yielded: Any = None
        self.started = False
        self.group: list[int] = []
        self.op = -1
        self.error: BaseException | None = None
        self.steps = 0
        self.nodes = 0
        #: Whether a ``Jump`` that the target returns is interpreted: only that of a run's own target is.
        self.jumps = False
        #: Arguments that a jump gives to the target of the step at the bottom, by key; None if there are none.
        self.overrides: dict[str, Any] | None = None
        #: Routines that tail calls may name, by id.
        self.routines: dict[str, Routine] = {}
        self._selector: Any = None  # of the step at the bottom: where its jumps lead
        self._data: Any = None  # of the jump to the step that is about to begin
        self.routine: Routine | None = None  # that runs, or ran last, at the bottom
        self._levels: list[_Level] = []
        self._waiting: _Pending | None = None
        self._done = False
        self._inbox: tuple[Any, bool] | None = None

    # What a strategy reads while a step waits for full processing.

    @property
    def _pending(self) -> _Pending:
        if self._waiting is None:
            raise RuntimeError("no expression of this frame waits for full processing")
        return self._waiting

    @property
    def lazy(self) -> Any:
        """The lazy result that waits for full processing."""
        return self._pending.lazy

    @property
    def program(self) -> Program | None:
        """The program of what waits, or of the top level; None when there is none yet."""
        if self._waiting is not None:
            return self._waiting.program
        return self._levels[-1].program if self._levels else None

    @property
    def expression(self) -> Expression:
        """What was traced of the step that waits, or of the top level."""
        return _expression(self._waiting.trace if self._waiting is not None else self._levels[-1].trace)

    @property
    def results(self) -> dict[int, Any]:
        """Results that the step that waits has already, by operation."""
        return self._pending.results

    @property
    def refused(self) -> bool:
        """Whether the step that waits was running hot, and only full processing can tell what becomes of it."""
        return self._pending.refused

    @property
    def fans(self) -> list[tuple[Program, int]]:
        """The maps whose items are being evaluated, as (program, operation), the innermost first."""
        return [(one.program, one.program.order[one.pc]) for one in reversed(self._levels) if one.fan is not None]

    @property
    def may_suspend(self) -> bool:
        """Whether the top level can be suspended where it is: not while items of a map of its are evaluated."""
        return self._waiting is None and bool(self._levels) and self._levels[-1].fan is None

    @property
    def depth(self) -> int:
        """Levels in evaluation."""
        return len(self._levels) + (self._waiting is not None)

    @property
    def path(self) -> int:
        """Where the top level lies: a number for the operations that wait below it, 0 if none does."""
        if self._waiting is not None:
            return self._waiting.path
        return self._levels[-1].path if self._levels else 0

    @property
    def waiting(self) -> bool:
        """Whether a step waits for full processing."""
        return self._waiting is not None

    @property
    def key(self) -> bytes:
        """Template key of the step that waits."""
        return array.array("q", self._pending.trace.key).tobytes()

    @property
    def unkeyed(self) -> str:
        """Why no plan may be kept for the step that waits; empty if one may."""
        return self._pending.trace.unkeyed

    def name_of(self, op: int) -> str:
        """Return the name of the task of an operation of the top level."""
        return _name_of(self._levels[-1].trace.operations[op])

    def func_of(self, op: int) -> Any:
        """Return the function of an operation of the top level."""
        return self._levels[-1].trace.operations[op].callee.func

    def is_async(self, op: int) -> bool:
        """Return whether the function of an operation of the top level is a coroutine function."""
        return self._levels[-1].program.instructions[op].is_async

    def factory_of(self, op: int) -> Any:
        """Return what makes the items of an operation of the top level; None if it is no map."""
        level = self._levels[-1]
        factory = level.trace.operations[op].factory
        return level.trace.leaves[factory] if factory >= 0 else None

    def retry_of(self, op: int) -> Any:
        """Return the retry policy of an operation of the top level, or None."""
        return self._levels[-1].trace.operations[op].retry

    # What a strategy does.

    def begin(self, lazy: Any) -> None:
        """Start with an expression. The frame must be new or done."""
        self._done = False
        self._push(lazy, -1)

    def enter(self, program: Program) -> None:
        """Run hot what waits for full processing."""
        pending = self._pending
        self._waiting = None
        self._levels.append(_Level(program, pending.trace, pending.parent, pending.path))

    def finish(self, value: Any) -> None:
        """Give the value that the target's function returned in full processing; it may be lazy."""
        pending = self._pending
        name = _name_of(pending.trace.operations[-1])
        self._waiting = None
        if pending.parent < 0:
            self.last = None
            if self.jumps and isinstance(value, Jump):
                self._jump(value, name)
                return
        following = continuation(value, name)
        if following is None:
            self._complete(value, pending.parent)
        else:
            self._push(following, pending.parent)

    def hurry(self) -> None:
        """Have the run that is going on return YIELD after the call that it is making, as if its time were over."""
        self._hurried = True

    def _is_over(self, deadline: float) -> bool:
        hurried, self._hurried = self._hurried, False
        return hurried or _monotonic() >= deadline

    def suspend(self) -> None:
        """Hand the rest of the top level over to full processing; ``results`` has what has been computed."""
        level = self._levels.pop()
        self.steps -= 1  # it is not a hot step after all
        lazy = level.trace.operations[-1].lazy
        self._waiting = pending = _Pending(lazy, level.trace, level.program, level.parent, level.path)
        skipped = level.flow.skipped if level.flow is not None else ()
        found = {op: level.registers[op] for op in level.program.order if level.registers[op] is not _NOTHING}
        pending.results = {op: value for op, value in found.items() if not (skipped and skipped[op])}
        self.nodes -= sum(skipped)  # those are judged, and counted, once more

    def resume(self, value: Any) -> None:
        """Give the value of the awaitable."""
        self.awaitable = self.yielded = None
        self._inbox = (value, True)

    def again(self) -> None:
        """Try the failed operation once more."""
        self.error = self.awaitable = self.yielded = None

    def settle(self, values: Sequence[Any]) -> None:
        """Give the final values of ``group``, in its order."""
        level = self._levels[-1]
        for op, value in zip(self.group, values, strict=True):
            level.registers[op] = value
        level.pc = level.pc + len(self.group) if level.flow is None else level.flow.end
        self.group = []

    def arguments(self, op: int) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of an operation of the top level."""
        level = self._levels[-1]
        values, keywords = _values(self, level, op)
        npos = len(values) - len(keywords)
        return values[:npos], dict(zip(keywords, values[npos:], strict=True))

    def call(self, routine: Routine, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Start a routine with all registers empty but for the arguments. The frame must be new or done.

        Raises:
            TypeError: the blueprint has no input for an argument.
        """
        self._done = False
        pairs = zip(routine.operations, routine.values, strict=True)
        operations = [replace(one, values=values) for one, values in pairs]
        _load(routine, operations, args, kwargs)
        self.routine = routine
        self._levels.append(_Level(routine.program, _laid(operations), -1, 0))
        self.steps += 1

    def take(self) -> int:
        """Say which operation of the top level comes next; its caller calls it, and gives its value to ``resume``."""
        level = self._levels[-1]
        self.op = level.program.order[level.pc]
        return self.op

    def close(self) -> None:
        """Drop everything that is held."""
        self._levels.clear()
        self._waiting = self._inbox = None
        self._selector = self._data = self.routine = self.overrides = None
        self.routines = {}
        self.value = self.awaitable = self.yielded = self.error = None
        self.cache.steps += self.steps
        self.cache.nodes += self.nodes

    # The kernel's own.

    def _jump(self, jump: Jump, name: str) -> None:
        """Go where the jump that the target at the bottom has returned leads."""
        selector, data = self._selector, jump.data
        self._selector = self.overrides = None
        routes = getattr(selector, "routes", None)
        if routes is None:
            raise _problem("unbound", name)
        try:
            route = routes.get(jump.target_key)
        except TypeError:  # what cannot be a key is no route
            route = None
        following = continuation(data, name)
        if route is None and following is None:
            self._complete(data, -1)
        elif route is None:
            self._push(following, -1)
        elif following is not None:  # once more, when the calls in the data have their values
            self._push(LazyResult(_arrive, (jump.target_key, data), {}, _jump_selector=selector), -1)
        elif not _is_lazy(route):
            raise _problem("route", jump.target_key, route)
        else:
            self._data = data
            self._push(route, -1)

    def _begin_bottom(self, root: Operation) -> None:
        """Note where the jumps of a step lead, and what the one that has led to it gives."""
        self._selector = getattr(root.lazy, "_jump_selector", None)
        data, self._data = self._data, None
        if data is None:
            self.overrides = None
            return
        callee = None if root.flags & MAP else root.callee
        self.overrides = _overridden(data, callee, len(root.values) - len(root.keywords), root.keywords) or None

    def _push(self, lazy: Any, parent: int) -> None:
        traced = Trace(lazy)
        if parent < 0:
            self._begin_bottom(traced.operations[-1])
        program = None if traced.unkeyed else self.cache.find(traced)
        # FNV-1a over the operations that wait below
        path = 0 if parent < 0 else (self._levels[-1].path ^ parent + 1) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
        if (
            program is not None
            and self.hot
            and program.open
            and program.epoch == self.cache.epoch
            and all(name in self.resources for name in program.requires)
        ):
            self._levels.append(_Level(program, traced, parent, path))
            self.steps += 1
        else:
            self._waiting = _Pending(lazy, traced, program, parent, path)

    def _complete(self, value: Any, parent: int) -> None:
        if parent < 0:
            self.value = value
            self._done = True
            return
        level = self._levels[-1]
        if level.fan is not None:
            level.fan.values.append(value)
            return
        level.registers[parent] = value
        level.pc += 1
        self.nodes += 1

    def _begin_fan(self, level: _Level) -> bool:
        """Begin with the map whose turn it is, if its items are synchronous and stand for no other calls."""
        factory = self.factory_of(self.op)
        if type(factory) is not Task or factory.is_async or factory.mode is not None:
            return False
        _, arguments = self.arguments(self.op)
        if any(type(values) not in (list, tuple, range) for values in arguments.values()):
            return False
        columns = {name: list(values) for name, values in arguments.items()}
        counts = {len(values) for values in columns.values()}
        if len(counts) != 1 or holds_calls(list(columns.values())):
            return False
        level.fan = _Fan(factory, columns, counts.pop(), self.retry_of(self.op))
        return True

    def _go_on_with(self, level: _Level, fan: _Fan) -> None:
        """Begin with the next item, or end the map."""
        at = len(fan.values)
        if at == fan.count:
            level.fan = None
            self.op = level.program.order[level.pc]
            self._deliver(fan.values)
            return
        item = fan.task(**{name: values[at] for name, values in fan.columns.items()})
        item._retry_policy = fan.retry
        self._push(item, level.program.order[level.pc])
        top = self._waiting if self._waiting is not None else self._levels[-1]
        top.path = (top.path ^ at + 1) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF

    def _deliver(self, value: Any) -> None:
        """Take what the function of operation ``op`` returned."""
        level = self._levels[-1]
        is_target = self.op == len(level.trace.operations) - 1
        if self.routine is not None:
            self._deliver_register(level, value, is_target)
            return
        self.nodes += is_target  # also if it has returned what cannot be continued, as in full processing
        if is_target and level.parent < 0 and self.jumps and isinstance(value, Jump):
            self._levels.pop()
            self.last = level.program
            self._jump(value, _name_of(level.trace.operations[self.op]))
            return
        following = continuation(value, _name_of(level.trace.operations[self.op]))
        if is_target:
            self._levels.pop()
            if level.parent < 0:
                self.last = level.program
            if following is None:
                self._complete(value, level.parent)
            else:
                self._push(following, level.parent)
        elif following is None:
            level.registers[self.op] = value
            level.pc += 1
            self.nodes += 1
        else:
            self._push(following, self.op)

    def _deliver_register(self, level: _Level, value: Any, is_last: bool) -> None:
        """Take what a call of a routine returned; a ``TailCall`` of the last one runs a routine once more."""
        self.nodes += 1
        level.registers[self.op] = value
        level.pc += 1
        if not is_last:
            return
        routine = cast(Routine, self.routine)
        if isinstance(value, TailCall):
            if value.target_blueprint_id is None:
                operations = level.trace.operations
                for source, op, position in routine.carried:
                    _put(operations, op, position, level.registers[source])
                _load(routine, operations, value.args, value.kwargs)
                level.registers = [_NOTHING] * len(operations)
                level.pc = 0
                self.steps += 1
                return
            if value.target_blueprint_id in self.routines:
                self._levels.pop()
                self.call(self.routines[value.target_blueprint_id], value.args, value.kwargs)
                return
        self._levels.pop()
        self._complete(value, -1)

    def wanted(self, value: Any, awaited: bool) -> Any:
        """Return what a call of a routine has to wait for, the lazy result or awaitable that it returned, or None."""
        following = continuation(value, self.name_of(self.op))
        if following is None and not awaited and not isinstance(value, TailCall) and inspect.isawaitable(value):
            return value
        return following

    def _turn(self, level: _Level) -> int | None:
        """Find the operation whose turn it is; None when there is one, else what run() has to do or to say."""
        flow, order = cast(_Flow, level.flow), level.program.order
        while True:
            if level.pc == flow.end:
                level.pc = flow.next_batch(level.pc)
            op = order[level.pc]
            if not flow.is_due(op):
                level.pc += 1
                continue
            due = [op]
            if level.program.instructions[op].is_async:  # those after it in the stage are too
                due = [one for one in order[level.pc : flow.end] if flow.is_due(one)]
            group = []
            for one in due:
                verdict = flow.judge(one)
                if verdict == _REFUSE or (verdict == _SKIP and one == order[-1]):
                    self.suspend()
                    self._pending.refused = True
                    return STEP
                if verdict == _RUN:
                    group.append(one)
                elif one == order[-1]:
                    return DONE
                else:
                    flow.skip(one)
                    self.nodes += 1
            if group and len(due) == 1:
                return None
            if group:
                self.group = group
                return GROUP


def _name_of(operation: Operation) -> str:
    if operation.factory < 0:
        return cast(str, operation.callee.name)
    name = getattr(operation.lazy.factory, "name", None)
    return f"map({name})" if isinstance(name, str) else "map(factory)"


def _values(frame: Frame, level: _Level, op: int) -> tuple[list[Any], tuple[str, ...]]:
    operation = level.trace.operations[op]
    instruction = level.program.instructions[op]
    if instruction.codes is None:
        values = list(operation.values)
    else:
        values = assemble(frame, level, op)
        values += [frame.resources[name] for name in instruction.injected]
    if frame.overrides and level.parent < 0 and op == len(level.trace.operations) - 1:
        return _replaced(values, instruction.keywords, frame.overrides)
    return values, instruction.keywords


def _replaced(
    values: list[Any], keywords: tuple[str, ...], overrides: dict[str, Any]
) -> tuple[list[Any], tuple[str, ...]]:
    """Return the arguments of a call as a jump has them: positions in their order, then names."""
    npos = len(values) - len(keywords)
    arguments = dict(zip((*map(str, range(npos)), *keywords), values, strict=True)) | overrides
    positions = sorted((key for key in arguments if key.isdecimal()), key=int)
    names = tuple(key for key in arguments if not key.isdecimal())
    return [arguments[key] for key in (*positions, *names)], names


def _execute_hot_node(frame: Frame, i: int) -> Any:
    """Call operation ``i`` of the top level: arguments by index, call; the loop stores what it returns."""
    level = frame._levels[-1]
    values, keywords = _values(frame, level, i)
    func = level.trace.operations[i].callee.func
    if not keywords:
        return func(*values)
    npos = len(values) - len(keywords)
    return func(*values[:npos], **dict(zip(keywords, values[npos:], strict=True)))


def run(frame: Frame, deadline: float) -> int:
    """Evaluate until something is needed from outside (see the signals) or the monotonic clock passes ``deadline``.

    A program runs only while it is ``open`` for the cache's ``epoch``; YIELD gives the strategy the word otherwise.
    """
    while True:
        if frame._waiting is not None:
            return STEP
        if frame._inbox is not None:
            value, awaited = frame._inbox
            frame._inbox = None
        elif frame._done:
            return DONE
        else:
            level = frame._levels[-1]
            if level.fan is not None:  # whatever became of its program: what its items may do is decided for each
                frame._go_on_with(level, level.fan)
                if frame._is_over(deadline) and not frame._done:
                    return YIELD
                continue
            if not level.program.open or level.program.epoch != frame.cache.epoch:
                return YIELD
            signal = _next_node(frame, level)
            frame.op = level.program.order[level.pc]
            if signal == DONE:  # the target is skipped with those that it comes after
                frame._deliver(None)
                continue
            if signal == MAPPED and frame._begin_fan(level):
                continue
            if signal is not None:
                return signal
            awaited = False
            try:
                value = _execute_hot_node(frame, frame.op)
            except BaseException as error:
                frame.error = error
                return FAILED
        if not awaited and (level.program.instructions[frame.op].is_async or type(value) is types.CoroutineType):
            signal = _start(frame, value)
            if signal is not None:
                return signal
            value = cast(Any, frame._inbox)[0]
            frame._inbox = None
            awaited = True
        if frame.routine is not None:
            frame.awaitable = frame.wanted(value, awaited)
            if frame.awaitable is not None:
                frame.started = False
                return AWAIT
        frame._deliver(value)
        if frame._is_over(deadline) and not frame._done:
            return YIELD


def _next_node(frame: Frame, level: _Level) -> int | None:
    """Look for the operation that is called next; a signal if there is something else to do."""
    if level.flow is not None:
        signal = frame._turn(level)
        if signal is not None:
            return signal
    else:
        size = level.program.groups.get(level.pc)
        if size is not None:
            frame.group = level.program.order[level.pc : level.pc + size]
            return GROUP
    return MAPPED if level.program.instructions[level.program.order[level.pc]].is_map else None


def walks() -> int:
    """How many steps had to walk large containers so far, because what could be in them was not accounted for.

    Here containers are always walked, and nobody counts.
    """
    return 0


def holds_calls(columns: list[list[Any]]) -> bool:
    """Whether one of some lists holds, at any depth, what stands for another value, or a task that was not called."""
    return any(holds_markers(column) or any(type(item) is Task for item in column) for column in columns)


def run_items(
    frame: Frame,
    task: Task[Any, Any],
    names: tuple[str, ...],
    columns: list[list[Any]],
    retry: Any,
    values: list[Any],
    deadline: float,
) -> int:
    """Evaluate calls of a task one after the other; item i takes its arguments from the columns and adds to ``values``.

    Returns DONE when there are as many values as items, YIELD between two items when the monotonic clock has passed
    ``deadline``, and else what the item that is going on needs (see ``run``); its value is then added by the caller.
    """
    if len(names) != len(columns) or not columns:
        raise ValueError(f"{len(columns)} columns for {len(names)} names")
    for column in columns:
        if type(column) is not list:
            raise TypeError(f"a column is a list, not {type(column).__name__}")
    count = min(map(len, columns))
    while len(values) < count:
        at = len(values)
        lazy: Any = LazyResult(task, (), {name: column[at] for name, column in zip(names, columns, strict=True)})
        lazy._retry_policy = retry
        frame.begin(lazy)
        del lazy
        signal = run(frame, deadline)
        if signal != DONE:
            return signal
        values.append(frame.value)
        if len(values) < count and frame._is_over(deadline):
            return YIELD
    return DONE


def _start(frame: Frame, awaitable: Any) -> int | None:
    """Drive a coroutine to its first suspension; None when it has ended, with its value in the inbox."""
    frame.awaitable = awaitable
    frame.started = type(awaitable) is types.CoroutineType
    if not frame.started:
        return AWAIT
    try:
        frame.yielded = awaitable.send(None)
    except StopIteration as stop:
        frame.awaitable = None
        frame._inbox = (stop.value, True)
        return None
    except BaseException as error:
        frame.awaitable = None
        frame.error = error
        return FAILED
    return AWAIT


# ------------------------------------------------------------------------------------------------------ rehydration


def rehydrate(
    expression: Expression,
    protos: Sequence[Any],
    ops: Sequence[int],
    node_of: Sequence[int],
    offsets: Sequence[int],
    indices: Sequence[int],
) -> tuple[list[Any], list[Any], list[list[Any]]]:
    """Bind the nodes of a template to the leaves of an expression with the same key.

    ``protos[j].bound(operation, leaves, nodes, node_of)`` makes the node at position j for operation ``ops[j]``;
    ``nodes`` has those before it, ``node_of`` maps operations to positions. Returns the nodes by position, the nodes by
    operation and the stages of the plan.
    """
    nodes: list[Any] = []
    for proto, op in zip(protos, ops, strict=True):
        nodes.append(proto.bound(expression.operations[op], expression.leaves, nodes, node_of))
    by_op = [nodes[position] for position in node_of]
    count = len(nodes)  # positions beyond are shadow nodes, which never run
    stages = [[nodes[i] for i in indices[offsets[s] : offsets[s + 1]] if i < count] for s in range(len(offsets) - 1)]
    return nodes, by_op, stages

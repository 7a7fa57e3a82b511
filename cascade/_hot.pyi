"""Signatures of the compiled kernel, which are those of ``_hot_py``; tests/typing/test_stub.py compares the two."""

import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, ParamSpec, TypeVar, final

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")

kernel_name: str

DONE: Final[int]
YIELD: Final[int]
AWAIT: Final[int]
GROUP: Final[int]
STEP: Final[int]
FAILED: Final[int]
MAPPED: Final[int]

LEAF: Final[int]
LIST: Final[int]
TUPLE: Final[int]
DICT: Final[int]
SHARED: Final[int]
ROUTER: Final[int]
INJECT: Final[int]
KIND: Final[int]
ARGUMENT: Final[int]

DIRECT: Final[int]
RETRY: Final[int]
CACHE: Final[int]
CONSTRAINTS: Final[int]
CONDITION: Final[int]
AFTER: Final[int]
JUMP: Final[int]
MAP: Final[int]
CONSTANT_CONDITION: Final[int]
MERGED: Final[int]

def install(**hooks: Any) -> None: ...

@final
class Inject:
    resource_name: str
    def __init__(self, resource_name: str) -> None: ...

class RetryPolicy:
    max_attempts: int
    delay: float
    backoff: float
    __dataclass_fields__: ClassVar[dict[str, Any]]
    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, max_attempts: int, delay: float = 0.0, backoff: float = 1.0) -> None: ...

class Jump:
    target_key: Any
    data: Any
    __dataclass_fields__: ClassVar[dict[str, Any]]
    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, target_key: Any, data: Any = None) -> None: ...

class TailCall:
    args: list[Any]
    kwargs: dict[str, Any]
    target_blueprint_id: str | None
    __dataclass_fields__: ClassVar[dict[str, Any]]
    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        args: list[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        target_blueprint_id: str | None = None,
    ) -> None: ...

@final
class Callee:
    @property
    def func(self) -> Callable[..., Any]: ...
    @property
    def name(self) -> str: ...
    @property
    def pure(self) -> bool: ...
    @property
    def mode(self) -> str | None: ...
    @property
    def is_async(self) -> bool: ...
    @property
    def serial(self) -> int: ...
    @property
    def injects(self) -> tuple[tuple[str, int, str], ...]: ...
    @property
    def parameters(self) -> tuple[str, ...]: ...
    def __init__(self, func: Callable[..., Any], name: str, pure: bool, mode: str | None, is_async: bool) -> None: ...

def find_injects(func: Callable[..., Any]) -> tuple[tuple[str, int, str], ...]: ...

@final
class Task(Generic[_P, _R]):
    func: Callable[..., Any]
    name: str
    pure: bool
    mode: str | None
    is_async: bool
    @property
    def injects(self) -> tuple[tuple[str, int, str], ...]: ...
    def __init__(
        self, func: Callable[_P, _R], name: str | None = None, pure: bool = False, mode: str | None = None
    ) -> None: ...
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    def map(self, **kwargs: Any) -> Any: ...

class _Lazy:
    _uuid: str
    _dependencies: list[Any]
    _retry_policy: Any
    _cache_policy: Any
    _condition: Any
    _constraints: Any
    def run_if(self, condition: Any) -> Any: ...
    def with_retry(self, max_attempts: int = 3, delay: float = 0.0, backoff: float = 1.0) -> Any: ...
    def with_cache(self, policy: Any) -> Any: ...
    def with_constraints(self, **kwargs: Any) -> Any: ...
    def after(self, *predecessors: Any) -> Any: ...

@final
class LazyResult(_Lazy, Generic[_T]):
    task: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    _jump_selector: Any
    __dataclass_fields__: ClassVar[dict[str, Any]]
    __match_args__: ClassVar[tuple[str, ...]]
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
    ) -> None: ...

@final
class MappedLazyResult(_Lazy, Generic[_T]):
    factory: Any
    mapping_kwargs: dict[str, Any]
    __dataclass_fields__: ClassVar[dict[str, Any]]
    __match_args__: ClassVar[tuple[str, ...]]
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
    ) -> None: ...

@final
class Router:
    selector: Any
    routes: Mapping[Any, Any]
    __dataclass_fields__: ClassVar[dict[str, Any]]
    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, selector: Any, routes: Mapping[Any, Any]) -> None: ...

def call_of(lazy: Any) -> tuple[Any, tuple[Any, ...], tuple[str, ...]]: ...
def continuation(value: Any, name: str) -> Any: ...

@final
class Operation:
    @property
    def callee(self) -> Any: ...
    @property
    def values(self) -> tuple[Any, ...]: ...
    @property
    def retry(self) -> Any: ...
    @property
    def lazy(self) -> Any: ...
    @property
    def keywords(self) -> tuple[str, ...]: ...
    @property
    def codes(self) -> tuple[tuple[Any, ...], ...] | None: ...
    @property
    def flags(self) -> int: ...
    @property
    def condition(self) -> int: ...
    @property
    def amounts(self) -> tuple[tuple[str, int], ...]: ...
    @property
    def after(self) -> tuple[int, ...]: ...
    @property
    def equal(self) -> int: ...
    @property
    def constant(self) -> int: ...
    @property
    def factory(self) -> int: ...

@final
class Expression:
    @property
    def key(self) -> bytes: ...
    @property
    def names(self) -> list[Any]: ...
    @property
    def leaves(self) -> list[Any]: ...
    @property
    def operations(self) -> list[Operation]: ...
    @property
    def unkeyed(self) -> str: ...

def trace(target: Any) -> Expression: ...

@final
class Program:
    key: bytes
    names: list[Any]
    requires: tuple[str, ...]
    tasks: tuple[str, ...]
    why: tuple[str, ...]
    hot: bool
    open: bool
    epoch: int
    plan: Any
    table: Any
    watch: list[Any]
    def __len__(self) -> int: ...

def layers(frame: Frame) -> tuple[array.array[int], array.array[int]]: ...
def compile_program(frame: Frame, offsets: Sequence[int], indices: Sequence[int]) -> Program: ...

@final
class Routine:
    @property
    def program(self) -> Program: ...
    @property
    def operations(self) -> Sequence[Operation]: ...
    @property
    def values(self) -> Sequence[tuple[Any, ...]]: ...
    @property
    def inputs(self) -> Sequence[Sequence[tuple[int, int]]]: ...
    @property
    def named(self) -> Mapping[str, Sequence[tuple[int, int]]]: ...
    @property
    def carried(self) -> Sequence[tuple[int, int, int]]: ...
    @property
    def calls(self) -> Sequence[Any]: ...
    def __init__(
        self,
        program: Program,
        operations: Sequence[Operation],
        values: Sequence[tuple[Any, ...]],
        inputs: Sequence[Sequence[tuple[int, int]]],
        named: Mapping[str, Sequence[tuple[int, int]]],
        carried: Sequence[tuple[int, int, int]],
        calls: Sequence[Any] = (),
    ) -> None: ...

class ProgramCache:
    max_size: int
    epoch: int
    steps: int
    nodes: int
    def __init__(self, max_size: int = 1024) -> None: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __getitem__(self, key: bytes, /) -> Program: ...
    def get(self, key: bytes, default: Any = None) -> Any: ...
    def keys(self) -> list[bytes]: ...
    def values(self) -> list[Program]: ...
    def items(self) -> list[tuple[bytes, Program]]: ...
    def clear(self) -> None: ...
    def add(self, program: Program) -> None: ...
    def drop(self, key: bytes) -> None: ...

@final
class Frame:
    cache: ProgramCache
    resources: dict[str, Any]
    hot: bool
    last: Program | None
    value: Any
    awaitable: Any
    yielded: Any
    started: bool
    group: list[int]
    op: int
    error: BaseException | None
    steps: int
    nodes: int
    jumps: bool
    routines: dict[str, Routine]
    @property
    def routine(self) -> Routine | None: ...
    @property
    def overrides(self) -> dict[str, Any] | None: ...
    def __init__(self, cache: ProgramCache, resources: dict[str, Any], hot: bool = True) -> None: ...
    @property
    def lazy(self) -> Any: ...
    @property
    def program(self) -> Program | None: ...
    @property
    def expression(self) -> Expression: ...
    @property
    def results(self) -> dict[int, Any]: ...
    @property
    def path(self) -> int: ...
    @property
    def refused(self) -> bool: ...
    @property
    def fans(self) -> list[tuple[Program, int]]: ...
    @property
    def may_suspend(self) -> bool: ...
    @property
    def depth(self) -> int: ...
    @property
    def waiting(self) -> bool: ...
    @property
    def key(self) -> bytes: ...
    @property
    def unkeyed(self) -> str: ...
    def name_of(self, op: int) -> str: ...
    def func_of(self, op: int) -> Any: ...
    def is_async(self, op: int) -> bool: ...
    def factory_of(self, op: int) -> Any: ...
    def retry_of(self, op: int) -> Any: ...
    def begin(self, lazy: Any) -> None: ...
    def enter(self, program: Program) -> None: ...
    def finish(self, value: Any) -> None: ...
    def hurry(self) -> None: ...
    def suspend(self) -> None: ...
    def resume(self, value: Any) -> None: ...
    def again(self) -> None: ...
    def settle(self, values: Sequence[Any]) -> None: ...
    def arguments(self, op: int) -> tuple[list[Any], dict[str, Any]]: ...
    def call(self, routine: Routine, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None: ...
    def take(self) -> int: ...
    def wanted(self, value: Any, awaited: bool) -> Any: ...
    def close(self) -> None: ...

def _execute_hot_node(frame: Frame, i: int) -> Any: ...
def run(frame: Frame, deadline: float) -> int: ...
def walks() -> int: ...
def holds_calls(columns: list[list[Any]]) -> bool: ...
def run_items(
    frame: Frame,
    task: Task[Any, Any],
    names: tuple[str, ...],
    columns: list[list[Any]],
    retry: Any,
    values: list[Any],
    deadline: float,
) -> int: ...
def rehydrate(
    expression: Expression,
    protos: Sequence[Any],
    ops: Sequence[int],
    node_of: Sequence[int],
    offsets: Sequence[int],
    indices: Sequence[int],
) -> tuple[list[Any], list[Any], list[list[Any]]]: ...

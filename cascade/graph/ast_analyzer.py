"""Which tasks a task may tail-call, read off its source without running any of it.

Only ``return other(...)`` and ``return other.map(...)`` count, for names that lead to a task through the closure, the
globals or plain attributes of modules, classes and instances. The findings draw shadow nodes and warn; execution does
not depend on them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from tokenize import TokenError
from types import CodeType, MethodType
from typing import TYPE_CHECKING, Any

from cascade.graph._lookup import MISSING, static_member
from cascade.spec.task import Task

if TYPE_CHECKING:
    from typing import TypeAlias

    _Task: TypeAlias = Task[Any, Any]

__all__ = ["AnalysisResult", "ReferenceResolver", "TcoVisitor", "analyze_task_source", "assign_tco_cycle_ids"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
#: CPython 3.11 counts the depth of all syntax trees that become objects in one place, and raises SystemError where two
#: threads take turns in that (https://github.com/python/cpython/issues/106905). A finaliser may come here again.
_PARSING = threading.RLock()
_UNREADABLE = (
    *(OSError, TypeError, SyntaxError, ValueError, IndexError, TokenError),
    *(RecursionError, MemoryError, SystemError),
)
_PATIENCE = 5.0  # seconds: a forked process may have been given the lock of a thread that it has not


@dataclass
class AnalysisResult:
    """The tasks that a task may tail-call, in order of appearance, and whether a self call takes a call as argument."""

    targets: list[_Task]
    has_dynamic_recursion: bool = False


class ReferenceResolver:
    """Finds the object that a name of a function's source stands for, without evaluating anything."""

    def __init__(self, func: Any) -> None:
        self.func = func
        self.globals: dict[str, Any] = getattr(func, "__globals__", {})
        self.closure_vars: dict[str, Any] = dict(_closure(func))
        #: Names that are variables of the function or of a nested function in work: nobody knows what they hold.
        self.local_names: list[frozenset[str]] = [_own_names(func)]

    def resolve(self, node: ast.AST) -> Any | None:
        """Return the object behind a name or a dotted name, or None."""
        steps: list[str] = []
        while isinstance(node, ast.Attribute):
            steps.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or any(node.id in names for names in self.local_names):
            return None
        found = self.closure_vars.get(node.id, self.globals.get(node.id, MISSING))
        while steps and found is not MISSING:
            found = static_member(found, steps.pop())
        return None if found is MISSING else found


def _closure(func: Any) -> Iterator[tuple[str, Any]]:
    code = getattr(func, "__code__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), getattr(func, "__closure__", None) or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            yield name, None


def _own_names(func: Any) -> frozenset[str]:
    code = getattr(func, "__code__", None)
    return frozenset((*code.co_varnames, *code.co_cellvars)) if type(code) is CodeType else frozenset()


def _bound_names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> frozenset[str]:
    """Return the names that a nested function binds; a name bound deeper counts too, which only hides a target."""
    bound: set[str] = set()
    outer: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)) and node is not function:
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            outer.update(node.names)
    return frozenset(bound - outer)


class TcoVisitor(ast.NodeVisitor):
    """Collects the tasks that the ``return`` statements of a function call."""

    def __init__(self, resolver: ReferenceResolver, current_task: _Task) -> None:
        self.resolver = resolver
        self.current_task = current_task
        self.potential_targets: list[_Task] = []
        self.has_dynamic_recursion = False

    def visit_Return(self, node: ast.Return) -> None:
        """Note the task behind ``return task(...)`` and ``return task.map(...)``."""
        call = node.value
        if not isinstance(call, ast.Call):
            return
        target = self._task(call.func)
        if target is None:
            target = self._mapped_task(call.func)
        elif self._is_current(target) and any(self._is_lazy_call(value) for value in _argument_nodes(call)):
            self.has_dynamic_recursion = True
        if target is not None and not any(target is known for known in self.potential_targets):
            self.potential_targets.append(target)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Look into a nested function, whose variables hide outer names."""
        self._visit_nested(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """Look into a nested function, whose variables hide outer names."""
        self._visit_nested(node)

    def _visit_nested(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.resolver.local_names.append(_bound_names(node))
        self.generic_visit(node)
        self.resolver.local_names.pop()

    def generic_visit(self, node: ast.AST) -> None:
        """Go through statements only: expressions hold no ``return``, and may be nested deeper than the stack."""
        for field in ("body", "handlers", "orelse", "finalbody", "cases"):
            for child in getattr(node, field, ()):
                self.visit(child)

    def _task(self, node: ast.AST) -> _Task | None:
        found = self.resolver.resolve(node)
        return found if issubclass(type(found), Task) else None

    def _mapped_task(self, node: ast.AST) -> _Task | None:
        return self._task(node.value) if isinstance(node, ast.Attribute) and node.attr == "map" else None

    def _is_current(self, target: _Task) -> bool:
        return target is self.current_task or target.name == self.current_task.name

    def _is_lazy_call(self, node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        return self._task(node.func) is not None or self._mapped_task(node.func) is not None


def _argument_nodes(call: ast.Call) -> list[ast.expr]:
    """Return what is passed as an argument of its own: no ``*sequence``, no ``**mapping``."""
    return [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg is not None)]


def analyze_task_source(task: _Task) -> AnalysisResult:
    """Return what the source of a task says about its tail calls; without source it says nothing.

    The result is kept on the task as ``_analysis_result``.
    """
    result: AnalysisResult | None = getattr(task, "_analysis_result", None)
    if result is None:
        result = _analyze(task)
        task._analysis_result = result  # type: ignore[attr-defined]
    return result


def _analyze(task: _Task) -> AnalysisResult:
    function = _underlying(task.func)
    definition = _definition(function)
    if definition is None:
        return AnalysisResult([])
    visitor = TcoVisitor(ReferenceResolver(function), task)
    visitor.generic_visit(definition)
    return AnalysisResult(visitor.potential_targets, visitor.has_dynamic_recursion)


def _underlying(func: Any) -> Any:
    """Return the function whose source ``inspect.getsource`` finds: below methods and well-behaved decorators."""
    met: list[Any] = []
    while not any(func is known for known in met):
        met.append(func)
        if type(func) is MethodType:
            func = func.__func__
        wrapped = static_member(func, "__wrapped__")
        func = func if wrapped is MISSING else wrapped
    return func


def _definition(function: Any) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """Return the syntax tree of a function, or None where the source cannot be had or is not a ``def``."""
    if not inspect.isfunction(function):
        return None
    try:
        tree = _parse_alone(inspect.getsource(function))
    # The source may be gone, changed on disk, or nested deeper than the parser goes: then it says nothing.
    except _UNREADABLE:
        return None
    definition = tree.body[0] if tree.body else None
    found = isinstance(definition, _FUNCTIONS) and definition.name == function.__code__.co_name
    return definition if found else None  # type: ignore[return-value]


def _parse_alone(source: str) -> ast.Module:
    """Parse while no other analysis does; again, if another library's parser came between."""
    is_alone = _PARSING.acquire(timeout=_PATIENCE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever imported the module has been warned
            try:
                return _parse(source)
            except SystemError:
                return _parse(source)
    finally:
        if is_alone:
            _PARSING.release()


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(textwrap.dedent(source))
    except IndentationError:
        # Text at the left margin, such as a multi-line string in a method, keeps dedent from doing its work.
        block = ast.parse("if True:\n" + source).body[0]
        return ast.Module(body=getattr(block, "body", []), type_ignores=[])


def assign_tco_cycle_ids(root_task: _Task) -> None:
    """Give the tasks of each tail-call cycle that ``root_task`` reaches one id, as ``_tco_cycle_id``.

    Every task that is visited gets ``_tco_analysis_done`` and is not visited again.
    """
    path: list[_Task] = []
    position: dict[_Task, int] = {}
    stack = [iter((root_task,))]
    while stack:
        task = next(stack[-1], None)
        if task is None:
            stack.pop()
            if path:
                del position[path.pop()]
        elif task in position:
            _mark_cycle(path[position[task] :])
        elif not getattr(task, "_tco_analysis_done", False):
            task._tco_analysis_done = True  # type: ignore[attr-defined]
            task._potential_tco_targets = analyze_task_source(task).targets
            position[task] = len(path)
            path.append(task)
            stack.append(iter(task._potential_tco_targets))


def _mark_cycle(members: Sequence[_Task]) -> None:
    from hashlib import md5

    names = "|".join(sorted(member.name for member in members))
    cycle_id = md5(names.encode(), usedforsecurity=False).hexdigest()
    for member in members:
        member._tco_cycle_id = cycle_id  # type: ignore[attr-defined]

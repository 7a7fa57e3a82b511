"""The identities of a call and of a graph.

=====================  ====================================================================================
``structural_id``      the call itself: every call of a default task is one of a kind, calls of a pure task
                       are equal when their content is
``template_id``        the same with one placeholder for every literal
``cache_id``           the content without the instance: equal for equal calls in every process
blueprint hash         the shape of a whole graph
=====================  ====================================================================================

All are 64 hexadecimal digits of SHA-256. Dependencies enter by their ids, so the depth of an expression does not
matter. Ids are computed when somebody reads one, and the encoders are imported then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cascade import _kernel
from cascade.spec.lazy_types import LazyResult, MappedLazyResult
from cascade.spec.resource import Inject
from cascade.spec.routing import Router
from cascade.spec.task import Task

if TYPE_CHECKING:
    from cascade.graph._canonical import Composite
    from cascade.graph.model import Edge, Graph, Node

__all__ = ["BlueprintHasher", "HashingService", "cache_identity"]

_IdOf = Callable[[str], "str | None"]
_Encoder = Callable[[Any], bytes]

_LAZY = (LazyResult, MappedLazyResult)
_SPECIAL = (*_LAZY, Router, Task, Inject)


# ----------------------------------------------------------------------------------------------------- rules


def _no_id(uuid: str) -> None:
    return None


class _IdentityRules:
    """Literals are their content, dependencies their ids, and what has neither is the object itself."""

    def __init__(self, id_of: _IdOf = _no_id) -> None:
        self._id_of = id_of

    def special(self, value: Any) -> bytes | Composite | None:
        """Return the token or the parts of what means something to a graph."""
        kind = type(value)
        if not issubclass(kind, _SPECIAL):
            return None
        from cascade.graph._canonical import leaf, sequence

        if issubclass(kind, _LAZY):
            found = self._id_of(value._uuid)
            return self.stray(value) if found is None else leaf(b"D", found.encode())
        if issubclass(kind, Router):
            return sequence(b"router", (value.selector, value.routes))
        if issubclass(kind, Inject):
            return leaf(b"I", value.resource_name.encode())
        return sequence(b"task", (value.name, value.func))

    def stray(self, value: Any) -> bytes:
        """Return the token of a lazy result that is no dependency, because nobody looks for one where it is."""
        from cascade.graph._canonical import leaf

        return leaf(b"L", value._uuid.encode())

    def opaque(self, value: Any, path: str, reason: str) -> bytes:
        """Return the object's own token."""
        from cascade.graph._functions import object_token

        return object_token(value)


class _CacheRules(_IdentityRules):
    """Literals are their content, dependencies their ids, and anything else is an error."""

    def __init__(self, task: str, id_of: _IdOf = _no_id) -> None:
        super().__init__(id_of)
        self._task = task

    def stray(self, value: Any) -> bytes:
        """Refuse: nobody runs it, so it never has a value."""
        where = "a set, an object or a captured variable"
        return self.opaque(value, where, "holds a call that is not an argument and so has no value")

    def opaque(self, value: Any, path: str, reason: str) -> bytes:
        """Refuse."""
        from cascade.graph.exceptions import UncacheableError

        raise UncacheableError(self._task, path, reason)


# ----------------------------------------------------------------------------------------------------- calls


def _callee(result: Any) -> Any:
    return result.factory if issubclass(type(result), MappedLazyResult) else result.task


def _name(callee: Any) -> str:
    name = getattr(callee, "name", None)
    return name if isinstance(name, str) else type(callee).__name__


def _is_pure(result: Any) -> bool:
    return getattr(_callee(result), "pure", False) is True


def _arguments(result: Any) -> tuple[tuple[Any, ...], list[tuple[str, Any]]]:
    """Return positional arguments and keyword arguments sorted by name."""
    mapped = issubclass(type(result), MappedLazyResult)
    keywords = result.mapping_kwargs if mapped else result.kwargs
    return () if mapped else tuple(result.args), sorted(keywords.items(), key=lambda item: item[0])


def _argument_tokens(result: Any, encode: Callable[[Any, str], bytes]) -> Iterator[bytes]:
    from cascade.graph._canonical import leaf, text

    positional, keywords = _arguments(result)
    yield leaf(b"p", b"%d" % len(positional))
    for index, value in enumerate(positional):
        yield encode(value, str(index))
    for name, value in keywords:
        yield text(name) + encode(value, name)


def _task_token(result: Any, rules: _IdentityRules) -> bytes:
    """Return the token of what is called, once or for each item: name and function content."""
    from cascade.graph._canonical import text
    from cascade.graph._functions import function_token

    callee = _callee(result)
    function = callee.func if issubclass(type(callee), Task) else callee
    return _kind_token(result) + text(_name(callee)) + function_token(function, rules)


def _kind_token(result: Any) -> bytes:
    from cascade.graph._canonical import text

    return text("map" if issubclass(type(result), MappedLazyResult) else "call")


def _policy_tokens(result: Any, encode: _Encoder, template: bool) -> Iterator[bytes]:
    """Retry numbers, cache policy, condition, predecessors, amounts and jump, each with its count or its absence."""
    from cascade.graph import _canonical
    from cascade.graph._functions import object_token

    plain, text, leaf = _IdentityRules(), _canonical.text, _canonical.leaf
    absent, present = leaf(b"-"), leaf(b"+")
    retry, cache, condition = result._retry_policy, result._cache_policy, result._condition
    numbers = None if retry is None else (retry.max_attempts, retry.delay, retry.backoff)
    yield _canonical.encode(numbers, plain)
    if cache is not None:
        yield text(type(cache).__qualname__) if template else object_token(cache)
    yield absent if condition is None else present + encode(condition)
    yield leaf(b"p", b"%d" % len(result._dependencies)) + b"".join(map(encode, result._dependencies))
    amounts = getattr(result._constraints, "requirements", None) or {}
    yield leaf(b"p", b"%d" % len(amounts))
    for name in sorted(amounts):
        yield text(name) + encode(amounts[name])
    jump = getattr(result, "_jump_selector", None)
    if jump is not None:
        yield present if template else object_token(jump)


def _hexdigest(*tokens: bytes) -> str:
    from hashlib import sha256

    return sha256(b"".join(tokens)).hexdigest()


class HashingService:
    """Computes the ids of a call from the ids of its dependencies."""

    def compute_hashes(self, result: Any, dep_nodes: Mapping[str, Node]) -> tuple[str, str]:
        """Return structural and template id; ``dep_nodes`` has the node of each dependency by its ``_uuid``.

        Raises:
            TypeError: ``result`` is no lazy result.
        """
        return self.compute_structural_hash(result, dep_nodes), self.compute_template_hash(result, dep_nodes)

    def compute_structural_hash(self, result: Any, dep_nodes: Mapping[str, Node]) -> str:
        """Return the structural id, see :meth:`compute_hashes`."""
        _check(result)

        def id_of(uuid: str) -> str | None:
            node = dep_nodes.get(uuid)
            return None if node is None else node.structural_id

        return _content_id(result, id_of) if _is_pure(result) else _instance_id(result, id_of)

    def compute_template_hash(self, result: Any, dep_nodes: Mapping[str, Node]) -> str:
        """Return the template id, see :meth:`compute_hashes`."""
        _check(result)
        from cascade.graph._canonical import text
        from cascade.graph._shape import shape

        def id_of(uuid: str) -> str | None:
            node = dep_nodes.get(uuid)
            return None if node is None else node.template_id

        return _hexdigest(
            text("template"),
            _task_token(result, _IdentityRules()),
            *_argument_tokens(result, lambda value, label: shape(value, id_of)),
            *_policy_tokens(result, lambda value: shape(value, id_of), template=True),
        )


def _check(result: Any) -> None:
    if not issubclass(type(result), _LAZY):
        raise TypeError(f"Cannot compute hash for type {type(result).__name__}: only calls of tasks have ids")


def _instance_id(result: Any, id_of: _IdOf) -> str:
    """Return the id of a call that is equal to itself only; literals need not be looked at."""
    from cascade.graph._canonical import text
    from cascade.graph._shape import shape

    return _hexdigest(
        text("instance"),
        text(result._uuid),
        *_argument_tokens(result, lambda value, label: shape(value, id_of)),
        *_policy_tokens(result, lambda value: shape(value, id_of), template=False),
    )


def _content_id(result: Any, id_of: _IdOf) -> str:
    """Return the id that a call shares with all equal calls."""
    from cascade.graph._canonical import encode, text

    rules = _IdentityRules(id_of)
    return _hexdigest(
        text("content"),
        _task_token(result, _IdentityRules()),
        *_argument_tokens(result, lambda value, label: encode(value, rules, label)),
        *_policy_tokens(result, lambda value: encode(value, rules), template=False),
    )


def cache_identity(result: Any, dep_ids: Mapping[str, str]) -> str:
    """Return the content of a call without its instance: the same for equal calls in every run and every process.

    It covers the function (module, qualified name, code, defaults, closure cells) and the arguments. It does not
    cover what the function reaches through globals, nor policies: they do not change the value.

    Args:
        result: the call.
        dep_ids: the cache id of each argument that is a call, by its ``_uuid``.

    Raises:
        TypeError: ``result`` is no lazy result.
        UncacheableError: the function or an argument has no canonical content.
    """
    _check(result)
    from cascade.graph._canonical import encode, text
    from cascade.graph._functions import function_token

    callee = _callee(result)
    name = _name(callee)
    function = callee.func if issubclass(type(callee), Task) else callee
    rules = _CacheRules(name, dep_ids.get)
    is_gathered = callee is _kernel.hot._gather  # the kernel's own function, of whichever kernel, has no content
    return _hexdigest(
        _kind_token(result),
        text("gathered") if is_gathered else function_token(function, _CacheRules(name), "its function"),
        *_argument_tokens(result, lambda value, label: encode(value, rules, f"argument {label}")),
    )


# ---------------------------------------------------------------------------------------------------- graphs


class BlueprintHasher:
    """Hashes the shape of a graph: names, types, policies and edges; of literals only which are there."""

    def compute_hash(self, graph: Graph) -> str:
        """Return the blueprint hash of a graph; nodes count by their position."""
        from hashlib import sha256

        from cascade.graph._canonical import encode

        rules = _IdentityRules()
        digest = sha256(encode(len(graph.nodes), rules))
        for node in graph.nodes:
            digest.update(encode(_node_shape(node), rules))
        positions = {id(node): index for index, node in enumerate(graph.nodes)}
        routers: dict[int, int] = {}
        for edge in graph.edges:
            digest.update(encode(_edge_shape(edge, positions, routers), rules))
        return digest.hexdigest()


def _node_shape(node: Node) -> tuple[Any, ...]:
    retry, cache, constraints = node.retry_policy, node.cache_policy, node.constraints
    return (
        node.name,
        node.node_type,
        node.is_shadow,
        None if retry is None else (retry.max_attempts, retry.delay, retry.backoff),
        None if cache is None else type(cache).__qualname__,
        sorted(constraints.requirements) if constraints else [],
        sorted(node.input_bindings),
    )


def _edge_shape(edge: Edge, positions: Mapping[int, int], routers: dict[int, int]) -> tuple[Any, ...]:
    router = None if edge.router is None else routers.setdefault(id(edge.router), len(routers))
    ends = (positions.get(id(edge.source)), positions.get(id(edge.target)))
    return (*ends, edge.arg_name, edge.edge_type.name, router)

"""What runs in a compute process: take a request, call the function, answer."""

from __future__ import annotations

import pickle
import signal
import traceback
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

__all__ = ["Answer", "serve"]


class Answer(NamedTuple):
    """The pickled value or error (None where it cannot be pickled); of an error also its kind, text and traceback."""

    content: bytes | None
    kind: str = ""
    text: str = ""
    traceback: str | None = None


def serve(connection: Connection[bytes, bytes]) -> None:
    """Answer requests until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    while True:
        try:
            request = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(pickle.dumps(_answer(request)))


def _answer(request: bytes) -> Answer:
    try:
        value = _call(request)
    except BaseException as error:  # whoever awaits the result decides, also about SystemExit
        return _failure(error)
    try:
        return Answer(pickle.dumps(value))
    except Exception as error:  # pickling runs methods of any value
        return _failure(TypeError(f"the result, a {type(value).__name__}, cannot be sent back: {error}"))


def _call(request: bytes) -> Any:
    from cascade.graph._lookup import MISSING, find
    from cascade.spec.task import Task

    module, qualname, args, kwargs = pickle.loads(request)
    import_module(module)
    found = find(module, qualname)
    if found is MISSING:
        raise TypeError(f"{module}.{qualname} is not defined when {module} is imported in another process")
    function = found.func if isinstance(found, Task) else found
    try:
        return function(*args, **kwargs)
    except StopIteration as stop:
        raise RuntimeError("coroutine raised StopIteration") from stop


def _failure(error: BaseException) -> Answer:
    shown = "".join(traceback.format_exception(error))
    try:
        content: bytes | None = pickle.dumps(error)
        pickle.loads(content or b"")  # an error class may pickle well and not come back
    except Exception:  # then its kind and text have to do
        content = None
    return Answer(content, type(error).__name__, str(error), shown)

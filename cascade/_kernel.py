"""Chooses the kernel: the compiled ``_hot``, or its twin ``_hot_py`` with ``CASCADE_PURE=1`` or without an extension.

Every other module takes the kernel's names from here, so that all parts of a process use one kernel.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

__all__ = [
    "AFTER",
    "ARGUMENT",
    "AWAIT",
    "CACHE",
    "CONDITION",
    "CONSTANT_CONDITION",
    "CONSTRAINTS",
    "DICT",
    "DIRECT",
    "DONE",
    "FAILED",
    "GROUP",
    "INJECT",
    "JUMP",
    "KIND",
    "LEAF",
    "LIST",
    "MAP",
    "MAPPED",
    "RETRY",
    "ROUTER",
    "SHARED",
    "STEP",
    "TUPLE",
    "YIELD",
    "Frame",
    "Inject",
    "Jump",
    "LazyResult",
    "MappedLazyResult",
    "Program",
    "ProgramCache",
    "RetryPolicy",
    "Router",
    "Routine",
    "TailCall",
    "Task",
    "call_of",
    "compile_program",
    "continuation",
    "find_injects",
    "holds_calls",
    "hot",
    "install",
    "kernel_name",
    "layers",
    "rehydrate",
    "run",
    "run_items",
    "trace",
    "walks",
]

if TYPE_CHECKING or os.environ.get("CASCADE_PURE", "") not in ("", "0"):
    from cascade import _hot_py as hot
else:
    try:
        import cascade._hot as hot
    except ModuleNotFoundError as _error:
        if _error.name != "cascade._hot":
            raise
        from cascade import _hot_py as hot

if TYPE_CHECKING:
    from cascade._hot_py import (
        AFTER,
        ARGUMENT,
        AWAIT,
        CACHE,
        CONDITION,
        CONSTANT_CONDITION,
        CONSTRAINTS,
        DICT,
        DIRECT,
        DONE,
        FAILED,
        GROUP,
        INJECT,
        JUMP,
        KIND,
        LEAF,
        LIST,
        MAP,
        MAPPED,
        RETRY,
        ROUTER,
        SHARED,
        STEP,
        TUPLE,
        YIELD,
        Frame,
        Inject,
        Jump,
        LazyResult,
        MappedLazyResult,
        Program,
        ProgramCache,
        RetryPolicy,
        Router,
        Routine,
        TailCall,
        Task,
        call_of,
        compile_program,
        continuation,
        find_injects,
        holds_calls,
        install,
        kernel_name,
        layers,
        rehydrate,
        run,
        run_items,
        trace,
        walks,
    )
else:
    globals().update({_name: getattr(hot, _name) for _name in __all__ if _name != "hot"})

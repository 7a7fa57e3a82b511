# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, nonecheck=False
# cython: cdivision=True, binding=True, embedsignature=False, freethreading_compatible=False
"""The kernel, compiled: lazy results, tracer, programs and the hot loop. ``_hot_py.py`` says in Python what this does.

Memory. A frame owns what it runs: per operation the callee, the call's values and the result; per level the program and
the leaves. They lie in arrays that grow and shrink like a stack, so a step allocates nothing and depth costs only memory.
Arguments are borrowed from tuples that the frame owns; whatever is read from a list, a dict or an attribute is owned.

Tracing uses scratch buffers of the module. It runs no Python code and allocates no object that the garbage collector
knows, so that nothing can re-enter it; a test fails when that changes.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport int8_t, int32_t, int64_t, intptr_t, uint64_t, uintptr_t
from libc.string cimport memcmp, memcpy, memset

import atexit
import dataclasses
import gc
import inspect
import itertools
import os
import sys
import types
import weakref
from array import array as _array
from time import monotonic as _py_monotonic

cdef extern from *:
    """
    #include <Python.h>
    #include <stddef.h>
    #ifndef CASCADE_DEBUG
    #define CASCADE_DEBUG 0
    #endif
    /* Buffers come from Python's allocator. In builds for tests the n-th allocation of the kernel from now on can be made
       to fail: see _fail_allocation(). */
    #if CASCADE_DEBUG || defined(CYTHON_TRACE) && CYTHON_TRACE
    static Py_ssize_t cascade_until_failure = 0;
    #define CASCADE_FAILS (cascade_until_failure > 0 && --cascade_until_failure == 0)
    static Py_ssize_t cascade_fail(Py_ssize_t number) {
        Py_ssize_t left = cascade_until_failure;
        cascade_until_failure = number;
        return left;
    }
    #else
    #define CASCADE_FAILS 0
    static Py_ssize_t cascade_fail(Py_ssize_t number) { (void)number; return -1; }
    #endif
    static inline void *cascade_malloc(size_t size) { return CASCADE_FAILS ? NULL : PyMem_Malloc(size); }
    static inline void *cascade_calloc(size_t count, size_t size) {
        return CASCADE_FAILS ? NULL : PyMem_Calloc(count, size);
    }
    static inline void *cascade_realloc(void *old, size_t size) { return CASCADE_FAILS ? NULL : PyMem_Realloc(old, size); }
    static inline PyObject *cascade_tuple(Py_ssize_t size) { return CASCADE_FAILS ? PyErr_NoMemory() : PyTuple_New(size); }
    static inline PyObject *cascade_list(Py_ssize_t size) { return CASCADE_FAILS ? PyErr_NoMemory() : PyList_New(size); }
    static inline PyObject *cascade_dict(void) { return CASCADE_FAILS ? PyErr_NoMemory() : PyDict_New(); }
    #if defined(__linux__)
    #include <time.h>
    static inline double cascade_now(PyObject *unused) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    }
    #else
    /* the clock behind time.monotonic() differs by platform and version: ask it */
    static double cascade_now(PyObject *clock) {
        PyObject *value = PyObject_CallNoArgs(clock);
        double now;
        if (value == NULL) { PyErr_Clear(); return 1e300; }
        now = PyFloat_AsDouble(value);
        Py_DECREF(value);
        return now;
    }
    #endif
    static inline PyTypeObject *cascade_type(PyObject *o) { return Py_TYPE(o); }
    static inline unsigned long cascade_flags(PyObject *o) { return Py_TYPE(o)->tp_flags; }
    /* The exception that made a call fail, no longer set. CPython 3.11 drops it when there is no memory for a frame that
       its traceback needs: then this is what remains to be said. */
    static PyObject *cascade_caught(void) {
        if (PyErr_Occurred() == NULL) PyErr_NoMemory();
    #if PY_VERSION_HEX >= 0x030C0000
        return PyErr_GetRaisedException();
    #else
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        if (traceback != NULL) PyException_SetTraceback(value, traceback);
        Py_XDECREF(type);
        Py_XDECREF(traceback);
        return value;
    #endif
    }
    static inline PyObject **cascade_items(PyObject *tuple) { return ((PyTupleObject *)tuple)->ob_item; }
    static inline int cascade_is_interned(PyObject *s) { return PyUnicode_CHECK_INTERNED(s) != 0; }
    static inline PyTypeObject *cascade_coroutine(void) { return &PyCoro_Type; }
    static PyObject *cascade_no_arguments;
    static inline PyObject *cascade_new(PyTypeObject *type) {
        return CASCADE_FAILS ? PyErr_NoMemory() : type->tp_new(type, cascade_no_arguments, NULL);
    }
    static void cascade_keep_no_arguments(PyObject *empty) { Py_INCREF(empty); cascade_no_arguments = empty; }
    typedef PyObject *(*cascade_vectorcall)(PyObject *, PyObject *const *, size_t, PyObject *);
    static void cascade_make_vectorcall(PyTypeObject *type, Py_ssize_t offset) {
        type->tp_vectorcall_offset = offset;
        type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
        PyType_Modified(type);
    }
    typedef int (*cascade_visit_all)(PyObject *, void *, void *);
    static traverseproc cascade_base_traverse;
    static cascade_visit_all cascade_frame_visit;
    static int cascade_frame_traverse(PyObject *self, visitproc visit, void *arg) {
        int r = cascade_base_traverse ? cascade_base_traverse(self, visit, arg) : 0;
        return r ? r : cascade_frame_visit(self, (void *)visit, arg);
    }
    static void cascade_patch_traverse(PyTypeObject *type, cascade_visit_all all) {
        cascade_base_traverse = type->tp_traverse;
        cascade_frame_visit = all;
        type->tp_traverse = cascade_frame_traverse;
    }
    static inquiry cascade_base_clear;
    static void (*cascade_frame_clear_all)(PyObject *);
    static int cascade_frame_clear(PyObject *self) {
        cascade_frame_clear_all(self);
        return cascade_base_clear ? cascade_base_clear(self) : 0;
    }
    static void cascade_patch_clear(PyTypeObject *type, void (*all)(PyObject *)) {
        cascade_base_clear = type->tp_clear;
        cascade_frame_clear_all = all;
        type->tp_clear = cascade_frame_clear;
    }
    static int cascade_visit_one(PyObject *o, void *visit, void *arg) { return o ? ((visitproc)visit)(o, arg) : 0; }
    /* the head of a lazy result as Cython lays it out; checked against the type when the module is imported */
    typedef struct { PyObject_HEAD void *methods; int64_t marks[2]; PyObject *references[6]; PyObject *weakrefs; } CascadeLazy;
    /* asks for the head of an object that is looked at soon: in a large expression each one lies somewhere else */
    #if defined(__GNUC__) || defined(__clang__)
    #define cascade_fetch(o) __builtin_prefetch(o)
    #else
    #define cascade_fetch(o) ((void)(o))
    #endif
    static inline PyObject **cascade_references(PyObject *o) { return ((CascadeLazy *)o)->references; }
    static int cascade_is_laid_out(PyTypeObject *type) {
        return type->tp_weaklistoffset == (Py_ssize_t)offsetof(CascadeLazy, weakrefs);
    }
    #define CASCADE_FEW_ITEMS (CASCADE_DEBUG ? 0 : 256) /* are walked without asking what could be among them */
    #define CASCADE_SPARE (CASCADE_DEBUG ? 0 : 256) /* none where memory errors are looked for */
    /* tuples remember their hash from 3.14 on, and so cannot be filled again */
    #define CASCADE_SPARE_VALUES (CASCADE_DEBUG || PY_VERSION_HEX >= 0x030E0000 ? 0 : 32)
    /* Shows the local variables of all Python functions that wait for this call. In other versions than these they may be
       changed while their function waits (or lie elsewhere): none are shown. */
    typedef int (*cascade_visit_local)(PyObject *) ;
    #if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030D0000 && !defined(PYPY_VERSION)
    #ifndef Py_BUILD_CORE
    #define Py_BUILD_CORE 1
    #endif
    #include "internal/pycore_frame.h"
    static int cascade_visit_locals(cascade_visit_local visit) {
        _PyInterpreterFrame *frame = PyThreadState_Get()->cframe->current_frame;
        int i;
        for (; frame != NULL; frame = frame->previous) {
    #if PY_VERSION_HEX >= 0x030C0000
            if (frame->owner == FRAME_OWNED_BY_CSTACK) continue;
    #endif
            for (i = 0; i < frame->f_code->co_nlocalsplus; i++)
                if (frame->localsplus[i] != NULL && visit(frame->localsplus[i]) < 0) return -1;
        }
        return 0;
    }
    #else
    static int cascade_visit_locals(cascade_visit_local visit) { (void)visit; return 0; }
    #endif
    static void cascade_set_vectorcall(PyTypeObject *type, void *function) {
        type->tp_vectorcall = (vectorcallfunc)function; /* subclasses do not inherit it */
    }
    static void cascade_patch_dealloc(PyTypeObject *type, void (*dealloc)(PyObject *)) { type->tp_dealloc = dealloc; }
    static inline void cascade_delete(PyObject *o) { Py_TYPE(o)->tp_free(o); }
    /* a call as PyObject_Vectorcall does it, without looking up what a function is and checking what it returns */
    static inline int cascade_is_function(PyObject *o) { return Py_TYPE(o) == &PyFunction_Type; }
    static inline PyObject *cascade_code(PyObject *function) { return ((PyFunctionObject *)function)->func_code; }
    static inline PyObject *cascade_defaults(PyObject *function) { return ((PyFunctionObject *)function)->func_defaults; }
    static inline PyObject *cascade_kwdefaults(PyObject *function) {
        return ((PyFunctionObject *)function)->func_kwdefaults;
    }
    static inline PyObject *cascade_call(PyObject *function, PyObject **args, size_t nargsf, PyObject *keywords) {
        return ((PyFunctionObject *)function)->vectorcall(function, args, nargsf, keywords);
    }
    #include "_aside.h"
    #define CASCADE_CONTAINER (Py_TPFLAGS_LIST_SUBCLASS | Py_TPFLAGS_TUPLE_SUBCLASS | Py_TPFLAGS_DICT_SUBCLASS)
    /* of types that derive from a common builtin one: no class of this module does */
    #define CASCADE_BUILTIN (CASCADE_CONTAINER | Py_TPFLAGS_LONG_SUBCLASS | Py_TPFLAGS_UNICODE_SUBCLASS \
        | Py_TPFLAGS_BYTES_SUBCLASS)
    """
    void* malloc "cascade_malloc"(size_t) noexcept
    void* calloc "cascade_calloc"(size_t, size_t) noexcept
    void* realloc "cascade_realloc"(void*, size_t) noexcept
    void free "PyMem_Free"(void*) noexcept
    Py_ssize_t cascade_fail(Py_ssize_t) noexcept
    double cascade_now(PyObject*) noexcept
    PyTypeObject* cascade_type(PyObject*) noexcept
    unsigned long cascade_flags(PyObject*) noexcept
    PyObject* cascade_caught() noexcept
    PyObject** cascade_items(PyObject*) noexcept
    bint cascade_is_interned(PyObject*) noexcept
    PyTypeObject* cascade_coroutine() noexcept
    PyObject* cascade_new(PyTypeObject*) noexcept
    void cascade_keep_no_arguments(PyObject*) noexcept
    void cascade_make_vectorcall(PyTypeObject*, Py_ssize_t) noexcept
    ctypedef int (*cascade_visit_all)(PyObject*, void*, void*) noexcept
    void cascade_patch_traverse(PyTypeObject*, cascade_visit_all) noexcept
    ctypedef void (*cascade_clear_all)(PyObject*) noexcept
    void cascade_patch_clear(PyTypeObject*, cascade_clear_all) noexcept
    int cascade_visit_one(PyObject*, void*, void*) noexcept
    PyObject** cascade_references(PyObject*) noexcept
    bint cascade_is_laid_out(PyTypeObject*) noexcept
    Py_ssize_t CASCADE_FEW_ITEMS
    Py_ssize_t CASCADE_SPARE
    Py_ssize_t CASCADE_SPARE_VALUES
    void cascade_fetch(PyObject*) noexcept
    Py_ssize_t REFERENCE_COUNT "Py_REFCNT"(PyObject*) noexcept
    void cascade_patch_dealloc(PyTypeObject*, cascade_clear_all) noexcept
    void cascade_set_vectorcall(PyTypeObject*, void*) noexcept
    ctypedef int (*cascade_visit_local)(PyObject*) noexcept
    int cascade_visit_locals(cascade_visit_local) noexcept
    void cascade_delete(PyObject*) noexcept
    bint cascade_is_function(PyObject*) noexcept
    PyObject* cascade_code(PyObject*) noexcept
    PyObject* cascade_defaults(PyObject*) noexcept
    PyObject* cascade_kwdefaults(PyObject*) noexcept
    PyObject* cascade_call(PyObject*, PyObject**, size_t, PyObject*) noexcept
    bint cascade_find_generations(const int*) noexcept
    void cascade_put_newest_first(PyTypeObject*) noexcept
    void cascade_set_aside(int, bint, PyTypeObject*) noexcept
    void cascade_bring_back() noexcept
    ctypedef struct PyThreadState:
        pass
    PyThreadState* PyThreadState_Get() noexcept
    void NEW_REFERENCE "_Py_NewReference"(PyObject*) noexcept
    void GC_TRACK "PyObject_GC_Track"(PyObject*) noexcept
    void GC_UNTRACK "PyObject_GC_UnTrack"(PyObject*) noexcept
    bint GC_IS_TRACKED "PyObject_GC_IsTracked"(PyObject*) noexcept
    void CLEAR_WEAKREFS "PyObject_ClearWeakRefs"(PyObject*) noexcept
    unsigned long CASCADE_CONTAINER
    unsigned long CASCADE_BUILTIN
    unsigned long Py_TPFLAGS_LIST_SUBCLASS
    unsigned long Py_TPFLAGS_TUPLE_SUBCLASS
    void INCREF "Py_INCREF"(PyObject*) noexcept
    void DECREF "Py_DECREF"(PyObject*) noexcept
    void XINCREF "Py_XINCREF"(PyObject*) noexcept
    void XDECREF "Py_XDECREF"(PyObject*) noexcept
    int PyObject_IsTrue(PyObject*) noexcept
    bint PyErr_ExceptionMatches(PyObject*) noexcept
    void PyErr_Clear() noexcept
    PyObject* PyObject_Vectorcall(PyObject*, PyObject**, size_t, PyObject*) noexcept
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    size_t PyVectorcall_NARGS(size_t) noexcept
    Py_ssize_t TUPLE_SIZE "PyTuple_GET_SIZE"(PyObject*) noexcept
    PyObject* TUPLE_ITEM "PyTuple_GET_ITEM"(PyObject*, Py_ssize_t) noexcept
    void TUPLE_SET "PyTuple_SET_ITEM"(PyObject*, Py_ssize_t, PyObject*) noexcept
    PyObject* TUPLE_NEW "cascade_tuple"(Py_ssize_t) noexcept
    Py_ssize_t LIST_SIZE "PyList_GET_SIZE"(PyObject*) noexcept
    PyObject* LIST_ITEM "PyList_GET_ITEM"(PyObject*, Py_ssize_t) noexcept
    void LIST_SET "PyList_SET_ITEM"(PyObject*, Py_ssize_t, PyObject*) noexcept
    PyObject* LIST_NEW "cascade_list"(Py_ssize_t) noexcept
    PyObject* DICT_NEW "cascade_dict"() noexcept
    int DICT_SET "PyDict_SetItem"(PyObject*, PyObject*, PyObject*) noexcept
    PyObject* DICT_GET "PyDict_GetItemWithError"(PyObject*, PyObject*) noexcept
    int DICT_NEXT "PyDict_Next"(PyObject*, Py_ssize_t*, PyObject**, PyObject**) noexcept
    Py_ssize_t DICT_SIZE "PyDict_GET_SIZE"(PyObject*) noexcept
    PyObject* PyErr_Occurred() noexcept
    void PyErr_SetString(object, const char*) noexcept
    void PyErr_NoMemory() noexcept
    double PyFloat_AS_DOUBLE(PyObject*) noexcept
    int PyObject_RichCompareBool(PyObject*, PyObject*, int) noexcept
    int PY_EQ "Py_EQ"
    void PyUnicode_InternInPlace(PyObject**) noexcept
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(PyObject*, PyObject*, PyObject**) noexcept
    ctypedef struct Py_buffer:
        void* buf
        Py_ssize_t len
    int PyObject_GetBuffer(object, Py_buffer*, int) except -1
    void PyBuffer_Release(Py_buffer*) noexcept
    int PyBUF_SIMPLE
    int PyGC_Disable() noexcept
    int PyGC_Enable() noexcept
    bint PyType_IsSubtype(PyTypeObject*, PyTypeObject*) noexcept
    PyObject* LIST_AS_TUPLE "PyList_AsTuple"(PyObject*) noexcept
    PyObject* PyObject_Call(PyObject*, PyObject*, PyObject*) noexcept

kernel_name = "compiled"

# What run() says, items of a key and flags of a record: see _hot_py.py.
DONE = 0
YIELD = 1
AWAIT = 2
GROUP = 3
STEP = 4
FAILED = 5
MAPPED = 6
LEAF = -1
LIST = -2
TUPLE = -3
DICT = -4
SHARED = -5
ROUTER = -6
INJECT = -7
KIND = -8
ARGUMENT = -9
DIRECT = 1
RETRY = 2
CACHE = 4
CONSTRAINTS = 8
CONDITION = 16
AFTER = 32
JUMP = 64
MAP = 128
CONSTANT_CONDITION = 256
MERGED = 512

cdef enum:
    c_DONE = 0
    c_YIELD = 1
    c_AWAIT = 2
    c_GROUP = 3
    c_STEP = 4
    c_FAILED = 5
    c_MAPPED = 6
    c_ENDED = 7  # of a coroutine that did not suspend: go on
    c_TURN = 8  # of an operation: it is called next
    t_LEAF = -1
    t_LIST = -2
    t_TUPLE = -3
    t_DICT = -4
    t_SHARED = -5
    t_ROUTER = -6
    t_INJECT = -7
    t_KIND = -8
    t_ARGUMENT = -9
    f_DIRECT = 1
    f_RETRY = 2
    f_CACHE = 4
    f_CONSTRAINTS = 8
    f_CONDITION = 16
    f_AFTER = 32
    f_JUMP = 64
    f_MAP = 128
    f_CONSTANT = 256
    f_MERGED = 512
    MERGE_LIMIT = 64  # more distinct calls of one pure task are not compared
    COUNT_BITS = 20
    MEMO_SIZE = 256
    SMALL_CALL = 12
    MOST_OPENED = 16  # containers of one call, for _matches()
    MOST_LEVELS = 4  # of them, one in the other

cdef int64_t COUNT_MASK = (1 << COUNT_BITS) - 1
cdef dict _hooks = {}
cdef Py_ssize_t _live = 0  # lazy results and Routers that exist
cdef Py_ssize_t _live_injects = 0  # inject markers that exist
cdef object _serials = itertools.count(1)


def install(**hooks):
    """Hand over what the kernel needs from the layers above."""
    _hooks.update(hooks)


cdef object _problem(str kind, tuple details):
    return _hooks["problem"](kind, *details)


# ---------------------------------------------------------------------------------------------------- identities

cdef int64_t _uid_next = 1
cdef str _uid_prefix = ""


def _renew_prefix():
    global _uid_prefix
    text = os.urandom(8).hex()
    _uid_prefix = f"{text[:8]}-{text[8:12]}-{text[12:]}-"


_renew_prefix()
if hasattr(os, "register_at_fork"):  # a child must not repeat its parent's identities
    os.register_at_fork(after_in_child=_renew_prefix)


cdef str _new_uid():
    global _uid_next
    number = "%016x" % _uid_next
    _uid_next += 1
    return f"{_uid_prefix}{number[:4]}-{number[4:]}"


def _make_uid():
    return _new_uid()


# ------------------------------------------------------------------------------------------------ tasks and values


@cython.final
cdef class Inject:
    """Marks a default or an argument to be replaced by the resource of that name."""

    cdef public object resource_name
    cdef object __weakref__
    cdef int64_t counted  # the account in which it was counted last, see _injects_are_defaults

    def __cinit__(self):
        global _live_injects
        _live_injects += 1

    def __dealloc__(self):
        global _live_injects
        _live_injects -= 1

    def __init__(self, resource_name):
        self.resource_name = resource_name

    def __repr__(self):
        return f"Inject(resource_name={self.resource_name!r})"

    def __reduce__(self):
        return Inject, (self.resource_name,)


@cython.freelist(64)
cdef class RetryPolicy:
    """``max_attempts`` retries after the first attempt; seconds of ``delay``, multiplied by ``backoff`` each time."""

    cdef public object max_attempts
    cdef public object delay
    cdef public object backoff

    def __init__(self, max_attempts, delay=0.0, backoff=1.0):
        self.max_attempts = max_attempts
        self.delay = delay
        self.backoff = backoff

    def __eq__(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return (self.max_attempts, self.delay, self.backoff) == (other.max_attempts, other.delay, other.backoff)

    __hash__ = None

    def __repr__(self):
        return f"RetryPolicy(max_attempts={self.max_attempts!r}, delay={self.delay!r}, backoff={self.backoff!r})"

    def __reduce__(self):
        return RetryPolicy, (self.max_attempts, self.delay, self.backoff)


@cython.freelist(64)
cdef class Jump:
    """Jump(target_key, data=None)\n--\n
    Returned by a target to continue at the route ``target_key`` with ``data`` as its new arguments.
    """

    cdef public object target_key
    cdef public object data

    def __init__(self, target_key, data=None):
        self.target_key = target_key
        self.data = data

    def __eq__(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return (self.target_key, self.data) == (other.target_key, other.data)

    __hash__ = None

    def __repr__(self):
        return f"{type(self).__qualname__}(target_key={self.target_key!r}, data={self.data!r})"

    def __reduce__(self):
        return type(self), (self.target_key, self.data), getattr(self, "__dict__", None)


@cython.freelist(64)
cdef class TailCall:
    """TailCall(args=None, kwargs=None, target_blueprint_id=None)\n--\n
    Returned by a task to run a blueprint again, or another one when ``target_blueprint_id`` names it.
    """

    cdef object given_args  # None stands for no arguments: the list is made when somebody reads it
    cdef object given_kwargs
    cdef public object target_blueprint_id

    def __init__(self, args=None, kwargs=None, target_blueprint_id=None):
        self.given_args = args
        self.given_kwargs = kwargs
        self.target_blueprint_id = target_blueprint_id

    @property
    def args(self):
        if self.given_args is None:
            self.given_args = []
        return self.given_args

    @args.setter
    def args(self, value):
        self.given_args = value

    @property
    def kwargs(self):
        if self.given_kwargs is None:
            self.given_kwargs = {}
        return self.given_kwargs

    @kwargs.setter
    def kwargs(self, value):
        self.given_kwargs = value

    def __eq__(self, other):
        if type(other) is not type(self):
            return NotImplemented
        mine = (self.args, self.kwargs, self.target_blueprint_id)
        return mine == (other.args, other.kwargs, other.target_blueprint_id)

    __hash__ = None

    def __repr__(self):
        name = type(self).__qualname__
        return f"{name}(args={self.args!r}, kwargs={self.kwargs!r}, target_blueprint_id={self.target_blueprint_id!r})"

    def __reduce__(self):
        found = (self.args, self.kwargs, self.target_blueprint_id)
        return type(self), found, getattr(self, "__dict__", None)


# Loops make one of these at every step. Calls that pass by name what the name's own string says are made here at once.

cdef PyObject* _jump_vectorcall(PyObject* cls, PyObject** args, size_t nargsf, PyObject* kwnames) noexcept:
    cdef Py_ssize_t npos = <Py_ssize_t>PyVectorcall_NARGS(nargsf)
    cdef Py_ssize_t named = TUPLE_SIZE(kwnames) if kwnames != NULL else 0
    cdef PyObject* made
    if npos < 1 or npos + named > 2 or (named and TUPLE_ITEM(kwnames, 0) != <PyObject*>_DATA):
        return _made_slowly(cls, args, npos, kwnames)
    made = cascade_new(T_JUMP)
    if made == NULL:
        return NULL
    (<Jump>made).target_key = <object>args[0]
    if npos + named == 2:
        (<Jump>made).data = <object>args[1]
    return made


cdef PyObject* _tail_call_vectorcall(PyObject* cls, PyObject** args, size_t nargsf, PyObject* kwnames) noexcept:
    cdef Py_ssize_t npos = <Py_ssize_t>PyVectorcall_NARGS(nargsf), i
    cdef Py_ssize_t named = TUPLE_SIZE(kwnames) if kwnames != NULL else 0
    cdef PyObject* found[3]
    cdef PyObject* name
    cdef PyObject* made
    found[0] = found[1] = found[2] = <PyObject*>None
    if npos + named > 3:
        return _made_slowly(cls, args, npos, kwnames)
    for i in range(npos):
        found[i] = args[i]
    for i in range(named):
        name = TUPLE_ITEM(kwnames, i)
        if name == <PyObject*>_ARGS and npos < 1:
            found[0] = args[npos + i]
        elif name == <PyObject*>_KWARGS and npos < 2:
            found[1] = args[npos + i]
        elif name == <PyObject*>_ID and npos < 3:
            found[2] = args[npos + i]
        else:
            return _made_slowly(cls, args, npos, kwnames)
    made = cascade_new(T_TAIL_CALL)
    if made == NULL:
        return NULL
    (<TailCall>made).given_args = <object>found[0]
    (<TailCall>made).given_kwargs = <object>found[1]
    (<TailCall>made).target_blueprint_id = <object>found[2]
    return made


cdef PyObject* _made_slowly(PyObject* cls, PyObject** args, Py_ssize_t npos, PyObject* kwnames) noexcept:
    """Make an instance by its __init__, which knows what is wrong with the arguments."""
    cdef Py_ssize_t i
    cdef list positional = []
    cdef dict named = {}
    cdef object made
    try:
        for i in range(npos):
            positional.append(<object>args[i])
        if kwnames != NULL:
            for i in range(TUPLE_SIZE(kwnames)):
                named[<object>TUPLE_ITEM(kwnames, i)] = <object>args[npos + i]
        made = (<object>cls).__new__(<object>cls)
        made.__init__(*positional, **named)
    except BaseException as error:
        _set_error(error)
        return NULL
    INCREF(<PyObject*>made)
    return <PyObject*>made


cdef object _DATA = sys.intern("data")
cdef object _ARGS = sys.intern("args")
cdef object _KWARGS = sys.intern("kwargs")
cdef object _ID = sys.intern("target_blueprint_id")
cdef PyTypeObject* T_JUMP = <PyTypeObject*>Jump
cdef PyTypeObject* T_TAIL_CALL = <PyTypeObject*>TailCall
cascade_set_vectorcall(T_JUMP, <void*>_jump_vectorcall)
cascade_set_vectorcall(T_TAIL_CALL, <void*>_tail_call_vectorcall)


cdef inline bint _is_a(PyObject* value, PyTypeObject* kind) noexcept:
    return cascade_type(value) == kind or PyType_IsSubtype(cascade_type(value), kind)


@cython.final
cdef class Callee:
    """What a task is at one moment: never changed, replaced as a whole, told apart by a serial that is never reused."""

    cdef readonly object func
    cdef readonly object name
    cdef readonly object mode
    cdef readonly bint pure
    cdef readonly bint is_async
    cdef readonly int64_t serial
    cdef tuple _injects
    cdef tuple _parameters
    cdef Py_ssize_t place  # among the callees whose functions had inject markers as defaults, or -1
    cdef object __weakref__

    def __cinit__(self, func, name, pure, mode, is_async):  # not __init__: what runs may hold no reference of its own
        self.place = -1
        self.func = func
        self.name = name
        self.pure = pure
        self.mode = mode
        self.is_async = is_async
        self.serial = next(_serials)
        if type(func) is types.FunctionType and _has_injecting_defaults(func):
            _list_callee(self)

    def __dealloc__(self):
        if self.place >= 0:
            _unlist_callee(self.place)

    @property
    def injects(self):
        """Injected parameters as (name, position or -1, resource name); position -2: positional-only."""
        if self._injects is None:
            self._injects = find_injects(self.func)
        return self._injects

    @property
    def parameters(self):
        """Names of the parameters that may be passed by position and by name, in order."""
        if self._parameters is None:
            self._parameters = _find_parameters(self.func)
        return self._parameters


cdef PyObject** _injecting = NULL  # callees whose functions had inject markers as defaults, borrowed
cdef Py_ssize_t _injecting_count = 0, _injecting_room = 0


cdef bint _has_injecting_defaults(func) except -1:
    defaults = [*(func.__defaults__ or ()), *(func.__kwdefaults__ or {}).values()]
    return any([type(one) is Inject for one in defaults])


cdef int _list_callee(Callee callee) except -1:
    global _injecting_count
    if _injecting_count == _injecting_room:
        if _grow(<void**>&_injecting, &_injecting_room, sizeof(PyObject*), 0) < 0:
            raise MemoryError()
    callee.place = _injecting_count
    _injecting[_injecting_count] = <PyObject*>callee
    _injecting_count += 1
    return 0


cdef void _unlist_callee(Py_ssize_t place) noexcept:
    """Let the last one have the place of a callee that dies."""
    global _injecting_count
    _injecting_count -= 1
    if place < _injecting_count:
        _injecting[place] = _injecting[_injecting_count]
        (<Callee>_injecting[place]).place = place


def find_injects(func):
    """Return the parameters of ``func`` whose default is an inject marker, see ``Callee.injects``."""
    if not getattr(func, "__defaults__", None) and not getattr(func, "__kwdefaults__", None):
        if type(func) is types.FunctionType and not hasattr(func, "__wrapped__"):
            return ()
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        return ()
    positions = {inspect.Parameter.KEYWORD_ONLY: -1, inspect.Parameter.POSITIONAL_ONLY: -2}
    return tuple([
        (p.name, positions.get(p.kind, index), p.default.resource_name)
        for index, p in enumerate(parameters)
        if type(p.default) is Inject
    ])


def _find_parameters(func):
    """Return the parameters of ``func``, see ``Callee.parameters``."""
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        return ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple([p.name if p.kind == kinds[1] else "" for p in parameters if p.kind in kinds])


cdef object _is_async(func):
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(type(func).__call__)


cdef object _check_name(name):
    """Return a name as a plain text: subclasses of str, such as enumerations, print as they like."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a task is a text, not {name!r}")
    return str.__str__(name)


cdef int _refuse_hidden_injects(func) except -1:
    """Refuse inject markers as defaults of positional-only parameters: nobody can give such a parameter by name."""
    defaults, code = getattr(func, "__defaults__", None), getattr(func, "__code__", None)
    count = getattr(code, "co_posonlyargcount", 0)
    if not defaults or type(count) is not int or not count:
        return 0
    first = code.co_argcount - len(defaults)
    for at in range(first, count):
        if at >= 0 and type(defaults[at - first]) is Inject:
            raise TypeError(
                f"parameter {code.co_varnames[at]!r} of {code.co_name}() is positional-only, so nothing can be "
                "injected into it: put it behind the '/'"
            )
    return 0


cdef inline bint _is_finite(value) noexcept:
    """Whether a value is an int or a float that is neither infinite nor NaN; others are looked at more closely."""
    return type(value) is int or type(value) is float and <double>value - <double>value == 0.0


cdef object _check_mode(mode):
    if mode is not None and mode not in ("blocking", "compute"):
        raise ValueError(f"task mode must be None, 'blocking' or 'compute', not {mode!r}")
    return mode


cdef Callee _UNMADE = Callee(None, "unmade task", False, None, False)  # of a task whose __init__ has not run


ctypedef PyObject* (*vectorcall_t)(PyObject*, PyObject**, size_t, PyObject*) noexcept


@cython.final
cdef class Task:
    """A function whose calls are lazy.

    Calling a task runs nothing: it returns a :class:`LazyResult`. To type checkers the call has the return type of the
    function, so that tasks can call tasks as functions call functions.

    Raises:
        TypeError: ``func`` cannot be called.
        ValueError: ``mode`` is not None, ``"blocking"`` or ``"compute"``.
    """

    cdef vectorcall_t vectorcall
    cdef Callee _callee
    cdef dict __dict__
    cdef object __weakref__

    def __cinit__(self, *args, **kwargs):
        self.vectorcall = _task_vectorcall
        self._callee = _UNMADE

    def __init__(self, func, name=None, pure=False, mode=None):
        if not callable(func):
            raise TypeError(f"a task needs a function, not {type(func).__name__}")
        for attribute in ("__module__", "__qualname__", "__doc__"):
            if hasattr(func, attribute):
                setattr(self, attribute, getattr(func, attribute))
        vars(self)["__wrapped__"] = vars(self)["func"] = func
        setattr(self, "_potential_tco_targets", None)
        _refuse_hidden_injects(func)
        shown = _check_name(name or getattr(func, "__name__", None) or type(func).__name__)
        self._callee = Callee(func, shown, bool(pure), _check_mode(mode), _is_async(func))

    def __class_getitem__(cls, item):
        return types.GenericAlias(cls, item)

    def __call__(self, *args, **kwargs):
        return LazyResult(self, args, kwargs)

    def map(self, **kwargs):
        """Return a lazy list: one call for each index of the given sequences, which must have one length."""
        return MappedLazyResult(self, kwargs)

    def __repr__(self):
        return f"<Task {self._callee.name}>"

    def __reduce__(self):
        return getattr(self, "__qualname__")

    def _replace(self, **changes):
        old = self._callee
        now = {n: getattr(old, n) for n in ("func", "name", "pure", "mode", "is_async")} | changes
        self._callee = Callee(now["func"], now["name"], now["pure"], now["mode"], now["is_async"])

    @property
    def func(self):
        """The function. Setting it takes effect with the next step.

        It is in the instance's dictionary too, where ``unittest.mock.patch`` looks for what to put back.
        """
        return self._callee.func

    @func.setter
    def func(self, func):
        _refuse_hidden_injects(func)
        vars(self)["__wrapped__"] = vars(self)["func"] = func
        self._replace(func=func, is_async=_is_async(func))

    @property
    def name(self):
        """Name in events and errors."""
        return self._callee.name

    @name.setter
    def name(self, name):
        self._replace(name=_check_name(name))

    @property
    def pure(self):
        """Whether equal calls within one expression are one call."""
        return self._callee.pure

    @pure.setter
    def pure(self, pure):
        self._replace(pure=pure)

    @property
    def mode(self):
        """None: on the event loop's thread; ``"blocking"``: in a thread; ``"compute"``: in a process."""
        return self._callee.mode

    @mode.setter
    def mode(self, mode):
        self._replace(mode=_check_mode(mode))

    @property
    def is_async(self):
        """Whether the function is a coroutine function."""
        return self._callee.is_async

    @is_async.setter
    def is_async(self, is_async):
        self._replace(is_async=is_async)

    @property
    def injects(self):
        """Injected parameters, see ``Callee.injects``."""
        return self._callee.injects

    @property
    def _signature(self):
        try:
            return inspect.signature(self._callee.func)
        except (TypeError, ValueError):
            return None


cdef PyObject* _task_vectorcall(PyObject* self, PyObject** args, size_t nargsf, PyObject* kwnames) noexcept:
    """Make a lazy result of a call: one tuple for the values, the caller's tuple for the names."""
    cdef Py_ssize_t npos = <Py_ssize_t>PyVectorcall_NARGS(nargsf)
    cdef Py_ssize_t count = npos + (TUPLE_SIZE(kwnames) if kwnames != NULL else 0)
    cdef Py_ssize_t i
    cdef PyObject* values
    cdef bint again = count < r_SIZES and _spare_values_count[count] > 0
    if again:
        _spare_values_count[count] -= 1
        values = _spare_values[count][_spare_values_count[count]]
    else:
        values = TUPLE_NEW(count)
        if values == NULL:
            return NULL
    for i in range(count):
        INCREF(args[i])
        TUPLE_SET(values, i, args[i])
    if again:
        GC_TRACK(values)
    return _new_lazy(self, values, kwnames if count > npos else NULL)


# Lazy results come and go at every step. Those that are gone are kept for the next: untracked, without weak references,
# without source and values, None (owned) in each of the other references. The mark may stay: its trace is over.

cdef enum:
    MANY = 1 << 13  # lazy results
    r_SOURCE = 0
    r_VALUES = 1
    r_NAMES = 2
    r_KEYWORDS = 3
    r_RETRY = 4
    r_EXTRAS = 5
    r_WEAKREFS = 6
    r_SIZES = 17  # of tuples that are kept, and one more

cdef PyObject* _spare[256]
cdef Py_ssize_t _spare_count = 0
cdef PyObject* _spare_values[r_SIZES][32]  # tuples by size: owned alone, untracked, empty
cdef Py_ssize_t _spare_values_count[r_SIZES]
memset(_spare_values_count, 0, sizeof(_spare_values_count))


cdef inline PyObject* _new_lazy(PyObject* source, PyObject* values, PyObject* names) noexcept:
    """Make a lazy result; takes ``values`` over. ``names`` may be NULL."""
    global _live, _spare_count
    cdef PyObject* made
    cdef PyObject** references
    if _spare_count:
        _live += 1
        _spare_count -= 1
        made = _spare[_spare_count]
        NEW_REFERENCE(made)
        references = cascade_references(made)
    else:
        if _live >= _many:
            _mind_many()
        made = cascade_new(T_LAZY)
        if made == NULL:
            DECREF(values)
            return NULL
        GC_UNTRACK(made)
        references = cascade_references(made)
        DECREF(references[r_SOURCE])  # None
        DECREF(references[r_VALUES])
    INCREF(source)
    references[r_SOURCE] = source
    references[r_VALUES] = values
    if names != NULL:
        DECREF(references[r_NAMES])
        INCREF(names)
        references[r_NAMES] = names
    GC_TRACK(made)
    return made


cdef void _free_lazy(PyObject* self) noexcept:
    global _live
    _live -= 1
    GC_UNTRACK(self)
    if cascade_references(self)[r_WEAKREFS] != NULL:
        CLEAR_WEAKREFS(self)
    if _live < MANY:
        _take_apart(self)
    else:
        _take_apart_in_turn(self)


# Where many live, those that go because another one goes wait until it is gone, in the order in which they come: a large
# expression is freed in the order in which it lies in memory, not from the top to the bottom again and again.

cdef enum:
    MOST_WAIT = 1000  # a finaliser may drop any number, and go on for any time

cdef PyObject* _next_gone = NULL  # linked by their marks
cdef PyObject* _last_gone
cdef Py_ssize_t _gone_count = 0
cdef PyThreadState* _freeing = NULL  # the thread that is at it; another one does not leave its own to it


cdef void _take_apart_in_turn(PyObject* self) noexcept:
    global _next_gone, _last_gone, _gone_count, _freeing
    cdef PyThreadState* here = PyThreadState_Get()
    if _freeing == NULL:
        _freeing = here
        _take_apart(self)
        while _next_gone != NULL:
            self = _next_gone
            _next_gone = <PyObject*><intptr_t>(<_Lazy>self).mark
            _gone_count -= 1
            (<_Lazy>self).mark = 0
            _take_apart(self)
        _freeing = NULL
    elif _freeing != here or _gone_count == MOST_WAIT:
        _take_apart(self)
    else:
        (<_Lazy>self).mark = 0
        if _next_gone == NULL:
            _next_gone = self
        else:
            (<_Lazy>_last_gone).mark = <int64_t><intptr_t>self
        _last_gone = self
        _gone_count += 1


def _forget_other_threads():
    """In a forked process the thread that was freeing may not exist, and nobody goes on with what waits for it."""
    global _next_gone, _gone_count, _freeing
    if _freeing != PyThreadState_Get():
        _next_gone = _freeing = NULL
        _gone_count = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


cdef void _take_apart(PyObject* self) noexcept:
    global _spare_count
    cdef PyObject** references = cascade_references(self)
    cdef PyObject* none = <PyObject*>None
    if references[r_NAMES] != none:
        _empty(references + r_NAMES)
    if references[r_RETRY] != none:
        _empty(references + r_RETRY)
    if references[r_KEYWORDS] != none:
        _empty(references + r_KEYWORDS)
    if references[r_EXTRAS] != none:
        _empty(references + r_EXTRAS)
    DECREF(references[r_SOURCE])
    DECREF(references[r_VALUES])
    if _spare_count < CASCADE_SPARE:
        _spare[_spare_count] = self
        _spare_count += 1
        return
    DECREF(none)
    DECREF(none)
    DECREF(none)
    DECREF(none)
    cascade_delete(self)


# Where many lazy results live, those that have survived a collection are set aside until the next full one, see _aside.h.

cdef int64_t _NEVER = <int64_t>1 << 62
cdef int64_t _many = MANY  # with so many we see to it that we are told of collections
cdef bint _sets_aside = False


cdef void _mind_many() noexcept:
    global _many
    _many = 2 * _live
    try:
        if not _sets_aside:
            _begin_to_set_aside()
        elif not _is_told():
            gc.callbacks.append(_on_collection)
    except MemoryError:
        return  # when there are twice as many


cdef int _begin_to_set_aside() except -1:
    global _many, _sets_aside
    cdef int[3] thresholds
    thresholds[0], thresholds[1], thresholds[2] = gc.get_threshold()
    if not cascade_find_generations(thresholds):
        _many = _NEVER
        return 0
    gc.callbacks.append(_on_collection)
    _sets_aside = True
    return 0


cdef bint _is_told() except -1:
    for one in gc.callbacks:
        if one is _on_collection:
            return True
    return False


@atexit.register
def _end_setting_aside():
    """Leave all lazy results to the collector before the interpreter ends: its last collections tell nobody."""
    global _many, _sets_aside
    if _sets_aside:
        cascade_bring_back()
    _many = _NEVER
    _sets_aside = False


def _on_collection(str phase, dict info):
    """Bring back what was set aside before a full collection; after any, set aside what has survived."""
    global _many
    cdef object generation = info.get("generation")
    cdef int number
    if not _sets_aside or type(generation) is not int or not 0 <= generation <= 2:
        return
    number = generation
    if phase == "start":
        cascade_put_newest_first(T_LAZY)
        if number == 2:
            cascade_bring_back()
    else:
        if _live >= MANY:
            cascade_set_aside(min(number + 1, 2), number == 2, T_LAZY)
        _many = max(MANY, 2 * _live)


cdef inline void _drop_values(PyObject* values) noexcept:
    """Let go of the values of a call; a tuple that nobody else holds is kept for another call."""
    cdef Py_ssize_t size = TUPLE_SIZE(values)
    if REFERENCE_COUNT(values) == 1 and 0 < size < r_SIZES and cascade_type(values) == <PyTypeObject*>tuple:
        _keep_values(values, size)
    else:
        DECREF(values)


cdef void _keep_values(PyObject* values, Py_ssize_t size) noexcept:
    cdef PyObject** items = cascade_items(values)
    cdef PyObject* old
    cdef Py_ssize_t i
    GC_UNTRACK(values)  # first: nobody may come upon it while what runs below finds it half empty
    for i in range(size):
        old = items[i]
        items[i] = NULL
        DECREF(old)
    if _spare_values_count[size] < CASCADE_SPARE_VALUES:
        _spare_values[size][_spare_values_count[size]] = values
        _spare_values_count[size] += 1
    else:
        DECREF(values)


cdef inline void _empty(PyObject** reference) noexcept:
    cdef PyObject* old = reference[0]
    INCREF(<PyObject*>None)
    reference[0] = <PyObject*>None
    DECREF(old)


cascade_keep_no_arguments(<PyObject*>())


@cython.final
@cython.freelist(64)
@cython.trashcan(True)  # a condition may have a condition, and so on
cdef class _Extras:
    """The rarely used attributes of a lazy result."""

    cdef object uid
    cdef object cache
    cdef object condition
    cdef object test  # the lazy result that judges: the condition itself, or a call that returns a Router's value
    cdef object constraints
    cdef dict amounts  # of the constraints, see _amounts
    cdef int64_t amounts_attempt
    cdef list predecessors
    cdef object jump


cdef class _Lazy:
    """What both kinds of lazy result share: a source (task or factory), values with names, policies, and marks.

    ``values`` holds positional values followed by those of ``names``. Once somebody has read ``kwargs``, the keywords
    live in ``keywords`` alone, because the dict may be changed.
    """

    # see CascadeLazy; a trace reads the type and the marks of each argument, so they share a cache line
    cdef int64_t mark  # the trace that has met this lazy
    cdef int64_t register  # its operation there; -1 while its dependencies are being walked
    cdef object source
    cdef tuple values
    cdef tuple names
    cdef dict keywords
    cdef object retry
    cdef _Extras extras
    cdef object __weakref__

    cdef _Extras more(self):
        cdef _Extras made
        if self.extras is None:
            made = _Extras.__new__(_Extras)
            if self.extras is None:  # a finaliser that ran just now may have asked for it
                self.extras = made
        return self.extras

    def __cinit__(self):
        global _live
        _live += 1

    def __dealloc__(self):  # of a map; _free_lazy counts the others
        global _live
        _live -= 1

    cdef dict open_keywords(self):
        """Move the keywords into a dict that may be handed out."""
        cdef Py_ssize_t npos, i
        cdef tuple names = self.names, values
        cdef dict found
        if self.values is None:  # __init__ has not run
            self.values = ()
        values = self.values
        if self.keywords is None:
            found = {}
            if names is not None:
                npos = len(values) - len(names)
                for i in range(len(names)):  # hashing a name may run anything
                    found[names[i]] = values[npos + i]
                values = values[:npos]
            if self.keywords is None:  # nor has anybody else moved them meanwhile
                self.values = values
                self.names = None
                self.keywords = found
        return self.keywords

    @property
    def _uuid(self):
        cdef _Extras extras = self.more()
        if extras.uid is None:
            extras.uid = _new_uid()
        return extras.uid

    @_uuid.setter
    def _uuid(self, value):
        self.more().uid = value

    @property
    def _retry_policy(self):
        return self.retry

    @_retry_policy.setter
    def _retry_policy(self, value):
        self.retry = value

    @property
    def _cache_policy(self):
        return None if self.extras is None else self.extras.cache

    @_cache_policy.setter
    def _cache_policy(self, value):
        self.more().cache = value

    @property
    def _condition(self):
        return None if self.extras is None else self.extras.condition

    @_condition.setter
    def _condition(self, value):
        _set_condition(self.more(), value)

    @property
    def _constraints(self):
        return None if self.extras is None else self.extras.constraints

    @_constraints.setter
    def _constraints(self, value):
        self.more().constraints = value

    @property
    def _dependencies(self):
        cdef _Extras extras = self.more()
        if extras.predecessors is None:
            extras.predecessors = []
        return extras.predecessors

    @_dependencies.setter
    def _dependencies(self, value):
        self.more().predecessors = value if type(value) is list else list(value)

    def __hash__(self):
        return hash(self._uuid)

    def __eq__(self, other):
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        return bool(_hooks["equal"](self, other))

    def __repr__(self):
        return _hooks["describe"](self)

    def __reduce__(self):
        return _hooks["flatten"](self)

    def run_if(self, condition):
        """Run this call only if the value of ``condition`` is true; the last call wins."""
        _set_condition(self.more(), condition)
        return self

    def with_retry(self, max_attempts=3, delay=0.0, backoff=1.0):
        """Retry a failing call up to ``max_attempts`` times, see :class:`RetryPolicy`; the last call wins."""
        cdef RetryPolicy policy = RetryPolicy.__new__(RetryPolicy)
        if type(max_attempts) is not int or not _is_finite(delay) or not _is_finite(backoff):
            _hooks["retry"](self, max_attempts, delay, backoff)
        policy.max_attempts = max_attempts
        policy.delay = delay
        policy.backoff = backoff
        self.retry = policy
        return self

    def with_cache(self, policy):
        """Ask a cache policy before the call and give it the value after; the last call wins."""
        self.more().cache = policy
        return self

    def with_constraints(self, **kwargs):
        """Hold these amounts of system resources while the function runs; replaces earlier amounts."""
        amounts = {name: continuation(one, name) if type(one) is Router else one for name, one in kwargs.items()}
        self.more().constraints = _hooks["constraint"](requirements=amounts)
        return self

    def after(self, *predecessors):
        """Run this call after ``predecessors`` without taking their values; calls add up."""
        for one in predecessors:
            if type(one) is not LazyResult and type(one) is not MappedLazyResult:
                raise TypeError(f"after() takes lazy results, not {type(one).__name__}: {self!r}")
        own = self._dependencies
        for one in predecessors:  # not extend(): CPython 3.11 never lets go of them if it finds no memory
            own.append(one)
        return self


@cython.final
cdef class LazyResult(_Lazy):
    """A pending call of a task."""

    def __init__(
        self,
        task,
        args,
        kwargs,
        _uuid=None,
        _retry_policy=None,
        _cache_policy=None,
        _condition=None,
        _constraints=None,
        _dependencies=None,
        _jump_selector=None,
    ):
        self.source = task
        self.values = args if type(args) is tuple else tuple(args)
        self.names = None
        self.keywords = kwargs if type(kwargs) is dict else dict(kwargs)
        self.retry = _retry_policy
        _set_extras(self, _uuid, _cache_policy, _condition, _constraints, _dependencies)
        if _jump_selector is not None:
            self.more().jump = _jump_selector

    def __class_getitem__(cls, item):
        return types.GenericAlias(cls, item)

    @property
    def task(self):
        return self.source

    @task.setter
    def task(self, value):
        self.source = value

    @property
    def args(self):
        if self.names is not None:
            self.open_keywords()
        return self.values if self.values is not None else ()

    @args.setter
    def args(self, value):
        self.open_keywords()
        self.values = value if type(value) is tuple else tuple(value)

    @property
    def kwargs(self):
        return self.open_keywords()

    @kwargs.setter
    def kwargs(self, value):
        self.open_keywords()
        self.keywords = value if type(value) is dict else dict(value)

    @property
    def _jump_selector(self):
        return None if self.extras is None else self.extras.jump

    @_jump_selector.setter
    def _jump_selector(self, value):
        self.more().jump = value


@cython.final
cdef class MappedLazyResult(_Lazy):
    """A pending call of a factory for each index of some sequences."""

    def __init__(
        self,
        factory,
        mapping_kwargs,
        _uuid=None,
        _condition=None,
        _retry_policy=None,
        _cache_policy=None,
        _constraints=None,
        _dependencies=None,
    ):
        self.source = factory
        self.values = ()
        self.names = None
        self.keywords = mapping_kwargs if type(mapping_kwargs) is dict else dict(mapping_kwargs)
        self.retry = _retry_policy
        _set_extras(self, _uuid, _cache_policy, _condition, _constraints, _dependencies)

    def __class_getitem__(cls, item):
        return types.GenericAlias(cls, item)

    @property
    def factory(self):
        return self.source

    @factory.setter
    def factory(self, value):
        self.source = value

    @property
    def mapping_kwargs(self):
        return self.keywords

    @mapping_kwargs.setter
    def mapping_kwargs(self, value):
        self.keywords = value if type(value) is dict else dict(value)


cdef int _set_condition(_Extras extras, condition) except -1:
    kind = type(condition)
    extras.condition = condition
    if kind is LazyResult or kind is MappedLazyResult:
        extras.test = condition
    elif kind is Router:
        extras.test = LazyResult(_gather, (condition,), {})
    else:
        extras.test = None
    return 0


cdef int _set_extras(_Lazy lazy, uid, cache, condition, constraints, predecessors) except -1:
    cdef _Extras extras
    if uid is None and cache is None and condition is None and constraints is None and predecessors is None:
        return 0
    extras = lazy.more()
    extras.uid = uid
    extras.cache = cache
    _set_condition(extras, condition)
    extras.constraints = constraints
    extras.predecessors = predecessors if predecessors is None or type(predecessors) is list else list(predecessors)
    return 0


@cython.final
cdef class Router:
    """Stands for the value of the route whose key equals the value of ``selector``; only that route runs."""

    cdef public object selector
    cdef public object routes
    cdef object __weakref__
    cdef Router plain  # what a trace takes instead, see _plain_router
    cdef int64_t plain_attempt

    def __cinit__(self):
        global _live
        _live += 1

    def __dealloc__(self):
        global _live
        _live -= 1

    def __init__(self, selector, routes):
        self.selector = selector
        self.routes = routes

    def __eq__(self, other):
        if type(other) is not Router:
            return NotImplemented
        return (self.selector, self.routes) == (other.selector, other.routes)

    __hash__ = None

    def __repr__(self):
        return f"Router(selector={self.selector!r}, routes={self.routes!r})"

    def __reduce__(self):
        return Router, (self.selector, self.routes)


cdef dict _shape_of(names, plain, factories):
    """Attributes by which ``dataclasses.fields`` and friends see a class of this module as a dataclass."""
    body = {n: dataclasses.field(default=None) for n in names if n not in plain}
    for name, made in factories.items():
        if name in names:
            body[name] = made
    shape = dataclasses.dataclass(type("Shape", (), {"__annotations__": dict.fromkeys(names, object), **body}))
    wanted = ("__dataclass_fields__", "__dataclass_params__", "__match_args__")
    return {attribute: getattr(shape, attribute) for attribute in wanted}


cdef extern from "Python.h":
    void PyType_Modified(PyTypeObject*)


cdef int _as_dataclass(type cls, dict attributes) except -1:
    # The types are static, so their dictionary is the only way to add attributes after they were made.
    cdef PyObject* own = (<PyTypeObject*>cls).tp_dict
    for name, value in attributes.items():
        if DICT_SET(own, <PyObject*>name, <PyObject*>value) < 0:
            raise MemoryError()
    PyType_Modified(<PyTypeObject*>cls)
    return 0


_FACTORIES = {
    "_uuid": dataclasses.field(default_factory=_make_uid),
    "_dependencies": dataclasses.field(default_factory=list),
    "delay": dataclasses.field(default=0.0),
    "backoff": dataclasses.field(default=1.0),
}
_POLICIES = ("_retry_policy", "_cache_policy", "_condition", "_constraints")
_as_dataclass(LazyResult, _shape_of(
    ("task", "args", "kwargs", "_uuid", *_POLICIES, "_dependencies", "_jump_selector"),
    ("task", "args", "kwargs"), _FACTORIES))
_as_dataclass(MappedLazyResult, _shape_of(
    ("factory", "mapping_kwargs", "_uuid", "_condition", "_retry_policy", "_cache_policy", "_constraints",
     "_dependencies"),
    ("factory", "mapping_kwargs"), _FACTORIES))
_as_dataclass(Router, _shape_of(("selector", "routes"), ("selector", "routes"), {}))
_as_dataclass(Jump, _shape_of(("target_key", "data"), ("target_key",), {}))
_as_dataclass(TailCall, _shape_of(
    ("args", "kwargs", "target_blueprint_id"), (),
    {"args": dataclasses.field(default_factory=list), "kwargs": dataclasses.field(default_factory=dict)}))
_as_dataclass(RetryPolicy, _shape_of(("max_attempts", "delay", "backoff"), ("max_attempts",), _FACTORIES))

cdef Task _some_task = Task.__new__(Task)
cascade_make_vectorcall(
    <PyTypeObject*>Task, <Py_ssize_t>(<uintptr_t>&_some_task.vectorcall - <uintptr_t><PyObject*>_some_task))
_some_task = None

# Types are compared by address; all of these classes are final.
cdef PyTypeObject* T_LAZY = <PyTypeObject*>LazyResult
if not cascade_is_laid_out(T_LAZY):
    raise SystemError("the references of a lazy result do not lie where the kernel looks for them")
cascade_patch_dealloc(T_LAZY, _free_lazy)
cdef PyTypeObject* T_MAPPED = <PyTypeObject*>MappedLazyResult
cdef PyTypeObject* T_ROUTER = <PyTypeObject*>Router
cdef PyTypeObject* T_INJECT = <PyTypeObject*>Inject
cdef PyTypeObject* T_TASK = <PyTypeObject*>Task
cdef PyTypeObject* T_RETRY = <PyTypeObject*>RetryPolicy
cdef PyTypeObject* T_COROUTINE = cascade_coroutine()


def call_of(_Lazy lazy not None):
    """Return (task or factory, positional values followed by keyword values, keyword names) of a lazy result."""
    cdef _Lazy one = lazy
    if one.values is None:
        one.open_keywords()
    if one.keywords is not None:
        return one.source, (*one.values, *one.keywords.values()), tuple(one.keywords)
    return one.source, one.values, one.names if one.names is not None else ()


def _returned(value):
    return value


#: Stands for a returned container (or Router): its value is the container with the values in it.
cdef Task _gather = Task(_returned, "_internal_gather")


#: Jumps once the calls in its data have their values.
cdef Task _arrive = Task(Jump, "_internal_jump")


def _overridden(data, callee, Py_ssize_t npos, keywords):
    """Return the arguments that the data of a jump gives to a call, by key: see ``_hot_py.py``."""
    cdef dict found = {}
    cdef dict given = dict(data) if isinstance(data, dict) else {"0": data}
    for key, value in given.items():
        if type(key) is not str or (callee is None and key.isdecimal()):
            raise _problem("override", (callee.name if callee is not None else "map", key))
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


cdef inline bint _is_lazy(PyObject* value) noexcept:
    cdef PyTypeObject* kind = cascade_type(value)
    return kind == T_LAZY or kind == T_MAPPED


cdef inline bint _is_marker(PyObject* value) noexcept:
    cdef PyTypeObject* kind = cascade_type(value)
    return kind == T_LAZY or kind == T_MAPPED or kind == T_ROUTER or kind == T_INJECT


# ------------------------------------------------------------------------------------------- walking containers


cdef struct Cursor:
    PyObject* item  # the container
    PyObject* dict  # where PyDict_Next reads, NULL for a sequence
    Py_ssize_t at  # next index, or position in the dict
    Py_ssize_t count
    Py_ssize_t tokens  # length of the key when it was opened
    Py_ssize_t leaves
    Py_ssize_t names
    int8_t found  # holds a lazy, a Router or an inject marker
    int8_t looped  # contains itself
    int8_t selector  # of a Router: comes first


cdef struct Met:  # an entry of the memo: what is known of a container
    PyObject* item
    int64_t stamp
    int64_t state  # PLAIN, OPEN - index of its cursor, or its number among those that are rebuilt


cdef enum:
    PLAIN = -1
    OPEN = -2

cdef Cursor* _cursors = NULL
cdef Py_ssize_t _cursor_count = 0, _cursor_room = 0
cdef Met* _memo = NULL
cdef Py_ssize_t _memo_room = 0, _memo_used = 0
cdef int64_t _memo_stamp = 0


cdef int _grow(void** buffer, Py_ssize_t* room, Py_ssize_t size, Py_ssize_t wanted) noexcept:
    """Let a buffer have at least ``wanted`` entries; -1 with MemoryError set."""
    cdef Py_ssize_t larger = room[0] * 2 if room[0] else 4
    cdef void* moved
    if larger < wanted:
        larger = wanted
    moved = realloc(buffer[0], <size_t>(larger * size))
    if moved == NULL:
        PyErr_NoMemory()
        return -1
    buffer[0] = moved
    room[0] = larger
    return 0


cdef inline void _forget() noexcept:
    """Begin with an empty memo."""
    global _memo_stamp, _memo_used
    _memo_stamp += 1
    _memo_used = 0


cdef Met* _met(PyObject* item) noexcept:
    """Return the entry of a container; a new one has another stamp. NULL with MemoryError set."""
    global _memo_used
    cdef size_t mask, at
    if _memo_used * 2 >= _memo_room and _rehash() < 0:
        return NULL
    mask = <size_t>(_memo_room - 1)
    at = (<size_t>item >> 4) & mask
    while _memo[at].stamp == _memo_stamp and _memo[at].item != item:
        at = (at + 1) & mask
    if _memo[at].stamp != _memo_stamp:
        _memo[at].item = item
        _memo_used += 1
    return &_memo[at]


cdef int _rehash() noexcept:
    global _memo, _memo_room
    cdef Py_ssize_t room = _memo_room * 2 if _memo_room else 64
    cdef Met* larger = <Met*>calloc(<size_t>room, sizeof(Met))
    cdef Py_ssize_t i
    cdef size_t at, mask = <size_t>(room - 1)
    if larger == NULL:
        PyErr_NoMemory()
        return -1
    for i in range(_memo_room):
        if _memo[i].stamp == _memo_stamp:
            at = (<size_t>_memo[i].item >> 4) & mask
            while larger[at].stamp == _memo_stamp:
                at = (at + 1) & mask
            larger[at] = _memo[i]
    free(_memo)
    _memo = larger
    _memo_room = room
    return 0


cdef Cursor* _enter(PyObject* item) noexcept:
    """Put a container on the stack of cursors."""
    global _cursor_count
    cdef Cursor* cursor
    cdef unsigned long flags
    if _cursor_count == _cursor_room and _grow(<void**>&_cursors, &_cursor_room, sizeof(Cursor), 0) < 0:
        return NULL
    cursor = &_cursors[_cursor_count]
    _cursor_count += 1
    cursor.item = item
    cursor.dict = NULL
    cursor.at = 0
    cursor.found = cursor.looped = cursor.selector = 0
    flags = cascade_flags(item)
    if cascade_type(item) == T_ROUTER:
        cursor.selector = 1
        cursor.dict = <PyObject*>(<Router>item).plain.routes
        cursor.count = DICT_SIZE(cursor.dict)
    elif flags & Py_TPFLAGS_LIST_SUBCLASS:
        cursor.count = LIST_SIZE(item)
    elif flags & Py_TPFLAGS_TUPLE_SUBCLASS:
        cursor.count = TUPLE_SIZE(item)
    else:
        cursor.dict = item
        cursor.count = DICT_SIZE(item)
    return cursor


cdef inline PyObject* _next(Cursor* cursor) noexcept:
    """Return the next item of a container, borrowed; NULL at the end."""
    cdef PyObject* key
    cdef PyObject* value
    if cursor.selector == 1:
        cursor.selector = 2
        return <PyObject*>(<Router>cursor.item).plain.selector
    if cursor.dict != NULL:
        return value if DICT_NEXT(cursor.dict, &cursor.at, &key, &value) else NULL
    if cursor.at >= cursor.count:
        return NULL
    cursor.at += 1
    if cascade_flags(cursor.item) & Py_TPFLAGS_LIST_SUBCLASS:
        return LIST_ITEM(cursor.item, cursor.at - 1)
    return TUPLE_ITEM(cursor.item, cursor.at - 1)


# ------------------------------------------------------------------------------------- nothing to be found at all
#
# A container need not be walked when no marker can be in it. That is so when every marker that exists is known, and
# every reference to it, and to whatever holds it, comes from a place that is no container of the user's: the expression
# that is looked at, the operations of its frame, the local variables of the functions that wait for this run (they
# cannot change before it comes back), and the defaults of tasks. One reference that comes from elsewhere, or one marker
# more than are known, and everything is walked.

cdef struct Held:
    PyObject* item  # a lazy result, or a tuple of values with lazy results in it
    Py_ssize_t count  # references to it that are accounted for


cdef enum:
    MOST_HELD = 64  # items that are accounted for, at most
    MOST_INJECTING = 256  # callees whose inject markers are

cdef Held _held[MOST_HELD]
cdef Py_ssize_t _held_count = 0
cdef Held _local[MOST_HELD]  # lazy results in local variables of the functions that wait for the run _local_run
cdef Py_ssize_t _local_count = 0  # -1: too many
cdef int64_t _local_run = 0
cdef int64_t _runs = 0
cdef int64_t _account = 0  # the number of the last one that counted inject markers
cdef PyObject* _searched_frame = NULL  # the one whose expression or value is searched, borrowed
cdef PyObject* _searched_root = NULL
cdef Py_ssize_t _searched = 0  # items of containers met in this search
cdef int64_t _walks = 0
cdef int _verdict = 0  # 1: no container holds a marker; -1: one may; 0: nobody has asked


cdef inline void _begin_search(PyObject* frame, PyObject* root) noexcept:
    """From here on containers are searched for the sake of one expression, or of one value (``root`` is NULL)."""
    global _searched_frame, _searched_root, _searched, _verdict
    _searched_frame = frame
    _searched_root = root
    _searched = 0
    _verdict = 0


cdef bint _nothing_hidden() noexcept:
    """Whether it is certain that no container holds a marker; found out once in a search."""
    global _verdict, _walks
    if _verdict == 0:
        _verdict = 1 if _is_accounted_for() else -1
        _walks += _verdict < 0
    return _verdict > 0


cdef bint _is_accounted_for() noexcept:
    """Whether all markers that exist are known with all references to them."""
    cdef Frame frame
    cdef Py_ssize_t i, lazies = 0
    if _searched_frame == NULL or _live > MOST_HELD:
        return False
    frame = <Frame>_searched_frame
    if not frame.run_number or frame.op_count > MOST_HELD or not _hold_all(frame):
        return False
    for i in range(_held_count):
        if _held[i].count != REFERENCE_COUNT(_held[i].item):
            return False
        lazies += cascade_type(_held[i].item) == T_LAZY
    return lazies == _live and (_live_injects == 0 or _injects_are_defaults())


cdef bint _hold_all(Frame frame) noexcept:
    """Account for every reference in a known place; False if there are too many, or a lazy result holds more than values."""
    global _held_count
    cdef PyObject* item
    cdef Py_ssize_t i
    if _local_run != frame.run_number:
        _look_at_locals(frame.run_number)
    if _local_count < 0:
        return False
    _held_count = _local_count
    memcpy(_held, _local, <size_t>_local_count * sizeof(Held))
    if _searched_root != NULL and _hold_lazy(_searched_root) < 0:
        return False
    for i in range(frame.op_count):
        if _hold_values(frame.ops[i].values) < 0:
            return False
    i = 0
    while i < _held_count:  # which grows
        item = _held[i].item
        if cascade_type(item) != T_LAZY:
            if not _hold_items(item):
                return False
        elif (<_Lazy>item).keywords is not None or (<_Lazy>item).extras is not None:
            return False
        elif (<_Lazy>item).values is not None and _hold_values(<PyObject*>(<_Lazy>item).values) < 0:
            return False
        i += 1
    return True


cdef void _look_at_locals(int64_t run_number) noexcept:
    """Note the lazy results in local variables; they stay there until the run comes back."""
    global _held_count, _local_count, _local_run
    _held_count = 0
    _local_count = -1
    if cascade_visit_locals(_hold_lazy) == 0:
        _local_count = _held_count
        memcpy(_local, _held, <size_t>_held_count * sizeof(Held))
    _local_run = run_number


cdef int _hold_lazy(PyObject* value) noexcept:
    """Account for a reference, if it is one to a lazy result; -1 if there are too many of them."""
    return _hold(value) if cascade_type(value) == T_LAZY else 0


cdef int _hold_values(PyObject* values) noexcept:
    """Account for a reference to a tuple of values, if there are lazy results among them."""
    cdef Py_ssize_t i
    for i in range(TUPLE_SIZE(values)):
        if cascade_type(TUPLE_ITEM(values, i)) == T_LAZY:
            return _hold(values)
    return 0


cdef bint _hold_items(PyObject* values) noexcept:
    cdef Py_ssize_t i
    for i in range(TUPLE_SIZE(values)):
        if _hold_lazy(TUPLE_ITEM(values, i)) < 0:
            return False
    return True


cdef int _hold(PyObject* item) noexcept:
    global _held_count
    cdef Py_ssize_t i
    for i in range(_held_count):
        if _held[i].item == item:
            _held[i].count += 1
            return 0
    if _held_count == MOST_HELD:
        return -1
    _held[_held_count].item = item
    _held[_held_count].count = 1
    _held_count += 1
    return 0


cdef bint _injects_are_defaults() noexcept:
    """Whether each inject marker is held by defaults of a task's function, and those by the function, and by nothing else."""
    global _account
    cdef PyObject* function
    cdef PyObject* defaults
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t i, k, at, found = 0
    if _injecting_count > MOST_INJECTING:
        return False
    _account += 1
    for i in range(_injecting_count):
        function = <PyObject*>(<Callee>_injecting[i]).func
        defaults = cascade_defaults(function)
        if defaults != NULL and REFERENCE_COUNT(defaults) == 1:
            for k in range(TUPLE_SIZE(defaults)):
                found += _is_held_alone(TUPLE_ITEM(defaults, k))
        defaults = cascade_kwdefaults(function)
        if defaults != NULL and REFERENCE_COUNT(defaults) == 1:
            at = 0
            while DICT_NEXT(defaults, &at, &key, &value):
                found += _is_held_alone(value)
    return found == _live_injects


cdef inline bint _is_held_alone(PyObject* value) noexcept:
    """Whether this is an inject marker that has one holder, and is not counted yet."""
    if cascade_type(value) != T_INJECT or REFERENCE_COUNT(value) != 1 or (<Inject>value).counted == _account:
        return False
    (<Inject>value).counted = _account
    return True


cdef int _holds_markers(PyObject* container) noexcept:
    """Whether a list, tuple or dict holds a marker at any depth; -1 with MemoryError set. Data may contain itself."""
    global _cursor_count, _searched
    cdef Cursor* cursor
    cdef PyObject* item
    cdef Met* met
    cdef Py_ssize_t base = _cursor_count
    cdef bint nested = False
    if _enter(container) == NULL:
        return -1
    _searched += _cursors[base].count
    while _cursor_count > base:
        if _searched > CASCADE_FEW_ITEMS and _verdict >= 0 and _nothing_hidden():
            _cursor_count = base
            return 0
        item = _next(&_cursors[_cursor_count - 1])
        if item == NULL:
            _cursor_count -= 1
        elif _is_marker(item):
            _cursor_count = base
            return 1
        elif cascade_flags(item) & CASCADE_CONTAINER:
            if not nested:
                nested = True
                _forget()
                met = _met(container)
                if met == NULL:
                    _cursor_count = base
                    return -1
                met.stamp = _memo_stamp
            met = _met(item)
            if met == NULL:
                _cursor_count = base
                return -1
            if met.stamp != _memo_stamp:
                met.stamp = _memo_stamp
                if _enter(item) == NULL:
                    _cursor_count = base
                    return -1
                _searched += _cursors[_cursor_count - 1].count
    return 0


def continuation(value, str name not None):
    """Return the expression that a value returned by task ``name`` stands for, or None when it is final.

    Raises:
        UncalledTaskError: the value is a task that was not called.
    """
    cdef PyObject* raw = <PyObject*>value
    cdef int found
    if _is_lazy(raw):
        return value
    if cascade_flags(raw) & CASCADE_CONTAINER:
        _begin_search(NULL, NULL)
        found = _holds_markers(raw)
        if found < 0:
            raise MemoryError()
        return LazyResult(_gather, (value,), {}) if found else None
    if cascade_type(raw) == T_ROUTER:
        return LazyResult(_gather, (value,), {})
    if cascade_type(raw) == T_TASK:
        raise _problem("returned", (name, value))
    return None


# A trace allocates nothing, but a Router may need other lazies than it has. Then the trace stops, the Router gets them,
# and the trace begins again; they hold for one attempt, because routes may change from step to step.

cdef int64_t _attempt = 0  # the one that is going on
cdef int64_t _attempts = 0  # the number of the last one


cdef int _make_plain(Router router, int64_t attempt) except -1:
    router.plain = _plain_router(router)
    router.plain_attempt = attempt
    return 0


cdef Router _plain_router(Router router):
    """Return a new Router whose selector is a lazy result and whose routes are lazy results or plain values.

    It stays as it is now, whatever becomes of the user's. Whatever else holds markers (containers, Routers, inject
    markers) becomes a call that returns its value, so that it can be pruned like any other route.
    """
    selector = router.selector
    routes = {
        key: LazyResult(_gather, (route,), {}) if _is_compound(route) else route
        for key, route in router.routes.items()
    }
    return Router(selector if _is_lazy(<PyObject*>selector) else LazyResult(_gather, (selector,), {}), routes)


cdef bint _is_compound(object value) except -1:
    """Whether a value holds markers without being a lazy result."""
    cdef PyTypeObject* kind = cascade_type(<PyObject*>value)
    cdef int found = 0
    if kind == T_ROUTER or kind == T_INJECT:
        return True
    if cascade_flags(<PyObject*>value) & CASCADE_CONTAINER:
        _begin_search(NULL, NULL)
        found = _holds_markers(<PyObject*>value)
        if found < 0:
            raise MemoryError()
    return found


# ---------------------------------------------------------------------------------------------------------- trace


cdef struct Op:  # an operation of an expression; all references owned
    PyObject* callee  # Callee, or NULL for a map whose factory is no task
    PyObject* values  # the call's values
    PyObject* retry  # policy or NULL
    PyObject* lazy  # only while the expression waits for full processing, or if a Router may choose it
    PyObject* result
    int32_t wanted  # where there are turns: the batch from which on it is needed, 0 as long as it may not be
    int32_t skipped


cdef struct Visit:
    PyObject* lazy
    int64_t entered


cdef int64_t* _key = NULL  # the key being written
cdef Py_ssize_t _key_count = 0, _key_room = 0
cdef Visit* _visits = NULL
cdef Py_ssize_t _visit_count = 0, _visit_room = 0
cdef PyObject** _names = NULL  # strings and types whose addresses are in the key, borrowed
cdef Py_ssize_t _name_count = 0, _name_room = 0
cdef PyObject** _made = NULL  # names interned by this trace, owned
cdef Py_ssize_t _made_count = 0, _made_room = 0
cdef PyObject** _lazies = NULL  # by operation, borrowed
cdef Py_ssize_t _lazies_room = 0
cdef int32_t* _equal = NULL  # by operation: the one that stands for it, itself if none does
cdef Py_ssize_t _equal_room = 0
cdef int64_t _epoch = 0
cdef bint _unkeyed = False  # two calls of one pure task
cdef object _trouble = None  # (kind, details) of a problem met while tracing


cdef inline int _put(int64_t token) noexcept:
    global _key_count
    if _key_count == _key_room and _grow(<void**>&_key, &_key_room, sizeof(int64_t), 256) < 0:
        return -1
    _key[_key_count] = token
    _key_count += 1
    return 0


cdef int _put_name(PyObject* name) noexcept:
    """Write the address of a string or a type; equal strings have one address once they are interned."""
    global _name_count, _made_count
    if cascade_type(name) == <PyTypeObject*>str and not cascade_is_interned(name):
        if _made_count == _made_room and _grow(<void**>&_made, &_made_room, sizeof(PyObject*), 0) < 0:
            return -1
        INCREF(name)
        PyUnicode_InternInPlace(&name)
        _made[_made_count] = name
        _made_count += 1
    if _name_count == _name_room and _grow(<void**>&_names, &_name_room, sizeof(PyObject*), 0) < 0:
        return -1
    _names[_name_count] = name
    _name_count += 1
    return _put(<int64_t><intptr_t>name)


cdef inline int _need(PyObject* lazy) noexcept:
    """Note a dependency, unless it has its operation already."""
    global _visit_count
    if (<_Lazy>lazy).mark == _epoch and (<_Lazy>lazy).register >= 0:
        return 0
    if _visit_count == _visit_room and _grow(<void**>&_visits, &_visit_room, sizeof(Visit), 0) < 0:
        return -1
    _visits[_visit_count].lazy = lazy
    _visits[_visit_count].entered = 0
    _visit_count += 1
    return 0


cdef inline int _need_value(PyObject* value) noexcept:
    """Note the dependencies in an argument; 1 if it is a leaf, 0 if it may be something else, -1: error."""
    cdef PyTypeObject* kind = cascade_type(value)
    if kind == T_LAZY or kind == T_MAPPED:
        return _need(value)
    if cascade_flags(value) & CASCADE_CONTAINER:
        return 1 if _is_plain(value) else _need_items(value)
    if kind == T_ROUTER:
        return _need_items(value)
    return kind != T_INJECT and kind != T_TASK


cdef inline bint _is_plain(PyObject* container) noexcept:
    """Whether a container holds no markers, if that is easily told; else the search with a memo decides."""
    cdef Py_ssize_t budget = 64
    cdef int found = _look_into(container, &budget, 4)
    return found == 0 or (found < 0 and _nothing_hidden())


cdef int _look_into(PyObject* container, Py_ssize_t* budget, int levels) noexcept:
    """Whether there are markers in a container, if a few nested containers tell; -1: there may be."""
    global _searched
    cdef PyObject* key
    cdef PyObject* item
    cdef Py_ssize_t at = 0, i, size
    cdef unsigned long flags = cascade_flags(container)
    cdef int found
    budget[0] -= 1
    if budget[0] < 0 or levels == 0:
        return -1
    if flags & Py_TPFLAGS_LIST_SUBCLASS:
        size = LIST_SIZE(container)
    elif flags & Py_TPFLAGS_TUPLE_SUBCLASS:
        size = TUPLE_SIZE(container)
    else:
        size = DICT_SIZE(container)
    _searched += size
    if _searched > CASCADE_FEW_ITEMS and _verdict >= 0 and _nothing_hidden():
        return 0
    if flags & Py_TPFLAGS_LIST_SUBCLASS:
        for i in range(size):
            found = _look_at(LIST_ITEM(container, i), budget, levels)
            if found:
                return found
    elif flags & Py_TPFLAGS_TUPLE_SUBCLASS:
        for i in range(size):
            found = _look_at(TUPLE_ITEM(container, i), budget, levels)
            if found:
                return found
    else:
        while DICT_NEXT(container, &at, &key, &item):
            found = _look_at(item, budget, levels)
            if found:
                return found
    return 0


cdef inline int _look_at(PyObject* item, Py_ssize_t* budget, int levels) noexcept:
    if cascade_flags(item) & CASCADE_CONTAINER:
        return _look_into(item, budget, levels - 1)
    return _is_marker(item)


cdef int _need_items(PyObject* container) noexcept:
    global _cursor_count
    cdef PyObject* item
    cdef Met* met
    _cursor_count = 0
    _forget()
    item = container
    while True:
        if _is_lazy(item):
            if _need(item) < 0:
                return -1
        elif cascade_type(item) == T_ROUTER or cascade_flags(item) & CASCADE_CONTAINER:
            met = _met(item)
            if met == NULL:
                return -1
            if met.stamp != _memo_stamp:
                met.stamp = _memo_stamp
                if cascade_type(item) == T_ROUTER and (<Router>item).plain_attempt != _attempt:
                    _put_trouble("router", <object>item)
                    return -1
                if _enter(item) == NULL:
                    return -1
        while _cursor_count:
            item = _next(&_cursors[_cursor_count - 1])
            if item != NULL:
                break
            _cursor_count -= 1
        else:
            return 0


cdef void _put_trouble(str kind, object what, _Lazy lazy=None, Py_ssize_t position=-1, Py_ssize_t npos=0) noexcept:
    """Leave word of a problem. What is wrong with a lazy is the argument at a position, -1: its condition."""
    global _trouble
    cdef int collecting = PyGC_Disable()
    try:
        _trouble = (kind, _details(kind, what, lazy, position, npos))
    except MemoryError as error:
        _set_error(error)
    if collecting:
        PyGC_Enable()


cdef tuple _details(str kind, object what, _Lazy lazy, Py_ssize_t position, Py_ssize_t npos):
    if kind == "cycle":
        return _entered(), what
    if kind == "loop":
        return _source_name(lazy), what
    if kind == "passed":
        return (_source_name(lazy), _argument_name(lazy, position, npos)), what
    return (what,)


cdef list _entered():
    """The lazies from the one that is met again up to the one that needs it."""
    cdef list entered = []
    cdef Py_ssize_t i
    for i in range(_visit_count):
        if _visits[i].entered:
            entered.append(<object>_visits[i].lazy)
    return entered


cdef object _argument_name(_Lazy lazy, Py_ssize_t position, Py_ssize_t npos):
    if position < 0:
        return "run_if"
    if position < npos:
        return str(position)
    return lazy.names[position - npos] if lazy.names is not None else list(lazy.keywords)[position - npos]


cdef int _needs_of(_Lazy lazy) noexcept:
    """Note all dependencies of a lazy, so that the first of them is walked first; 1 if all values are leaves."""
    global _visits
    cdef Py_ssize_t start = _visit_count, i, end
    cdef PyObject** items
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t at = 0
    cdef Visit swap
    cdef int found, plain = 1
    if lazy.values is None:  # __init__ has not run
        lazy.values = ()
    items = cascade_items(<PyObject*>lazy.values)
    for i in range(1, TUPLE_SIZE(<PyObject*>lazy.values)):
        cascade_fetch(items[i])
    for i in range(TUPLE_SIZE(<PyObject*>lazy.values)):
        found = _need_value(items[i])
        if found <= 0:
            if found < 0:
                return -1
            plain = 0
    if lazy.keywords is not None:
        while DICT_NEXT(<PyObject*>lazy.keywords, &at, &key, &value):
            found = _need_value(value)
            if found <= 0:
                if found < 0:
                    return -1
                plain = 0
    if lazy.extras is not None and _needs_of_policies(lazy, lazy.extras) < 0:
        return -1
    end = _visit_count - 1
    while start < end:
        swap = _visits[start]
        _visits[start] = _visits[end]
        _visits[end] = swap
        start += 1
        end -= 1
    return plain


cdef int _needs_of_policies(_Lazy lazy, _Extras extras) noexcept:
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t at = 0, i
    cdef dict amounts
    if extras.test is not None and _need(<PyObject*>extras.test) < 0:
        return -1
    if extras.constraints is not None:
        if extras.amounts_attempt != _attempt:
            _put_trouble("amounts", lazy)
            return -1
        amounts = _amounts(extras)
        if amounts is not None:
            while DICT_NEXT(<PyObject*>amounts, &at, &key, &value):
                if _is_lazy(value) and _need(value) < 0:
                    return -1
    if extras.predecessors is not None:
        for i in range(LIST_SIZE(<PyObject*>extras.predecessors)):
            if not _is_lazy(LIST_ITEM(<PyObject*>extras.predecessors, i)):
                _put_trouble("after", lazy)
                return -1
            if _need(LIST_ITEM(<PyObject*>extras.predecessors, i)) < 0:
                return -1
    return 0


cdef dict _amounts(_Extras extras):
    """The requirements of a constraint as they were when this attempt began."""
    return extras.amounts


cdef int _read_amounts(_Lazy lazy, int64_t attempt) except -1:
    """Snapshot the requirements; anything else that was set as a constraint counts as a policy without amounts.

    Runs Python code, which a trace must not: it stops, and begins again.
    """
    cdef object constraints = lazy.extras.constraints, found = None
    if isinstance(constraints, _hooks["constraint"]):
        found = constraints.requirements
    lazy.extras.amounts = dict(found) if type(found) is dict else None
    lazy.extras.amounts_attempt = attempt
    return 0


cdef class Program


cdef int _trace(Frame frame, PyObject* root) noexcept:
    """Write the key of an expression, and its operations on top of the frame's. -1 with an error or ``_trouble`` set.

    Post-order: a lazy is entered, its dependencies are entered, then its record is written.
    """
    global _epoch, _key_count, _name_count, _visit_count, _unkeyed
    cdef Visit* visit
    cdef PyObject* lazy
    cdef Py_ssize_t before = frame.op_count, i
    cdef int plain
    _epoch += 1
    _key_count = _name_count = _visit_count = 0
    _unkeyed = False
    _begin_search(<PyObject*>frame, root)
    if _put(0) < 0 or _need(root) < 0:
        return -1
    while _visit_count:
        visit = &_visits[_visit_count - 1]
        lazy = visit.lazy
        if visit.entered:
            if _visit_count > 4:  # what comes next on the way up lies elsewhere, too
                cascade_fetch(_visits[_visit_count - 5].lazy)
                cascade_fetch(<PyObject*>(<_Lazy>_visits[_visit_count - 3].lazy).values)
            if _record(frame, lazy, frame.op_count - before, visit.entered == 2) < 0:
                return -1
            _visit_count -= 1
        elif (<_Lazy>lazy).mark == _epoch:  # it has its record: one without is met in a cycle, which is told below
            _visit_count -= 1
        else:
            (<_Lazy>lazy).mark = _epoch
            (<_Lazy>lazy).register = -1
            visit.entered = 1
            i = _visit_count
            plain = _needs_of(<_Lazy>lazy)
            if plain < 0:
                return -1
            if _visit_count == i:
                if _record(frame, lazy, frame.op_count - before, plain) < 0:
                    return -1
                _visit_count -= 1
            else:
                _visits[i - 1].entered = 1 + plain
                while i < _visit_count:
                    if (<_Lazy>_visits[i].lazy).mark == _epoch and (<_Lazy>_visits[i].lazy).register < 0:
                        _put_trouble("cycle", <object>_visits[i].lazy)
                        return -1
                    i += 1
    _key[0] = frame.op_count - before
    return 0


cdef int _record(Frame frame, PyObject* lazy, Py_ssize_t register, bint plain) noexcept:
    """Write the record of a lazy whose dependencies have registers, and its operation; ``plain``: only leaves."""
    global _lazies
    cdef PyObject* values = <PyObject*>(<_Lazy>lazy).values
    cdef PyObject* callee = NULL
    cdef PyObject* key
    cdef PyObject* value
    cdef Op* op
    cdef Py_ssize_t npos = TUPLE_SIZE(values), nkw = 0, i, at = 0, head, leaves = frame.leaf_count
    cdef int64_t flags = 0
    if cascade_type(<PyObject*>(<_Lazy>lazy).source) == T_TASK:
        callee = <PyObject*>(<Task>(<_Lazy>lazy).source)._callee
    elif cascade_type(lazy) == T_LAZY:
        _put_trouble("target", <object>lazy)
        return -1
    if cascade_type(lazy) == T_MAPPED:
        flags |= f_MAP
    if (<_Lazy>lazy).names is not None:
        nkw = TUPLE_SIZE(<PyObject*>(<_Lazy>lazy).names)
        npos -= nkw
    elif (<_Lazy>lazy).keywords is not None:
        nkw = DICT_SIZE(<PyObject*>(<_Lazy>lazy).keywords)
    if (<_Lazy>lazy).retry is not None:
        flags |= f_RETRY
    if (<_Lazy>lazy).extras is not None:
        flags |= _flags_of((<_Lazy>lazy).extras)
        if flags & f_CONSTANT and cascade_type(<PyObject*>(<_Lazy>lazy).extras.condition) == T_TASK:
            _put_trouble("passed", (<_Lazy>lazy).extras.condition, <_Lazy>lazy)
            return -1
    if npos > COUNT_MASK or nkw > COUNT_MASK:
        _too_many()
        return -1
    if _put((<Callee>callee).serial if callee != NULL else 0) < 0:
        return -1
    head = _key_count
    if _put(0) < 0:
        return -1
    if (<_Lazy>lazy).names is not None:
        for i in range(nkw):
            if _put_name(TUPLE_ITEM(<PyObject*>(<_Lazy>lazy).names, i)) < 0:
                return -1
    elif nkw:
        while DICT_NEXT(<PyObject*>(<_Lazy>lazy).keywords, &at, &key, &value):
            if _put_name(key) < 0:
                return -1
    if plain:
        flags |= f_DIRECT
    else:
        i = _put_items(frame, <_Lazy>lazy, npos, head)
        if i < 0:
            return -1
        if i == 1:
            flags |= f_DIRECT
    if flags & f_CONSTANT and _keep_leaf(frame, <PyObject*>(<_Lazy>lazy).extras.condition) < 0:
        return -1
    if flags & f_MAP and _keep_leaf(frame, <PyObject*>(<_Lazy>lazy).source) < 0:
        return -1
    _key[head] = npos | (nkw << COUNT_BITS) | (flags << (2 * COUNT_BITS))
    if flags & (f_CONDITION | f_CONSTRAINTS | f_AFTER) and _put_policies((<_Lazy>lazy).extras, flags) < 0:
        return -1
    if frame.op_count == frame.op_room and _grow(<void**>&frame.ops, &frame.op_room, sizeof(Op), 0) < 0:
        return -1
    if register >= _lazies_room and _grow(<void**>&_lazies, &_lazies_room, sizeof(PyObject*), register + 1) < 0:
        return -1
    if register >= _equal_room and _grow(<void**>&_equal, &_equal_room, sizeof(int32_t), register + 1) < 0:
        return -1
    if (<_Lazy>lazy).keywords is None:
        INCREF(values)
    else:
        values = _all_values(<_Lazy>lazy)
        if values == NULL:
            return -1
    op = &frame.ops[frame.op_count]
    frame.op_count += 1
    op.callee = callee
    if callee != NULL:
        INCREF(callee)
    op.values = values
    op.retry = NULL
    if flags & f_RETRY:
        op.retry = <PyObject*>(<_Lazy>lazy).retry
        INCREF(op.retry)
    op.lazy = NULL
    op.result = NULL
    _lazies[register] = lazy
    _equal[register] = <int32_t>register
    (<_Lazy>lazy).register = register
    if callee != NULL and (<Callee>callee).pure:
        return _merge(frame, register, head, flags)
    return 0


cdef void _too_many() noexcept:
    PyErr_SetString(OverflowError, "a call takes at most 1048575 positional and 1048575 keyword arguments")


cdef int _merge(Frame frame, Py_ssize_t register, Py_ssize_t head, int64_t flags) noexcept:
    """Write which earlier call of the same pure task this one is equal to, if there is one."""
    global _unkeyed
    cdef Op* ops = frame.ops + frame.op_count - 1 - register
    cdef Py_ssize_t i, distinct = 0
    cdef int same
    cdef bint unsure = False
    for i in range(register):
        if ops[i].callee != ops[register].callee or _equal[i] != i:
            continue
        distinct += 1
        if distinct > MERGE_LIMIT:
            break
        same = _same_call(ops, i, register, flags)
        if same == 1:
            _equal[register] = <int32_t>i
            _key[head] |= <int64_t>f_MERGED << (2 * COUNT_BITS)
            return _put(i)
        unsure = unsure or same < 0
    if unsure or distinct > MERGE_LIMIT:
        _unkeyed = True
    return 0


cdef int _same_call(Op* ops, Py_ssize_t one, Py_ssize_t other, int64_t flags) noexcept:
    """Whether two calls of a task are equal: 0, 1, or -1 if that would take more than a glance."""
    cdef PyObject* ours = ops[one].values
    cdef PyObject* theirs = ops[other].values
    cdef _Lazy first = <_Lazy>_lazies[one]
    cdef int64_t before = 0
    cdef Py_ssize_t i, nkw = _keyword_count(<_Lazy>_lazies[other])
    cdef int same, all_same = 1
    if TUPLE_SIZE(ours) != TUPLE_SIZE(theirs) or _keyword_count(first) != nkw:
        return 0
    if first.extras is not None:
        before = _flags_of(first.extras)
    if (first.retry is not None) != (flags & f_RETRY != 0):
        return 0
    if (cascade_type(_lazies[one]) == T_MAPPED) != (flags & f_MAP != 0):
        return 0
    if before != flags & ~<int64_t>(f_DIRECT | f_RETRY | f_MAP):
        return 0
    if before:
        all_same = -1
    if nkw:
        same = _same_names(first, <_Lazy>_lazies[other], nkw)
        if same <= 0:
            return same
    for i in range(TUPLE_SIZE(ours)):
        same = _same_argument(TUPLE_ITEM(ours, i), TUPLE_ITEM(theirs, i))
        if same == 0:
            return 0
        if same < 0:
            all_same = -1
    same = _same_retry(ops[one].retry, ops[other].retry)
    return 0 if same == 0 else -1 if same < 0 else all_same


cdef Py_ssize_t _keyword_count(_Lazy lazy) noexcept:
    if lazy.names is not None:
        return TUPLE_SIZE(<PyObject*>lazy.names)
    return DICT_SIZE(<PyObject*>lazy.keywords) if lazy.keywords is not None else 0


cdef PyObject* _next_keyword(_Lazy lazy, Py_ssize_t* at) noexcept:
    """The next keyword name; there must be one."""
    cdef PyObject* key = NULL
    cdef PyObject* value
    if lazy.names is not None:
        at[0] += 1
        return TUPLE_ITEM(<PyObject*>lazy.names, at[0] - 1)
    DICT_NEXT(<PyObject*>lazy.keywords, at, &key, &value)
    return key


cdef int _same_names(_Lazy one, _Lazy other, Py_ssize_t count) noexcept:
    """1 if the keywords are the same in the same order, -1 if in another order, 0 if they differ."""
    cdef Py_ssize_t mine = 0, yours, i, k
    cdef PyObject* name
    cdef int same
    cdef bint found, sure = True
    for i in range(count):
        name = _next_keyword(one, &mine)
        yours = 0
        found = False
        for k in range(count):
            same = _same_scalar(name, _next_keyword(other, &yours))
            if same:
                found = True
                sure = sure and same == 1 and k == i
                break
        if not found:
            return 0
    return 1 if sure else -1


cdef int _same_argument(PyObject* one, PyObject* other) noexcept:
    if _is_lazy(one) and _is_lazy(other):
        return _equal[(<_Lazy>one).register] == _equal[(<_Lazy>other).register]
    return _same_scalar(one, other)


cdef inline bint _is_scalar(PyObject* value) noexcept:
    cdef PyTypeObject* kind = cascade_type(value)
    return (
        kind == <PyTypeObject*>int or kind == <PyTypeObject*>str or kind == <PyTypeObject*>float
        or kind == <PyTypeObject*>bool or kind == <PyTypeObject*>bytes or value == <PyObject*>None
    )


cdef int _same_scalar(PyObject* one, PyObject* other) noexcept:
    """Whether two values are equal and of one type; runs no code of a user. nan is nan here, and 0.0 is not -0.0."""
    cdef double mine, yours
    if one == other:
        return 1
    if not _is_scalar(one) and not _is_scalar(other):
        return -1
    if cascade_type(one) != cascade_type(other) or cascade_type(one) == <PyTypeObject*>bool:
        return 0
    if cascade_type(one) == <PyTypeObject*>float:
        mine = PyFloat_AS_DOUBLE(one)
        yours = PyFloat_AS_DOUBLE(other)
        return memcmp(&mine, &yours, sizeof(double)) == 0
    return PyObject_RichCompareBool(one, other, PY_EQ)


cdef int _same_retry(PyObject* one, PyObject* other) noexcept:
    """Whether two policies are equal, see _same_call; there are two, or none."""
    cdef int same, all_same = 1
    if one == other:
        return 1
    if cascade_type(one) != T_RETRY or cascade_type(other) != T_RETRY:
        return -1
    same = _same_scalar(<PyObject*>(<RetryPolicy>one).max_attempts, <PyObject*>(<RetryPolicy>other).max_attempts)
    if same <= 0:
        all_same = same
    if all_same:
        same = _same_scalar(<PyObject*>(<RetryPolicy>one).delay, <PyObject*>(<RetryPolicy>other).delay)
        all_same = same if same <= 0 else all_same
    if all_same:
        same = _same_scalar(<PyObject*>(<RetryPolicy>one).backoff, <PyObject*>(<RetryPolicy>other).backoff)
        all_same = same if same <= 0 else all_same
    return all_same


cdef PyObject* _all_values(_Lazy lazy) noexcept:
    """Return the values of a call as one tuple, owned: a new one where the keywords are in a dict."""
    cdef PyObject* values = <PyObject*>lazy.values
    cdef PyObject* key
    cdef PyObject* value
    cdef PyObject* joined
    cdef Py_ssize_t at = 0, i, npos
    cdef int collecting
    if lazy.keywords is None or DICT_SIZE(<PyObject*>lazy.keywords) == 0:
        INCREF(values)
        return values
    npos = TUPLE_SIZE(values)
    collecting = PyGC_Disable()  # a finaliser must not run now
    joined = TUPLE_NEW(npos + DICT_SIZE(<PyObject*>lazy.keywords))
    if collecting:
        PyGC_Enable()
    if joined == NULL:
        return NULL
    for i in range(npos):
        INCREF(TUPLE_ITEM(values, i))
        TUPLE_SET(joined, i, TUPLE_ITEM(values, i))
    i = npos
    while DICT_NEXT(<PyObject*>lazy.keywords, &at, &key, &value):
        INCREF(value)
        TUPLE_SET(joined, i, value)
        i += 1
    return joined


cdef int64_t _flags_of(_Extras extras) noexcept:
    cdef int64_t flags = 0
    cdef dict amounts
    if extras.cache is not None:
        flags |= f_CACHE
    if extras.condition is not None:
        flags |= f_CONDITION if extras.test is not None else f_CONSTANT
    if extras.constraints is not None:
        amounts = _amounts(extras)
        if amounts is not None and DICT_SIZE(<PyObject*>amounts):
            flags |= f_CONSTRAINTS
    if extras.predecessors is not None and LIST_SIZE(<PyObject*>extras.predecessors):
        flags |= f_AFTER
    if extras.jump is not None:
        flags |= f_JUMP
    return flags


cdef int _put_policies(_Extras extras, int64_t flags) noexcept:
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t at = 0, i
    cdef dict amounts
    if flags & f_CONDITION and _put((<_Lazy>extras.test).register) < 0:
        return -1
    if flags & f_CONSTRAINTS:
        amounts = _amounts(extras)
        if _put(DICT_SIZE(<PyObject*>amounts)) < 0:
            return -1
        while DICT_NEXT(<PyObject*>amounts, &at, &key, &value):
            if _put_name(key) < 0 or _put((<_Lazy>value).register if _is_lazy(value) else t_LEAF) < 0:
                return -1
    if flags & f_AFTER:
        if _put(LIST_SIZE(<PyObject*>extras.predecessors)) < 0:
            return -1
        for i in range(LIST_SIZE(<PyObject*>extras.predecessors)):
            if _put((<_Lazy>LIST_ITEM(<PyObject*>extras.predecessors, i)).register) < 0:
                return -1
    return 0


cdef int _put_items(Frame frame, _Lazy lazy, Py_ssize_t npos, Py_ssize_t head) noexcept:
    """Write the items of all arguments; 1 if all are leaves after all (then nothing is written), 0 if not, -1: error."""
    global _key_count
    cdef Py_ssize_t start = _key_count, i, at = 0, position = 0, made = 0
    cdef PyObject** items = cascade_items(<PyObject*>lazy.values)
    cdef PyObject* key
    cdef PyObject* value
    cdef bint all_leaves = True
    _forget()
    for i in range(TUPLE_SIZE(<PyObject*>lazy.values)):
        if _put_argument(frame, lazy, items[i], position, npos, &made) < 0:
            return -1
        position += 1
    if lazy.keywords is not None:
        while DICT_NEXT(<PyObject*>lazy.keywords, &at, &key, &value):
            if _put_argument(frame, lazy, value, position, npos, &made) < 0:
                return -1
            position += 1
    if _key_count - start == position:
        for i in range(start, _key_count):
            if _key[i] != t_LEAF:
                all_leaves = False
                break
        if all_leaves:
            _key_count = start
            return 1
    return 0


cdef int _put_argument(
    Frame frame, _Lazy lazy, PyObject* value, Py_ssize_t position, Py_ssize_t npos, Py_ssize_t* made
) noexcept:
    cdef PyTypeObject* kind = cascade_type(value)
    if kind == T_LAZY or kind == T_MAPPED:
        return _put((<_Lazy>value).register)
    if kind == T_TASK:
        _put_trouble("passed", <object>value, lazy, position, npos)
        return -1
    if kind == T_INJECT:
        if _put(t_INJECT) < 0:
            return -1
        return _put_name(<PyObject*>(<Inject>value).resource_name)
    if kind == T_ROUTER:
        return _put_container(frame, lazy, value, made)
    if cascade_flags(value) & CASCADE_CONTAINER and not _is_plain(value):
        return _put_container(frame, lazy, value, made)
    return _put(t_LEAF)


cdef object _source_name(_Lazy lazy):
    return (<Task>lazy.source)._callee.name if type(lazy.source) is Task else "map"


cdef int _put_leaf(Frame frame, PyObject* value) noexcept:
    if _put(t_LEAF) < 0:
        return -1
    return _keep_leaf(frame, value)


cdef int _keep_leaf(Frame frame, PyObject* value) noexcept:
    if frame.leaf_count == frame.leaf_room:
        if _grow(<void**>&frame.leaves, &frame.leaf_room, sizeof(PyObject*), 0) < 0:
            return -1
    INCREF(value)
    frame.leaves[frame.leaf_count] = value
    frame.leaf_count += 1
    return 0


cdef int _put_container(Frame frame, _Lazy lazy, PyObject* container, Py_ssize_t* made) noexcept:
    """Depth-first with a memo; a container without lazies shrinks to a leaf again when it has been searched."""
    global _cursor_count
    cdef PyObject* item = container
    cdef Py_ssize_t leaves = frame.leaf_count, start = _key_count
    _cursor_count = 0
    while True:
        if _place(frame, item) < 0:
            return -1
        while _cursor_count:
            item = _next(&_cursors[_cursor_count - 1])
            if item != NULL:
                break
            _cursor_count -= 1
            if _close(frame, lazy, made) < 0:
                return -1
        else:
            break
    if _key_count == start + 1 and _key[start] == t_LEAF:
        # the argument itself: it is in the call's own values, which own it
        frame.leaf_count = leaves
        DECREF(frame.leaves[leaves])
    return 0


cdef int _place(Frame frame, PyObject* item) noexcept:
    cdef PyTypeObject* kind = cascade_type(item)
    cdef Met* met
    if kind == T_LAZY or kind == T_MAPPED:
        _cursors[_cursor_count - 1].found = 1
        return _put((<_Lazy>item).register)
    if kind == T_INJECT:
        _cursors[_cursor_count - 1].found = 1
        if _put(t_INJECT) < 0:
            return -1
        return _put_name(<PyObject*>(<Inject>item).resource_name)
    if kind != T_ROUTER and not cascade_flags(item) & CASCADE_CONTAINER:
        return _put_leaf(frame, item)
    met = _met(item)
    if met == NULL:
        return -1
    if met.stamp != _memo_stamp:
        met.stamp = _memo_stamp
        met.state = OPEN - _cursor_count
        return _open(frame, item)
    if met.state >= 0:
        if _cursor_count:
            _cursors[_cursor_count - 1].found = 1
        if _put(t_SHARED) < 0:
            return -1
        return _put(met.state)
    if met.state <= OPEN:  # it must not turn out to hold lazies
        _cursors[OPEN - met.state].looped = 1
    return _put_leaf(frame, item)


cdef int _open(Frame frame, PyObject* item) noexcept:
    cdef Py_ssize_t tokens = _key_count, leaves = frame.leaf_count, at = 0
    cdef PyTypeObject* kind = cascade_type(item)
    cdef unsigned long flags = cascade_flags(item)
    cdef Cursor* cursor
    cdef PyObject* key
    cdef PyObject* value
    cursor = _enter(item)
    if cursor == NULL:
        return -1
    cursor.tokens = tokens
    cursor.leaves = leaves
    cursor.names = _name_count
    if kind == T_ROUTER:
        cursor.found = 1
        if _keep_leaf(frame, <PyObject*>(<Router>item).plain) < 0 or _put(t_ROUTER) < 0:
            return -1
        while DICT_NEXT(cursor.dict, &at, &key, &value):
            if _keep_leaf(frame, key) < 0:
                return -1
        return _put(cursor.count + 1)
    if kind != <PyTypeObject*>list and kind != <PyTypeObject*>tuple and kind != <PyTypeObject*>dict:
        if _put(t_KIND) < 0 or _put_name(<PyObject*>kind) < 0 or _keep_leaf(frame, item) < 0:
            return -1
    if flags & Py_TPFLAGS_LIST_SUBCLASS:
        if _put(t_LIST) < 0:
            return -1
    elif flags & Py_TPFLAGS_TUPLE_SUBCLASS:
        if _put(t_TUPLE) < 0:
            return -1
    else:
        if _put(t_DICT) < 0:
            return -1
        while DICT_NEXT(item, &at, &key, &value):
            if _keep_leaf(frame, key) < 0:
                return -1
    return _put(cursor.count)


cdef int _close(Frame frame, _Lazy lazy, Py_ssize_t* made) noexcept:
    """The container above the top of the stack has been searched."""
    global _key_count, _name_count
    cdef Cursor* cursor = &_cursors[_cursor_count]
    cdef Met* met = _met(cursor.item)
    if met == NULL:
        return -1
    if not cursor.found:
        _key_count = cursor.tokens
        _name_count = cursor.names
        while frame.leaf_count > cursor.leaves:
            frame.leaf_count -= 1
            DECREF(frame.leaves[frame.leaf_count])  # never the last reference: the container holds it
        met.state = PLAIN
        return _put_leaf(frame, cursor.item)
    if cursor.looped:
        _put_trouble("loop", <object>cursor.item, lazy)
        return -1
    met.state = made[0]
    made[0] += 1
    if _cursor_count:
        _cursors[_cursor_count - 1].found = 1
    return 0


# ------------------------------------------------------------------------------------------------- reading keys


cdef struct Ints:
    int32_t* at
    Py_ssize_t count
    Py_ssize_t room


cdef inline int _add(Ints* ints, Py_ssize_t value) noexcept:
    if value > 0x7FFFFFFF or ints.count >= 0x7FFFFFFF:
        PyErr_NoMemory()
        return -1
    if ints.count == ints.room and _grow(<void**>&ints.at, &ints.room, sizeof(int32_t), 0) < 0:
        return -1
    ints.at[ints.count] = <int32_t>value
    ints.count += 1
    return 0


cdef struct Reader:
    int64_t* key
    Py_ssize_t at
    Py_ssize_t name  # number of the next name
    Py_ssize_t leaf  # number of the next leaf


cdef struct Head:
    int64_t serial
    Py_ssize_t npos
    Py_ssize_t nkw
    Py_ssize_t first_name
    int64_t flags


cdef struct Nest:  # a container whose items are being read
    Py_ssize_t left
    int32_t code
    int32_t count
    int32_t leaf


cdef Nest* _nests = NULL
cdef Py_ssize_t _nest_room = 0


cdef void _read_head(Reader* reader, Head* head) noexcept:
    cdef int64_t packed = reader.key[reader.at + 1]
    head.serial = reader.key[reader.at]
    head.npos = <Py_ssize_t>(packed & COUNT_MASK)
    head.nkw = <Py_ssize_t>((packed >> COUNT_BITS) & COUNT_MASK)
    head.flags = packed >> (2 * COUNT_BITS)
    head.first_name = reader.name
    reader.name += head.nkw
    reader.at += 2 + head.nkw


cdef int _read_items(Reader* reader, Head* head, Ints* codes) noexcept:
    """Turn the items of a record (containers before their items) into stack codes (items first)."""
    cdef Py_ssize_t position
    for position in range(head.npos + head.nkw):
        if reader.key[reader.at] == t_LEAF:
            reader.at += 1
            if _add(codes, t_ARGUMENT) < 0 or _add(codes, position) < 0:
                return -1
        elif _read_item(reader, codes) < 0:
            return -1
    return 0


cdef int _read_item(Reader* reader, Ints* codes) noexcept:
    global _nest_room
    cdef Py_ssize_t depth = 0
    cdef int64_t token
    cdef Nest* nest
    while True:
        token = reader.key[reader.at]
        reader.at += 1
        if token >= 0:
            if _add(codes, token) < 0:
                return -1
        elif token == t_LEAF:
            if _add(codes, t_LEAF) < 0 or _add(codes, reader.leaf) < 0:
                return -1
            reader.leaf += 1
        elif token == t_SHARED:
            if _add(codes, t_SHARED) < 0 or _add(codes, reader.key[reader.at]) < 0:
                return -1
            reader.at += 1
        elif token == t_INJECT:
            if _add(codes, t_INJECT) < 0 or _add(codes, reader.name) < 0:
                return -1
            reader.at += 1
            reader.name += 1
        else:
            if depth == _nest_room and _grow(<void**>&_nests, &_nest_room, sizeof(Nest), 0) < 0:
                return -1
            nest = &_nests[depth]
            depth += 1
            nest.code = <int32_t>token
            nest.leaf = <int32_t>reader.leaf
            if token == t_KIND:
                reader.at += 1
                reader.name += 1
                reader.leaf += 1
                nest.left = nest.count = 1
            else:
                nest.left = nest.count = <int32_t>reader.key[reader.at]
                reader.at += 1
                if token == t_DICT or token == t_ROUTER:  # keys; the Router and the keys of its routes
                    reader.leaf += nest.count
            if nest.left:
                continue
            depth -= 1
            if _add_nest(codes, nest) < 0:
                return -1
        while depth:
            nest = &_nests[depth - 1]
            nest.left -= 1
            if nest.left:
                break
            depth -= 1
            if _add_nest(codes, nest) < 0:
                return -1
        if depth == 0:
            return 0


cdef int _add_nest(Ints* codes, Nest* nest) noexcept:
    if _add(codes, nest.code) < 0 or _add(codes, nest.leaf if nest.code == t_KIND else nest.count) < 0:
        return -1
    if nest.code == t_DICT or nest.code == t_ROUTER:
        return _add(codes, nest.leaf)
    return 0


cdef inline int _operands(int32_t code) noexcept:
    """How many numbers follow a code."""
    if code >= 0:
        return 0
    return 2 if code == t_DICT or code == t_ROUTER else 1


@cython.final
cdef class Operation:
    """One lazy result of a traced expression, see ``_hot_py.py``."""

    cdef readonly object callee
    cdef readonly tuple values
    cdef readonly object retry
    cdef readonly object lazy
    cdef readonly tuple keywords
    cdef readonly object codes
    cdef readonly int64_t flags
    cdef readonly int64_t condition
    cdef readonly tuple amounts
    cdef readonly tuple after
    cdef readonly int64_t equal
    cdef readonly int64_t constant
    cdef readonly int64_t factory


@cython.final
cdef class Expression:
    """A traced expression: its key, and its operations (one for each lazy result, dependencies first)."""

    cdef readonly bytes key
    cdef readonly list names
    cdef readonly list leaves
    cdef readonly list operations
    cdef readonly str unkeyed


cdef Operation _operation(Reader* reader, tuple names, Op* op):
    """Read a record into an object."""
    cdef Head head
    cdef Ints codes
    cdef Py_ssize_t i, count
    cdef Operation made = Operation.__new__(Operation)
    _read_head(reader, &head)
    made.callee = <object>op.callee if op.callee != NULL else None
    made.values = <tuple>op.values
    made.retry = <object>op.retry if op.retry != NULL else None
    made.lazy = <object>op.lazy if op.lazy != NULL else None
    made.keywords = names[head.first_name:head.first_name + head.nkw]
    made.flags = head.flags
    made.condition = made.equal = made.constant = made.factory = -1
    made.amounts = ()
    made.after = ()
    if not head.flags & f_DIRECT:
        codes.at = NULL
        codes.count = codes.room = 0
        try:
            if _read_items(reader, &head, &codes) < 0:
                raise MemoryError()
            made.codes = _code_tuples(&codes, names)
        finally:
            free(codes.at)
    if head.flags & f_CONSTANT:
        made.constant = reader.leaf
        reader.leaf += 1
    if head.flags & f_MAP:
        made.factory = reader.leaf
        reader.leaf += 1
    if head.flags & f_CONDITION:
        made.condition = reader.key[reader.at]
        reader.at += 1
    if head.flags & f_CONSTRAINTS:
        count = <Py_ssize_t>reader.key[reader.at]
        made.amounts = tuple([(names[reader.name + i], reader.key[reader.at + 2 + 2 * i]) for i in range(count)])
        reader.name += count
        reader.at += 1 + 2 * count
    if head.flags & f_AFTER:
        count = <Py_ssize_t>reader.key[reader.at]
        made.after = tuple([reader.key[reader.at + 1 + i] for i in range(count)])
        reader.at += 1 + count
    if head.flags & f_MERGED:
        made.equal = reader.key[reader.at]
        reader.at += 1
    return made


cdef tuple _code_tuples(Ints* codes, tuple names):
    cdef list found = []
    cdef Py_ssize_t at = 0, count
    cdef int32_t code
    while at < codes.count:
        code = codes.at[at]
        count = _operands(code)
        if code == t_INJECT:
            found.append((t_INJECT, names[codes.at[at + 1]]))
        elif count == 0:
            found.append((code,))
        elif count == 1:
            found.append((code, codes.at[at + 1]))
        else:
            found.append((code, codes.at[at + 1], codes.at[at + 2]))
        at += 1 + count
    return tuple(found)


# -------------------------------------------------------------------------------------------------------- programs


cdef enum:
    PLAIN_CALL = 0  # the call's own values are the arguments
    FLAT_CALL = 1  # one number for each argument: a register, or -1 for the value at the same position
    NESTED_CALL = 2  # stack codes


cdef struct Instruction:
    int32_t kind
    int32_t npos
    int32_t count  # of arguments, injected ones left out
    int32_t codes  # where they start
    int32_t codes_end
    int32_t injected  # where they start
    int32_t injected_count
    int32_t is_async  # or a map: what waits for others
    int32_t factory  # the leaf that makes the items of a map, -1 of a call
    PyObject* keywords  # names of the last arguments: owned tuple or NULL
    PyObject* code  # owned or NULL: while the function has this code, all arguments may be passed by position


cdef struct Turn:  # what decides whether an operation runs, see _hot_py.py
    int32_t condition  # operation or -1
    int32_t constant  # leaf or -1
    int32_t after  # where they start in the links
    int32_t inputs  # where they start, and those that it comes after end: pairs of operation, and Router or -1
    int32_t end
    int32_t choice  # number of its first Router


cdef struct Choice:  # a Router
    int32_t consumer
    int32_t selector
    int32_t router  # leaf
    int32_t routes  # where they start in the links: operations or, as ~k, leaves
    int32_t count


@cython.final
cdef class Program:
    """A compiled template: immutable, without a single value of the expression it was compiled from."""

    cdef int64_t* _key
    cdef Py_ssize_t _key_count
    cdef tuple _names
    cdef Instruction* instructions
    cdef int32_t* codes
    cdef int32_t* order
    cdef int32_t* group  # by place in the order: how many operations start together there, 0 for one alone
    cdef int32_t* equal  # by operation: the one whose result is its own
    cdef Turn* turns  # by operation; NULL where all of them run, one after the other
    cdef Choice* choices
    cdef Py_ssize_t choice_count
    cdef int32_t* links
    cdef int32_t* ends  # by place in the order: where its stage ends
    cdef int32_t* places  # by operation: where it stands in the order
    cdef int32_t* records  # by operation: where its record starts in the key; NULL if _matches() cannot tell
    cdef int32_t* first_leaves  # by operation: the first leaf in its containers, -1 without any; NULL if none has any
    cdef Py_ssize_t distinct  # operations that are their own
    cdef tuple injected  # resource names
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t leaf_count
    cdef readonly tuple requires
    cdef readonly tuple tasks
    cdef readonly tuple why
    cdef readonly bint hot
    cdef bint is_open
    cdef public int64_t epoch
    cdef bint touched
    cdef bint needs_resources
    cdef public object plan
    cdef public object table
    cdef public object watch
    cdef object __weakref__

    def __dealloc__(self):
        cdef Py_ssize_t i
        if self.instructions != NULL:
            for i in range(self.count):
                XDECREF(self.instructions[i].keywords)
                XDECREF(self.instructions[i].code)
        free(self._key)
        free(self.instructions)
        free(self.codes)
        free(self.order)
        free(self.group)
        free(self.equal)
        free(self.records)
        free(self.first_leaves)
        free(self.turns)
        free(self.choices)
        free(self.links)
        free(self.ends)
        free(self.places)

    def __len__(self):
        return self.count

    @property
    def open(self):
        """Whether it may run hot in this epoch; never if it is not ``hot``."""
        return self.is_open

    @open.setter
    def open(self, value):
        self.is_open = bool(value) and self.hot

    @property
    def key(self):
        """The template key, as the buffer's bytes."""
        return PyBytes_FromStringAndSize(<char*>self._key, self._key_count * sizeof(int64_t))

    @property
    def names(self):
        """Strings and types whose addresses are in the key, in order."""
        return list(self._names)


cdef struct View:
    Py_buffer buffer
    int32_t* at
    Py_ssize_t count


cdef int _view(object source, View* view) except -1:
    PyObject_GetBuffer(source, &view.buffer, PyBUF_SIMPLE)
    view.at = <int32_t*>view.buffer.buf
    view.count = view.buffer.len // <Py_ssize_t>sizeof(int32_t)
    return 0


def layers(Frame frame not None):
    """Plan the expression that the frame is waiting with: an operation comes in the first stage after all it needs.

    Returns offsets and indices as ``compile_program`` takes them; a stage keeps the order of the operations.
    """
    cdef Py_ssize_t count, op, stages = 0, distinct = 0, before
    cdef int32_t* levels = NULL  # by operation: its stage, or ~stage where an earlier one stands for it
    cdef int32_t* offsets = NULL
    cdef int32_t* indices = NULL
    cdef Reader reader
    cdef int32_t level
    frame._check_waiting()
    count = frame.op_count - frame.levels[frame.level_count - 1].ops
    reader.key = frame.key
    reader.at = 1
    reader.name = reader.leaf = 0
    try:
        levels = <int32_t*>malloc(<size_t>count * sizeof(int32_t))
        offsets = <int32_t*>calloc(<size_t>count + 2, sizeof(int32_t))
        indices = <int32_t*>malloc(<size_t>count * sizeof(int32_t))
        if levels == NULL or offsets == NULL or indices == NULL:
            raise MemoryError()
        for op in range(count):
            level = levels[op] = _level_of(&reader, levels)
            if level >= 0:
                distinct += 1
                offsets[level + 2] += 1
                stages = max(stages, level + 1)
        for op in range(stages):  # now offsets[s + 1] is where stage s begins, until its members are put there
            offsets[op + 2] += offsets[op + 1]
        before = 0
        for op in range(count):
            if levels[op] >= 0:
                indices[offsets[levels[op] + 1]] = <int32_t>before
                offsets[levels[op] + 1] += 1
                before += 1
        return _int32s(offsets, stages + 1), _int32s(indices, distinct)
    finally:
        free(levels)
        free(offsets)
        free(indices)


cdef object _int32s(int32_t* at, Py_ssize_t count):
    made = _array("i")
    made.frombytes(PyBytes_FromStringAndSize(<char*>at, count * <Py_ssize_t>sizeof(int32_t)))
    return made


cdef int32_t _level_of(Reader* reader, int32_t* levels) noexcept:
    """The stage of the operation whose record comes next; ~stage if an earlier operation stands for it."""
    cdef Head head
    cdef Py_ssize_t left, count
    cdef int64_t token
    cdef int32_t level = 0
    _read_head(reader, &head)
    left = 0 if head.flags & f_DIRECT else head.npos + head.nkw
    while left:
        left -= 1
        token = reader.key[reader.at]
        reader.at += 1
        if token >= 0:
            level = _beyond(levels, token, level)
        elif token == t_SHARED or token == t_INJECT:
            reader.at += 1
        elif token == t_KIND:
            reader.at += 1
            left += 1
        elif token != t_LEAF:  # a container: its items come next
            left += <Py_ssize_t>reader.key[reader.at]
            reader.at += 1
    if head.flags & f_CONDITION:
        level = _beyond(levels, reader.key[reader.at], level)
        reader.at += 1
    if head.flags & f_CONSTRAINTS:
        count = <Py_ssize_t>reader.key[reader.at]
        reader.at += 1
        for _ in range(count):
            if reader.key[reader.at + 1] >= 0:
                level = _beyond(levels, reader.key[reader.at + 1], level)
            reader.at += 2
    if head.flags & f_AFTER:
        count = <Py_ssize_t>reader.key[reader.at]
        reader.at += 1
        for _ in range(count):
            level = _beyond(levels, reader.key[reader.at], level)
            reader.at += 1
    if head.flags & f_MERGED:
        level = levels[reader.key[reader.at]]
        reader.at += 1
        return level if level < 0 else ~level
    return level


cdef inline int32_t _beyond(int32_t* levels, int64_t register, int32_t level) noexcept:
    cdef int32_t above = levels[register]
    above = (above if above >= 0 else ~above) + 1
    return above if above > level else level


def compile_program(Frame frame not None, offsets, indices):
    """Compile the expression that the frame is waiting with.

    ``offsets`` and ``indices`` (int32 buffers) are the indexed plan: stage s is
    ``indices[offsets[s]:offsets[s + 1]]``. Index i is the i-th operation of the expression that is not merged into
    another; those beyond stand for none.
    """
    cdef View starts, members
    cdef Program program
    if not frame.waits:
        raise RuntimeError("no expression of this frame waits for full processing")
    frame._check_idle()
    frame.running = True  # reading signatures may run anything
    try:
        program = _compiled(frame)
    finally:
        frame.running = False
    _view(offsets, &starts)
    try:
        _view(indices, &members)
        try:
            _schedule(program, &starts, &members)
        finally:
            PyBuffer_Release(&members.buffer)
    finally:
        PyBuffer_Release(&starts.buffer)
    program.hot = not program.why
    return program


cdef Program _compiled(Frame frame):
    """The instructions of the waiting expression, in post-order."""
    cdef Program program = Program.__new__(Program)
    cdef Level* level = &frame.levels[frame.level_count - 1]
    cdef Py_ssize_t count = frame.op_count - level.ops, i
    cdef Reader reader
    cdef Ints codes
    cdef dict why = {}
    cdef list resources = []
    cdef object callee
    cdef list tasks = []
    cdef PyObject** leaves = frame.leaves + level.leaves
    program.epoch = -1
    program._names = frame.names
    program.leaf_count = frame.leaf_count - level.leaves
    program._key_count = frame.key_count
    program._key = <int64_t*>malloc(<size_t>frame.key_count * sizeof(int64_t))
    program.instructions = <Instruction*>calloc(<size_t>count, sizeof(Instruction))
    program.order = <int32_t*>malloc(<size_t>count * sizeof(int32_t))
    program.group = <int32_t*>calloc(<size_t>count, sizeof(int32_t))
    program.equal = <int32_t*>malloc(<size_t>count * sizeof(int32_t))
    program.ends = <int32_t*>malloc(<size_t>count * sizeof(int32_t))
    program.places = <int32_t*>malloc(<size_t>count * sizeof(int32_t))
    if program._key == NULL or program.instructions == NULL or program.order == NULL:
        raise MemoryError()
    if program.group == NULL or program.equal == NULL or program.ends == NULL or program.places == NULL:
        raise MemoryError()
    program.count = count
    memcpy(program._key, frame.key, <size_t>frame.key_count * sizeof(int64_t))
    reader.key = program._key
    reader.at = 1
    reader.name = reader.leaf = 0
    codes.at = NULL
    codes.count = codes.room = 0
    watch = set()
    cdef bint has_turns = False
    try:
        for i in range(count):
            if _compile_record(program, &reader, i, &frame.ops[level.ops + i], leaves, &codes, resources, why):
                has_turns = True
            callee = <object>frame.ops[level.ops + i].callee if frame.ops[level.ops + i].callee != NULL else None
            if callee is not None:
                watch.add(callee)
            if program.instructions[i].factory >= 0:
                tasks.append(_map_name(<object>leaves[program.instructions[i].factory]))
            else:
                tasks.append(_op_name(&frame.ops[level.ops + i]))
    finally:
        program.codes = codes.at
    if has_turns:
        _compile_turns(program, frame._expression().operations)
    else:
        _find_records(program, frame.ops + level.ops)
    program.injected = tuple(resources)
    names = _marked(program)
    names.update([inject[2] for callee in watch for inject in callee.injects])
    program.requires = tuple(sorted(names))
    program.needs_resources = bool(program.requires)
    program.tasks = tuple(tasks)
    program.why = tuple(why)
    program.watch = list(watch)
    return program


cdef int _find_records(Program program, Op* ops) except -1:
    """Note where the records start, if _matches() can tell whether another expression has the same.

    Two calls of a pure task are left out: whether they are one depends on their values.
    """
    global _matched_room
    cdef int32_t* records
    cdef int32_t* leaves
    cdef Py_ssize_t op, i
    if program.count > 0x7FFFFFFF // 64:
        return 0
    for op in range(program.count):
        if ops[op].callee != NULL and (<Callee>ops[op].callee).pure:
            for i in range(op):
                if ops[i].callee == ops[op].callee:
                    return 0
    if program.count > _matched_room:
        if _grow(<void**>&_matched, &_matched_room, sizeof(PyObject*), program.count) < 0:
            raise MemoryError()
    records = <int32_t*>malloc(<size_t>program.count * sizeof(int32_t))
    leaves = <int32_t*>malloc(<size_t>program.count * sizeof(int32_t))
    if records != NULL and leaves != NULL and _read_records(program, records, leaves):
        program.records, records = records, NULL
        for op in range(program.count):
            if leaves[op] >= 0:
                program.first_leaves, leaves = leaves, NULL
                break
    elif records == NULL or leaves == NULL:
        op = -1
    free(records)
    free(leaves)
    if op < 0:
        raise MemoryError()
    return 0


cdef bint _read_records(Program program, int32_t* records, int32_t* leaves) noexcept:
    """Whether all calls have leaves, calls, and lists, tuples and dicts for arguments, and no policy but retry and jump."""
    cdef Reader reader
    cdef Head head
    cdef Py_ssize_t op
    reader.key = program._key
    reader.at = 1
    reader.name = reader.leaf = 0
    for op in range(program.count):
        records[op] = <int32_t>reader.at
        leaves[op] = -1
        _read_head(&reader, &head)
        if head.flags & ~<int64_t>(f_DIRECT | f_RETRY | f_JUMP) or reader.at > 0x7FFFFFFF:
            return False
        if program.instructions[op].kind == NESTED_CALL:
            leaves[op] = <int32_t>reader.leaf
            if not _pass_arguments(&reader, head.npos + head.nkw):
                return False
        elif not head.flags & f_DIRECT:
            reader.at += head.npos + head.nkw
    return True


cdef bint _pass_arguments(Reader* reader, Py_ssize_t count) noexcept:
    """Go on behind the arguments of a call; False if _matches_container() cannot tell whether others are like them."""
    cdef Py_ssize_t i, opened = 0
    cdef int found
    for i in range(count):
        if reader.key[reader.at] == t_LEAF:  # the call's own values have it
            reader.at += 1
            continue
        found = _pass_item(reader, MOST_LEVELS)
        opened += found
        if found < 0 or opened > MOST_OPENED:
            return False
    return True


cdef int _pass_item(Reader* reader, int levels) noexcept:
    """Go on behind an item, and count its containers; -1 if they are too deep or too many, or hold something else."""
    cdef int64_t token = reader.key[reader.at], i, count
    cdef int opened = 1, found
    reader.at += 1
    if token >= t_LEAF:
        reader.leaf += token == t_LEAF
        return 0
    if token != t_LIST and token != t_TUPLE and token != t_DICT or not levels:
        return -1
    count = reader.key[reader.at]
    reader.at += 1
    if token == t_DICT:
        reader.leaf += count
    for i in range(count):
        found = _pass_item(reader, levels - 1)
        opened += found
        if found < 0 or opened > MOST_OPENED:
            return -1
    return opened


cdef object _op_name(Op* op):
    if op.callee != NULL:
        return (<Callee>op.callee).name
    factory = (<_Lazy>op.lazy).source if op.lazy != NULL else None
    return f"map({getattr(factory, 'name', 'factory')})"


cdef object _map_name(factory):
    name = getattr(factory, "name", None)
    return f"map({name})" if isinstance(name, str) else "map(factory)"


cdef set _marked(Program program):
    """The names of the resources that arguments are marked with."""
    cdef set names = set()
    cdef Py_ssize_t op, at
    for op in range(program.count):
        if program.instructions[op].kind == NESTED_CALL:
            at = program.instructions[op].codes
            while at < program.instructions[op].codes_end:
                if program.codes[at] == t_INJECT:
                    names.add(program._names[program.codes[at + 1]])
                at += 1 + _operands(program.codes[at])
    return names


cdef int _compile_turns(Program program, list operations) except -1:
    """Note what decides whether the operations run: it is read off their policies and stack codes."""
    cdef list turns = [], choices = []
    cdef Operation operation
    cdef Py_ssize_t op, count = 0
    for op in range(program.count):
        operation = operations[op]
        first = len(choices)
        inputs = _inputs_of(program, op, operation.codes, choices)
        after = [program.equal[<Py_ssize_t>one] for one in operation.after]
        condition = program.equal[operation.condition] if operation.condition >= 0 else -1
        turns.append((condition, operation.constant, after, inputs, first))
        count += len(after) + 2 * len(inputs)
    for consumer, selector, router, routes in choices:
        count += len(routes)
    if count > 0x7FFFFFFF:
        raise MemoryError()
    program.turns = <Turn*>malloc(<size_t>program.count * sizeof(Turn))
    program.choices = <Choice*>malloc(<size_t>max(len(choices), 1) * sizeof(Choice))
    program.links = <int32_t*>malloc(<size_t>max(count, 1) * sizeof(int32_t))
    if program.turns == NULL or program.choices == NULL or program.links == NULL:
        raise MemoryError()
    program.choice_count = len(choices)
    _fill_turns(program, turns, choices)
    return 0


cdef int _fill_turns(Program program, list turns, list choices) except -1:
    cdef Turn* turn = program.turns
    cdef Choice* choice = program.choices
    cdef int32_t at = 0
    for condition, constant, after, inputs, first in turns:
        turn.condition, turn.constant, turn.choice = condition, constant, first
        turn.after = at
        for one in after:
            program.links[at] = one
            at += 1
        turn.inputs = at
        for one, number in inputs:
            program.links[at] = one
            program.links[at + 1] = number
            at += 2
        turn.end = at
        turn += 1
    for consumer, selector, router, routes in choices:
        choice.consumer, choice.selector, choice.router = consumer, selector, router
        choice.routes, choice.count = at, <int32_t>len(routes)
        for one in routes:
            program.links[at] = one
            at += 1
        choice += 1
    return 0


cdef list _inputs_of(Program program, Py_ssize_t op, codes, list choices):
    """The operations that arguments need, each with the number of the Router that it selects for, or -1.

    Routers are added to ``choices``.
    """
    cdef list inputs = [], stack = []  # of pairs: inputs, and the item itself as an operation or ~leaf
    for code in codes or ():
        kind = code[0]
        if kind >= 0:
            kind = program.equal[<Py_ssize_t>kind]
            stack.append(([(kind, -1)], kind))
        elif kind == t_ROUTER:
            items = stack[len(stack) - code[1]:]
            del stack[len(stack) - code[1]:]
            routes = []
            for _, item in items[1:]:
                routes.append(item)
            choices.append((op, items[0][1], code[2], routes))
            stack.append(([(items[0][1], len(choices) - 1)], 0))
        elif kind == t_LIST or kind == t_TUPLE or kind == t_DICT:
            items = stack[len(stack) - code[1]:]
            del stack[len(stack) - code[1]:]
            found = []
            for one, _ in items:
                found += one
            stack.append((found, 0))
        elif kind != t_KIND:  # whatever is shared was found before
            stack.append(([], ~code[1] if kind == t_LEAF else 0))
    for found, _ in stack:
        inputs += found
    return list(dict.fromkeys(inputs))


_WHY = ((f_CACHE, "cache"), (f_CONSTRAINTS, "with_constraints"))


cdef int _compile_record(
    Program program, Reader* reader, Py_ssize_t number, Op* op, PyObject** leaves, Ints* codes, list resources,
    dict why
) except -1:
    """Compile the record that comes next; 1 if more than its place in the plan decides when, or whether, it runs."""
    cdef Head head
    cdef bint has_turn
    cdef Instruction* made = &program.instructions[number]
    cdef Py_ssize_t i
    cdef tuple keywords = ()
    cdef list missing = None
    _read_head(reader, &head)
    made.npos = <int32_t>head.npos
    made.count = <int32_t>(head.npos + head.nkw)
    made.codes = <int32_t>codes.count
    made.injected = <int32_t>len(resources)
    if head.nkw:
        keywords = program._names[head.first_name:head.first_name + head.nkw]
    has_turn = head.flags & (f_CONDITION | f_CONSTANT | f_AFTER) != 0
    if head.flags & (f_CACHE | f_CONSTRAINTS):
        for flag, reason in _WHY:
            if head.flags & <int64_t>flag:
                why[reason] = None
    made.factory = -1
    made.is_async = True
    if not head.flags & f_MAP:
        missing = _missing(<Callee>op.callee, head.npos, keywords, why)
        made.is_async = (<Callee>op.callee).is_async
    if missing:
        for parameter, resource in missing:
            keywords += (parameter,)
            resources.append(resource)
        made.injected_count = <int32_t>len(missing)
    if keywords:
        INCREF(<PyObject*>keywords)
        made.keywords = <PyObject*>keywords
        if not head.flags & f_MAP and _is_positional((<Callee>op.callee).func, head.npos, keywords):
            made.code = cascade_code(<PyObject*>(<Callee>op.callee).func)
            INCREF(made.code)
    if head.flags & f_DIRECT:
        made.kind = FLAT_CALL if missing else PLAIN_CALL
        if missing:
            for i in range(made.count):
                if _add(codes, -1) < 0:
                    raise MemoryError()
    elif _compile_items(leaves, reader, &head, made, codes, program.equal, why):
        has_turn = True
    made.codes_end = <int32_t>codes.count
    reader.leaf += head.flags & f_CONSTANT != 0
    if head.flags & f_MAP:
        made.factory = <int32_t>reader.leaf
        reader.leaf += 1
    if head.flags & f_CONDITION:
        reader.at += 1
    if head.flags & f_CONSTRAINTS:
        reader.name += <Py_ssize_t>reader.key[reader.at]
        reader.at += 1 + 2 * <Py_ssize_t>reader.key[reader.at]
    if head.flags & f_AFTER:
        reader.at += 1 + <Py_ssize_t>reader.key[reader.at]
    program.equal[number] = <int32_t>number
    if head.flags & f_MERGED:
        program.equal[number] = <int32_t>reader.key[reader.at]
        reader.at += 1
    else:
        program.distinct += 1
    return has_turn


cdef bint _is_positional(func, Py_ssize_t npos, tuple keywords) except -1:
    """Whether keywords name just the parameters that follow the positional arguments: then they say nothing more."""
    cdef Py_ssize_t end = npos + len(keywords)
    if not cascade_is_function(<PyObject*>func):
        return False
    code = func.__code__
    for name in keywords:
        if type(name) is not str:
            return False
    return code.co_posonlyargcount <= npos and end <= code.co_argcount and code.co_varnames[npos:end] == keywords


cdef list _missing(Callee callee, Py_ssize_t npos, tuple keywords, dict why):
    """Injected parameters that the call does not pass, as (parameter, resource); None if the task has none."""
    cdef list found
    if callee.mode is not None:
        why[f"mode={callee.mode!r}"] = None
    if not callee.injects:
        return None
    found = []
    for parameter, position, resource in callee.injects:
        if 0 <= position < npos or parameter in keywords:
            continue
        if position == -2:
            why["positional-only injected parameter"] = None
        found.append((parameter, resource))
    return found


cdef int _compile_items(
    PyObject** leaves, Reader* reader, Head* head, Instruction* made, Ints* codes, int32_t* equal, dict why
) except -1:
    """One number for each argument where that says it all, else stack codes; 1 if a Router is among them."""
    cdef Py_ssize_t start = codes.count, at, i
    cdef bint nested = False, is_made = False, is_routed = False
    if _read_items(reader, head, codes) < 0:
        raise MemoryError()
    at = start
    while at < codes.count:
        if codes.at[at] >= 0:
            codes.at[at] = equal[codes.at[at]]
        elif codes.at[at] != t_ARGUMENT:
            nested = True
            if codes.at[at] == t_ROUTER:
                is_made = is_routed = True
            elif codes.at[at] == t_LIST or codes.at[at] == t_TUPLE or codes.at[at] == t_DICT:
                is_made = True
            elif codes.at[at] == t_KIND:
                why[f"container of type {type(<object>leaves[codes.at[at + 1]]).__name__}"] = None
        at += 1 + _operands(codes.at[at])
    made.kind = NESTED_CALL if nested else FLAT_CALL
    if is_made and head.flags & f_RETRY and not head.flags & f_MAP:
        why["a retried call keeps the arguments that were put together for its first attempt"] = None
    if not nested:
        at = i = start
        while at < codes.count:
            codes.at[i] = codes.at[at] if codes.at[at] >= 0 else -1
            at += 1 + _operands(codes.at[at])
            i += 1
        codes.count = i
    return is_routed


cdef int _schedule(Program program, View* starts, View* members) except -1:
    """Flatten the stages: in each, synchronous operations first, then the asynchronous ones as a group."""
    cdef Py_ssize_t stage, i, count = 0
    cdef int32_t* done = <int32_t*>calloc(<size_t>program.count, sizeof(int32_t))
    cdef int32_t* ops = <int32_t*>malloc(<size_t>program.count * sizeof(int32_t))  # of the plan's indices
    cdef Py_ssize_t place = 0
    try:
        if done == NULL or ops == NULL:
            raise MemoryError()
        for i in range(program.count):
            if program.equal[i] == i:
                ops[count] = <int32_t>i
                count += 1
        for stage in range(starts.count - 1):
            if not 0 <= starts.at[stage] <= starts.at[stage + 1] <= members.count:
                raise ValueError(f"stage {stage} of the plan lies outside its indices")
            for i in range(starts.at[stage], starts.at[stage + 1]):
                if members.at[i] < 0:
                    raise ValueError(f"index {i} of the plan is negative")
        for stage in range(starts.count - 1):
            if place >= 0:
                place = _schedule_stage(program, starts.at[stage], starts.at[stage + 1], members, ops, done, place)
        if place != count or program.order[place - 1] != program.count - 1:
            program.why = program.why + (_UNSOUND,)
    finally:
        free(done)
        free(ops)
    return 0


cdef Py_ssize_t _schedule_stage(
    Program program, int32_t start, int32_t end, View* members, int32_t* ops, int32_t* done, Py_ssize_t place
) noexcept:
    """Put the operations of a stage into the order; return how many that has then, -1 if the plan is not sound."""
    cdef Py_ssize_t first = place, group = place
    cdef int32_t op, i
    cdef int is_async
    for is_async in range(2):
        group = place
        for i in range(start, end):
            if members.at[i] >= program.distinct:
                continue
            op = ops[members.at[i]]
            if program.instructions[op].is_async != is_async:
                continue
            if place == program.distinct or done[op] or not _ready(program, op, done):
                return -1
            program.order[place] = op
            place += 1
    if place - group > 1:
        program.group[group] = <int32_t>(place - group)
    for i in range(<int32_t>first, <int32_t>place):
        if done[program.order[i]]:
            return -1
        done[program.order[i]] = 1
        program.ends[i] = <int32_t>place
        program.places[program.order[i]] = i
    return place


cdef bint _ready(Program program, Py_ssize_t op, int32_t* done) noexcept:
    """Whether all that an operation waits for is done in earlier stages."""
    cdef Instruction* instruction = &program.instructions[op]
    cdef Py_ssize_t at = instruction.codes
    cdef int32_t code
    if program.turns != NULL:
        if program.turns[op].condition >= 0 and not done[program.turns[op].condition]:
            return False
        for code in program.links[program.turns[op].after:program.turns[op].inputs]:
            if not done[code]:
                return False
    while at < instruction.codes_end:
        code = program.codes[at]
        if code >= 0 and not done[code]:
            return False
        at += 1 if instruction.kind == FLAT_CALL else 1 + _operands(code)
    return True


@cython.final
cdef class Routine:
    """A blueprint as a program: one operation for each call, in the order of its instructions. See ``_hot_py.py``."""

    cdef readonly Program program
    cdef readonly tuple operations
    cdef readonly tuple values
    cdef readonly tuple inputs
    cdef readonly dict named
    cdef readonly tuple carried
    cdef readonly tuple calls
    cdef bint is_direct  # one call whose arguments are the positional inputs, in order

    def __init__(self, Program program not None, operations, values, inputs, named, carried, calls=()):
        self.program = program
        self.operations = tuple(operations)
        self.values = tuple([tuple(one) for one in values])
        self.inputs = tuple([tuple([(number, position) for number, position in places]) for places in inputs])
        self.named = {name: tuple([(number, position) for number, position in named[name]]) for name in named}
        self.carried = tuple([(source, number, position) for source, number, position in carried])
        self.calls = tuple(calls)
        self._check()
        given = tuple([((0, i),) for i in range(len(self.values[0]))])
        self.is_direct = program.count == 1 and not self.named and not self.carried and self.inputs == given

    cdef int _check(self) except -1:
        """Whether everything lies where the program looks for it."""
        cdef Py_ssize_t i
        if len(self.operations) != self.program.count or len(self.values) != self.program.count:
            raise ValueError("a routine has the operations of its program")
        if self.program.turns != NULL or self.program.leaf_count or self.program.distinct != self.program.count:
            raise ValueError("a routine runs all of its operations, one after the other")
        for i in range(self.program.count):
            if type(self.operations[i]) is not Operation or type((<Operation>self.operations[i]).callee) is not Callee:
                raise TypeError("an operation of a routine calls a function")
            if len(self.values[i]) != self.program.instructions[i].count or self.program.group[i]:
                raise ValueError(f"operation {i} of a routine takes {self.program.instructions[i].count} arguments")
        places = [place for one in (*self.inputs, *self.named.values()) for place in one]
        for number, position in (*places, *[(number, position) for _, number, position in self.carried]):
            if not 0 <= number < self.program.count or not 0 <= position < len(self.values[number]):
                raise ValueError(f"a routine has no argument {position} of operation {number}")
        for source, _, _ in self.carried:
            if not 0 <= source < self.program.count:
                raise ValueError(f"a routine has no operation {source}")
        return 0


cdef class ProgramCache:
    """Programs by key, the least recently used dropped beyond ``max_size``, those of dead tasks at once.

    Reads as a dict from key to program. ``epoch`` is raised when what the strategy decided about programs may be stale.
    """

    cdef public object max_size
    cdef public int64_t epoch
    cdef public int64_t steps
    cdef public int64_t nodes
    cdef dict programs
    cdef PyObject* last[MEMO_SIZE]  # borrowed from programs, by serial of the root's callee
    cdef object __weakref__

    def __cinit__(self, max_size=1024):  # not __init__: the memo borrows from the dict
        self.max_size = max_size
        self.programs = {}

    def __len__(self):
        return len(self.programs)

    def __iter__(self):
        return iter(list(self.programs))

    def __contains__(self, key):
        return key in self.programs

    def __getitem__(self, key):
        return self.programs[key]

    def __eq__(self, other):
        return self.programs == other

    __hash__ = None

    def get(self, key, default=None):
        """Return the program with this key, or the default."""
        return self.programs.get(key, default)

    def keys(self):
        """Return the keys, least recently used first."""
        return list(self.programs)

    def values(self):
        """Return the programs, least recently used first."""
        return list(self.programs.values())

    def items(self):
        """Return keys and programs, least recently used first."""
        return list(self.programs.items())

    def clear(self):
        """Forget all programs."""
        cdef dict old = self.programs
        cdef int i
        for i in range(MEMO_SIZE):
            self.last[i] = NULL
        self.programs = {}
        old.clear()

    def add(self, Program program not None):
        """Keep a program until one of its tasks dies or ``max_size`` others were used after it."""
        key = program.key
        program.watch = [weakref.ref(callee, _Dropper(self, key)) for callee in program.watch]
        old = self.programs.get(key)  # lives on while it is replaced: what runs when it dies may add one
        self.drop(key)
        self.programs[key] = program
        while len(self.programs) > max(self.max_size, 1):
            self._drop_oldest()

    cdef int _drop_oldest(self) except -1:
        """Drop what was used longest ago; what was met through the memo since gets a second chance."""
        cdef Program program
        key = next(iter(self.programs))
        program = self.programs[key]
        if program.touched:
            program.touched = False
            self.programs[key] = self.programs.pop(key)
            return 0
        self.drop(key)
        return 0

    def drop(self, key):
        """Forget the program with this key, if it is there."""
        cdef int i
        program = self.programs.pop(key, None)
        if program is not None:
            for i in range(MEMO_SIZE):
                if self.last[i] == <PyObject*>program:
                    self.last[i] = NULL

    cdef PyObject* find(self, int64_t serial) except? NULL:
        """Return the program of the key that was just traced, borrowed, or None: the root's last one, or any."""
        cdef PyObject* last = self.last[serial & (MEMO_SIZE - 1)]
        if last != NULL and (<Program>last)._key_count == _key_count:
            if memcmp((<Program>last)._key, _key, <size_t>_key_count * sizeof(int64_t)) == 0:
                (<Program>last).touched = True
                return last
        return self.find_any(serial)

    cdef PyObject* find_any(self, int64_t serial) except? NULL:
        cdef Program program = self.programs.get(PyBytes_FromStringAndSize(<char*>_key, _key_count * sizeof(int64_t)))
        if program is None:
            return <PyObject*>None
        program.touched = True
        self.last[serial & (MEMO_SIZE - 1)] = <PyObject*>program
        return <PyObject*>program


@cython.final
cdef class _Dropper:
    """Callback of a weak reference to a callee; holds the cache weakly."""

    cdef object cache
    cdef object key

    def __init__(self, cache, key):
        self.cache = weakref.ref(cache)
        self.key = key

    def __call__(self, _):
        cache = self.cache()
        if cache is not None:
            cache.drop(self.key)


# ----------------------------------------------------------------------------------------------------- frame and loop


cdef struct Level:
    PyObject* program  # owned; NULL while the level waits for full processing
    Py_ssize_t ops  # first of its operations in the frame
    Py_ssize_t leaves  # first of its leaves
    int32_t place  # in the program's order
    int32_t parent  # operation of the level below that waits for this value, -1 at the bottom
    int32_t end  # where there are turns: of the stage of this batch, as a place in the order
    int32_t back  # the first place that the next batch may have to go back to
    int32_t batch
    Py_ssize_t choices  # first of what its Routers have chosen
    PyObject* fan  # of the map whose turn it is: owned _Fan or NULL
    uint64_t path  # of the operations that wait below, 0 at the bottom


@cython.final
@cython.freelist(8)
cdef class _Fan:
    """A map whose items are evaluated one after the other, each on a level of its own."""

    cdef Task task
    cdef tuple names
    cdef list columns
    cdef list values
    cdef object retry
    cdef Py_ssize_t count


@cython.final
cdef class Frame:
    """The evaluation stack of one expression: tail calls replace the top level, expansions of inner calls push one."""

    cdef readonly ProgramCache cache
    cdef public dict resources
    cdef public bint hot
    cdef readonly Program last
    cdef public object value
    cdef readonly object awaitable
    cdef readonly object yielded
    cdef readonly bint started
    cdef readonly list group
    cdef readonly Py_ssize_t op
    cdef readonly object error
    cdef public int64_t steps
    cdef readonly int64_t nodes
    cdef Op* ops
    cdef Py_ssize_t op_count, op_room
    cdef PyObject** leaves
    cdef Py_ssize_t leaf_count, leaf_room
    cdef Level* levels
    cdef Py_ssize_t level_count, level_room
    cdef int32_t* choices  # by Router of the levels that have any: the number of its route
    cdef Py_ssize_t choice_count, choice_room
    cdef bint waits, done, running
    cdef PyObject* inbox  # a value to deliver, owned
    cdef object waiting_lazy
    cdef Program waiting_program
    cdef Program supplied  # its resources are known to be there
    cdef dict waiting_results
    cdef int64_t* key  # of the expression that waits
    cdef Py_ssize_t key_count, key_room
    cdef tuple names
    cdef bint is_unkeyed
    cdef bint is_refused  # what waits was running hot, and only full processing can tell what becomes of it
    cdef int32_t credit, batch  # nodes until the clock is asked again
    cdef int64_t run_number  # of the call of run() or run_items() that goes on, or 0
    cdef double asked
    cdef bint over  # the deadline had passed when the clock was asked
    cdef bint hurried  # somebody has asked for a control point
    cdef public bint jumps  # whether a Jump that the target returns is interpreted
    cdef public dict routines  # that tail calls may name, by id
    cdef readonly Routine routine  # that runs, or ran last, at the bottom
    cdef object selector  # of the step at the bottom: where its jumps lead
    cdef object data  # of the jump to the step that is about to begin
    cdef tuple given_values  # the values of the target at the bottom as a jump has them, or None
    cdef tuple given_for  # those that its call has
    cdef tuple given_names  # of the last of them
    cdef uint64_t given_places  # which of them the jump gives, as bits
    cdef dict given  # what a jump gives by key, where not all of it takes the place of a value
    cdef bint replaces  # the target's arguments are put together anew at its call: the values do not have it all
    cdef bint leads  # a jump has led to the step at the bottom, or may lead on from it

    def __cinit__(self, ProgramCache cache not None, dict resources not None, bint hot=True):
        self.cache = cache
        self.resources = resources
        self.hot = hot
        self.op = -1
        self.batch = self.credit = 1
        self.routines = {}

    def __dealloc__(self):
        self._release_all()
        free(self.ops)
        free(self.leaves)
        free(self.levels)
        free(self.choices)
        free(self.key)

    # What a strategy reads while a step waits for full processing.

    @property
    def waiting(self):
        """Whether a step waits for full processing."""
        return self.waits

    @property
    def lazy(self):
        """The lazy result that waits for full processing."""
        self._check_waiting()
        return self.waiting_lazy

    @property
    def program(self):
        """The program of what waits, or of the top level; None when there is none yet."""
        if self.waits or not self.level_count or self.levels[self.level_count - 1].program == NULL:
            return self.waiting_program
        return <object>self.levels[self.level_count - 1].program

    @property
    def key(self):
        """Template key of the step that waits."""
        self._check_waiting()
        return PyBytes_FromStringAndSize(<char*>self.key, self.key_count * sizeof(int64_t))

    @property
    def unkeyed(self):
        """Why no plan may be kept for the step that waits; empty if one may."""
        self._check_waiting()
        return _UNKEYED if self.is_unkeyed else ""

    @property
    def expression(self):
        """What was traced of the step that waits, or of the top level."""
        if not self.level_count:
            raise RuntimeError("this frame evaluates nothing")
        return self._expression()

    cdef Expression _expression(self):
        cdef Level* level = &self.levels[self.level_count - 1]
        cdef Expression made = Expression.__new__(Expression)
        cdef Program program = None
        cdef Reader reader
        cdef tuple names
        cdef Py_ssize_t i, end = self.op_count
        reader.at = 1
        reader.name = reader.leaf = 0
        if self.waits:
            reader.key = self.key
            names = self.names
            made.key = PyBytes_FromStringAndSize(<char*>self.key, self.key_count * sizeof(int64_t))
            made.unkeyed = _UNKEYED if self.is_unkeyed else ""
        else:
            program = self._running_program()
            end = level.ops + program.count  # beyond are those of a level that is being dropped
            reader.key = program._key
            names = program._names
            made.key = program.key
            made.unkeyed = ""
        made.names = list(names)
        # Not comprehensions: Cython 3.3's drop an item twice when their list cannot grow.
        made.leaves = []
        for i in range(level.leaves, self.leaf_count):
            made.leaves.append(<object>self.leaves[i])
        made.operations = []
        for i in range(level.ops, end):
            made.operations.append(_operation(&reader, names, &self.ops[i]))
        return made

    @property
    def results(self):
        """Results that the step that waits has already, by operation."""
        self._check_waiting()
        return self.waiting_results

    @property
    def refused(self):
        """Whether the step that waits was running hot, and only full processing can tell what becomes of it."""
        self._check_waiting()
        return self.is_refused

    @property
    def fans(self):
        """The maps whose items are being evaluated, as (program, operation), the innermost first."""
        cdef list found = []
        cdef Level* level
        cdef Py_ssize_t i
        for i in range(self.level_count - 1, -1, -1):
            level = &self.levels[i]
            if level.program != NULL and level.fan != NULL:
                found.append((<object>level.program, (<Program>level.program).order[level.place]))
        return found

    @property
    def may_suspend(self):
        """Whether the top level can be suspended where it is: not while items of a map of its are evaluated."""
        return not self.waits and self.level_count > 0 and self.levels[self.level_count - 1].fan == NULL

    @property
    def depth(self):
        """Levels in evaluation."""
        return self.level_count

    @property
    def path(self):
        """Where the top level lies: a number for the operations that wait below it, 0 if none does."""
        return self.levels[self.level_count - 1].path if self.level_count else 0

    cdef int _check_waiting(self) except -1:
        if not self.waits:
            raise RuntimeError("no expression of this frame waits for full processing")
        return 0

    cdef int _check_idle(self) except -1:
        if self.running:
            raise RuntimeError("this frame is running")
        return 0

    cdef Program _running_program(self):
        """The program of the top level. There is none in a level that waits, or whose end is just being noted."""
        if self.level_count == 0 or self.waits or self.levels[self.level_count - 1].program == NULL:
            raise RuntimeError("no program of this frame is running")
        return <Program>self.levels[self.level_count - 1].program

    cdef Op* _op(self, Py_ssize_t op) except NULL:
        """An operation of the top level."""
        cdef Program program = self._running_program()
        if op < 0 or op >= program.count:
            raise IndexError(f"operation {op} of an expression with {program.count}")
        return &self.ops[self.levels[self.level_count - 1].ops + op]

    def name_of(self, Py_ssize_t op):
        """Return the name of the task of an operation of the top level."""
        self._op(op)
        return self.program.tasks[op]

    def func_of(self, Py_ssize_t op):
        """Return the function of an operation of the top level."""
        return (<Callee>self._op(op).callee).func

    def is_async(self, Py_ssize_t op):
        """Return whether an operation of the top level, a coroutine function or a map, waits for others."""
        self._op(op)
        return bool((<Program>self.levels[self.level_count - 1].program).instructions[op].is_async)

    def factory_of(self, Py_ssize_t op):
        """Return what makes the items of an operation of the top level; None if it is no map."""
        cdef Level* level
        cdef int32_t factory
        self._op(op)
        level = &self.levels[self.level_count - 1]
        factory = (<Program>level.program).instructions[op].factory
        return <object>self.leaves[level.leaves + factory] if factory >= 0 else None

    def retry_of(self, Py_ssize_t op):
        """Return the retry policy of an operation of the top level, or None."""
        cdef PyObject* retry = self._op(op).retry
        return <object>retry if retry != NULL else None

    def arguments(self, Py_ssize_t op):
        """Return the arguments of an operation of the top level."""
        _check_ready(self, op)
        if self._is_given(&self.levels[self.level_count - 1], op):
            return _replaced(self, op)
        return _arguments(self, op)

    @property
    def overrides(self):
        """Arguments that a jump gives to the target of the step at the bottom, by key; None if there are none."""
        cdef dict found = {}
        cdef Py_ssize_t i, npos
        if self.given_values is None:
            return self.given
        npos = len(self.given_values) - len(self.given_names)
        for i in range(len(self.given_values)):
            if self.given_places >> i & 1:
                found[str(i) if i < npos else self.given_names[i - npos]] = self.given_values[i]
        return found

    cdef inline bint _is_given(self, Level* level, Py_ssize_t op) noexcept:
        """Whether a jump gives arguments to an operation that are not among its values."""
        return self.replaces and level.parent < 0 and op == self.op_count - level.ops - 1

    # What a strategy does.

    def begin(self, lazy):
        """Start with an expression. The frame must be new or done."""
        self._check_idle()
        if self.level_count or self.waits:
            raise RuntimeError("this frame is evaluating something already")
        if not _is_lazy(<PyObject*>lazy):
            raise TypeError(f"a frame evaluates lazy results, not {type(lazy).__name__}")
        self.done = False
        self.running = True
        try:
            _push(self, <PyObject*>lazy, -1)
        finally:
            self.running = False

    def enter(self, Program program not None):
        """Run hot what waits for full processing."""
        cdef Level* level
        self._check_idle()
        self._check_waiting()
        level = &self.levels[self.level_count - 1]
        if program.count != self.op_count - level.ops or program.leaf_count != self.leaf_count - level.leaves:
            raise ValueError("this program was compiled for another expression")
        if program._key_count != self.key_count or memcmp(
            program._key, self.key, <size_t>self.key_count * sizeof(int64_t)
        ):
            raise ValueError("this program was compiled for another expression")
        if not program.hot:
            raise ValueError(f"this program cannot run hot: {', '.join(program.why)}")
        if program.turns != NULL:
            _begin_turns(self, level, program)
        if self.leads and level.parent < 0:
            _give_apart(self, level, program)
        INCREF(<PyObject*>program)
        level.program = <PyObject*>program
        level.place = 0  # what was handed over in the middle begins anew
        self.running = True
        self._stop_waiting()
        self.running = False

    cdef void _stop_waiting(self):
        cdef Level* level = &self.levels[self.level_count - 1]
        cdef Py_ssize_t i
        cdef PyObject* lazy
        cdef PyObject* result
        self.waits = False
        self.supplied = None
        self.waiting_program = None
        self.waiting_results = None
        self.names = None
        self.waiting_lazy = None
        self.is_refused = False
        self.group = None
        for i in range(level.ops, self.op_count):
            lazy = NULL
            if not _keeps_lazies(level):
                lazy = self.ops[i].lazy
                self.ops[i].lazy = NULL
            result = self.ops[i].result  # it ran hot before: it runs again
            self.ops[i].result = NULL
            XDECREF(lazy)
            XDECREF(result)

    def finish(self, value):
        """Give the value that the target's function returned in full processing; it may be lazy."""
        self._check_idle()
        self._check_waiting()
        self.running = True  # finalisers that run now find the frame occupied
        try:
            self._finish(value)
        finally:
            self.running = False

    cdef int _finish(self, value) except -1:
        cdef int32_t parent
        cdef object name
        parent = self.levels[self.level_count - 1].parent
        name = _op_name(&self.ops[self.op_count - 1])
        self._stop_waiting()
        self._pop()
        if parent < 0:
            self.last = None
            if self.jumps and _is_a(<PyObject*>value, T_JUMP):
                return _jump(self, <Jump>value, name)
        following = continuation(value, name)
        if following is None:
            INCREF(<PyObject*>value)
            self._complete(<PyObject*>value, parent)
        else:
            _push(self, <PyObject*>following, parent)
        return 0

    def hurry(self):
        """Have the run that is going on return YIELD after the call that it is making, as if its time were over."""
        self.hurried = True
        self.credit = 0

    def suspend(self):
        """Hand the rest of the top level over to full processing; ``results`` has what has been computed."""
        self._check_idle()
        self.running = True
        try:
            self._suspend()
        finally:
            self.running = False

    cdef int _suspend(self) except -1:
        cdef Level* level
        cdef Program program
        cdef Py_ssize_t i, op
        cdef dict results = {}
        if self.level_count == 0 or self.waits:
            raise RuntimeError("no program of this frame is running")
        level = &self.levels[self.level_count - 1]
        if level.fan != NULL:
            raise RuntimeError("the items of a map are being evaluated")
        program = <Program>level.program
        for i in range(program.distinct):
            op = program.order[i]
            if _is_skipped(program, &self.ops[level.ops + op]):
                self.nodes -= 1  # it is judged, and counted, once more
            elif self.ops[level.ops + op].result != NULL:
                results[op] = <object>self.ops[level.ops + op].result
        if self.key_room < program._key_count:
            if _grow(<void**>&self.key, &self.key_room, sizeof(int64_t), program._key_count) < 0:
                raise MemoryError()
        memcpy(self.key, program._key, <size_t>program._key_count * sizeof(int64_t))
        self.key_count = program._key_count
        self.names = program._names
        self.is_unkeyed = False
        self.waiting_lazy = self._stand_ins()
        level = &self.levels[self.level_count - 1]
        self.waiting_program = program
        self.waiting_results = results
        self.waits = True
        self.steps -= 1  # it is not a hot step after all
        if program.turns != NULL:
            self.choice_count = level.choices
        level.program = NULL
        DECREF(<PyObject*>program)
        return 0

    cdef object _stand_ins(self):
        """Give the operations of a hot level lazies again: they were let go of when it was entered. The target's."""
        cdef Level* level = &self.levels[self.level_count - 1]
        cdef Expression expression
        cdef Operation operation
        cdef _Lazy lazy = None
        cdef Task task
        cdef Op* op
        cdef Py_ssize_t i = level.ops
        if _keeps_lazies(level):
            return <object>self.ops[self.op_count - 1].lazy
        expression = self._expression()
        for operation in expression.operations:
            if operation.factory >= 0:
                lazy = MappedLazyResult(
                    expression.leaves[operation.factory], dict(zip(operation.keywords, operation.values))
                )
                self._keep_lazy(i, lazy)
                i += 1
                continue
            task = Task.__new__(Task)
            task._callee = operation.callee
            lazy = LazyResult.__new__(LazyResult)
            lazy.source = task
            lazy.values = operation.values
            lazy.names = operation.keywords if operation.keywords else None
            lazy.retry = operation.retry
            self._keep_lazy(i, lazy)
            i += 1
        if self.selector is not None and self.level_count == 1:
            lazy.more().jump = self.selector
        return lazy

    cdef void _keep_lazy(self, Py_ssize_t op, _Lazy lazy) noexcept:
        cdef PyObject* old = self.ops[op].lazy
        INCREF(<PyObject*>lazy)
        self.ops[op].lazy = <PyObject*>lazy
        XDECREF(old)

    def resume(self, value):
        """Give the value of the awaitable."""
        cdef PyObject* old
        self._check_idle()
        self._op(self.op)
        self.awaitable = self.yielded = None
        INCREF(<PyObject*>value)
        old = self.inbox
        self.inbox = <PyObject*>value
        XDECREF(old)

    def again(self):
        """Try the failed operation once more."""
        self._check_idle()
        self.error = self.awaitable = self.yielded = None

    def settle(self, values):
        """Give the final values of ``group``, in its order."""
        cdef Level* level
        cdef Op* op
        cdef PyObject* old
        cdef list group = self.group
        cdef tuple finals = tuple(values)
        self._check_idle()
        if group is None:
            raise RuntimeError("no group of this frame is running")
        if len(group) != len(finals):
            raise ValueError(f"{len(finals)} values for {len(group)} operations")
        self.running = True
        try:
            for number, value in zip(group, finals):
                op = self._op(number)
                old = op.result
                INCREF(<PyObject*>value)
                op.result = <PyObject*>value
                XDECREF(old)
        finally:
            self.running = False
        level = &self.levels[self.level_count - 1]
        level.place += <int32_t>len(group)
        if (<Program>level.program).turns != NULL:
            level.place = level.end
        self.group = None

    def call(self, Routine routine not None, args, kwargs):
        """Start a routine with all registers empty but for the arguments. The frame must be new or done.

        Raises:
            TypeError: the blueprint has no input for an argument.
        """
        self._check_idle()
        if self.level_count or self.waits:
            raise RuntimeError("this frame is evaluating something already")
        self.done = False
        self.running = True  # finalisers that run now find the frame occupied
        try:
            _lay(self, routine)
            _load(self, routine, args, kwargs)
        except BaseException:
            if self.level_count:
                self._pop()
            raise
        finally:
            self.running = False

    def take(self):
        """Say which operation of the top level comes next; its caller calls it, and gives its value to ``resume``."""
        cdef Program program = self._running_program()
        self._check_idle()
        self.op = program.order[self.levels[self.level_count - 1].place]
        return self.op

    def wanted(self, value, bint awaited):
        """Return what a call of a routine has to wait for, the lazy result or awaitable that it returned, or None."""
        following = continuation(value, self.name_of(self.op))
        if following is None and not awaited and not isinstance(value, TailCall) and inspect.isawaitable(value):
            return value
        return following

    def close(self):
        """Drop everything that is held."""
        if self.running:
            raise RuntimeError("this frame is running")
        self.running = True
        try:
            self._release_all()
        finally:
            self.running = False
        self.value = self.awaitable = self.yielded = self.error = self.group = None
        self._leave()
        self.data = None
        self.routine = None
        self.routines = {}
        self.cache.steps += self.steps
        self.cache.nodes += self.nodes

    # The kernel's own.

    cdef inline int _leave(self) except -1:
        """Forget where jumps lead, and what the last one gave."""
        self.leads = self.replaces = False
        self.selector = self.given = self.given_values = self.given_for = None
        return 0

    cdef void _release_all(self) noexcept:
        cdef PyObject* inbox = self.inbox
        self.inbox = NULL
        XDECREF(inbox)
        self.waits = False
        self.done = False
        self.waiting_lazy = None
        self.supplied = None
        self.waiting_program = None
        self.waiting_results = None
        self.names = None
        while self.level_count:
            self._pop()

    cdef void _pop(self) noexcept:
        """Drop the top level with everything it owns."""
        cdef Level level = self.levels[self.level_count - 1]
        self.level_count -= 1
        if level.program != NULL and (<Program>level.program).turns != NULL:
            self.choice_count = level.choices
        self._drop(level.ops, level.leaves)
        XDECREF(level.fan)
        XDECREF(level.program)

    cdef void _drop(self, Py_ssize_t ops, Py_ssize_t leaves) noexcept:
        """Drop operations and leaves from these on. Finalisers run here, and find the frame without them."""
        cdef Op op
        while self.op_count > ops:
            self.op_count -= 1
            op = self.ops[self.op_count]
            XDECREF(op.result)
            XDECREF(op.retry)
            XDECREF(op.lazy)
            _drop_values(op.values)
            XDECREF(op.callee)
        while self.leaf_count > leaves:
            self.leaf_count -= 1
            DECREF(self.leaves[self.leaf_count])

    cdef int _complete(self, PyObject* value, int32_t parent) except -1:
        """Take the final value (owned, taken over) of a level that is gone."""
        cdef Level* level
        if parent < 0:
            self.value = <object>value
            DECREF(value)
            self.done = True
            return 0
        level = &self.levels[self.level_count - 1]
        if level.fan != NULL:
            try:
                (<_Fan>level.fan).values.append(<object>value)
            finally:
                DECREF(value)
            return 0
        self.ops[level.ops + parent].result = value
        level.place += 1
        self.nodes += 1
        return 0


_UNSOUND = "the solver's plan is not an order of all calls that ends with the target"
_UNKEYED = "several calls of a pure task may be one call, depending on their values"


cdef int _push(Frame frame, PyObject* lazy, int32_t parent) except -1:
    """Trace an expression and put it on top: as a hot level if there is a program that may run, else waiting."""
    cdef Py_ssize_t ops = frame.op_count, leaves = frame.leaf_count
    cdef Level* level
    cdef object found = None  # owned: looking at resources may clear the cache
    cdef bint known = False, may_run = False
    cdef int64_t attempt
    if frame.level_count == frame.level_room:
        if _grow(<void**>&frame.levels, &frame.level_room, sizeof(Level), 0) < 0:
            raise MemoryError()
    if parent < 0 and (frame.leads or frame.data is not None or (<_Lazy>lazy).extras is not None):
        _begin_bottom_apart(frame, lazy)
    if _push_known(frame, lazy, parent):
        return 0
    attempt = _next_attempt()
    while _trace(frame, lazy) < 0:
        _give_up(frame, ops, leaves, attempt)
        _go_on(attempt)  # what was run to mend it may have traced too
    try:
        if not _unkeyed:
            found = <object>frame.cache.find(_key_serial(frame))
        may_run = found is not None and _may_run(frame, <Program>found)
        known = True
    finally:
        if not known:
            _release_made()
            frame._drop(ops, leaves)
    level = &frame.levels[frame.level_count]
    level.ops = ops
    level.leaves = leaves
    level.place = 0
    level.parent = parent
    level.path = _path(frame, parent)
    level.program = level.fan = NULL
    frame.level_count += 1
    if may_run:
        if (<Program>found).turns != NULL:
            _begin_hot_turns(frame, level, <Program>found)
        if frame.leads and parent < 0:
            _give_apart(frame, level, <Program>found)
        INCREF(<PyObject*>found)
        level.program = <PyObject*>found
        frame.steps += 1
        if _made_count:
            _release_made()
        return 0
    if found is not None:
        frame.waiting_program = <Program>found
    return _wait(frame, lazy, level)


cdef int _may_run(Frame frame, Program program) except -1:
    """Whether a program that serves what was traced is open, and finds its resources."""
    if not program.is_open or not frame.hot or program.epoch != frame.cache.epoch:
        return False
    return not program.needs_resources or _has_resources(frame, program)


cdef bint _push_known(Frame frame, PyObject* lazy, int32_t parent) except -1:
    """The short way: compare an expression with its task's last program, without writing a key.

    True if that program serves it and may run; else nothing has happened, and the general way decides.
    """
    cdef Py_ssize_t leaves = frame.leaf_count
    cdef PyObject* found = _known(frame, lazy)
    cdef Level* level
    if found == NULL:
        return False
    INCREF(found)
    level = &frame.levels[frame.level_count]
    level.program = found
    level.fan = NULL
    level.ops = frame.op_count
    level.leaves = leaves
    level.parent = parent
    level.path = _path(frame, parent)
    _fill(frame, level, (<Program>found).count)
    if frame.leads and parent < 0:
        _give_apart(frame, level, <Program>found)
    return True


cdef int _tail(Frame frame, Level* level, PyObject* lazy) except -1:
    """Go on with the expression (owned, taken over) that the last operation of the top level returned.

    The level is used again where the short way serves, whatever its program is.
    """
    cdef PyObject* program = level.program
    cdef PyObject* found
    cdef int32_t parent = level.parent
    if parent < 0 and <PyObject*>frame.last != program:
        frame.last = <Program>program
    frame.nodes += 1
    if (<Program>program).turns != NULL:
        frame.choice_count = level.choices
    frame.level_count -= 1
    try:
        frame._drop(level.ops, level.leaves)
        if parent < 0 and (frame.leads or (<_Lazy>lazy).extras is not None):
            _begin_bottom_apart(frame, lazy)
        found = _known(frame, lazy)
        if found == NULL:
            DECREF(program)
            program = NULL
            _push(frame, lazy, parent)
        else:
            if found != program:
                INCREF(found)
                level.program = found
            else:
                program = NULL
            _fill(frame, level, (<Program>found).count)
    finally:
        DECREF(lazy)
        XDECREF(program)
    return 0


cdef int _begin_bottom(Frame frame, PyObject* lazy) except -1:
    """Note where the jumps of a step lead, and what the one that has led to it gives."""
    cdef object data = frame.data
    if frame.leads:
        frame._leave()
    if (<_Lazy>lazy).extras is not None and (<_Lazy>lazy).extras.jump is not None:
        frame.selector = (<_Lazy>lazy).extras.jump
        frame.leads = True
    if data is None:
        return 0
    frame.data = None
    frame.leads = True
    if _give_values(frame, <_Lazy>lazy, data):
        return 0
    source, values, names = call_of(<_Lazy>lazy)
    callee = (<Task>source)._callee if cascade_type(lazy) == T_LAZY and type(source) is Task else None
    frame.given = _overridden(data, callee, len(values) - len(names), names) or None
    return 0


cdef bint _give_values(Frame frame, _Lazy lazy, data) except -1:
    """Whether all that a jump gives takes the place of a value of the call; note the values then."""
    cdef tuple values = lazy.values, names = lazy.names if lazy.names is not None else ()
    cdef Callee callee
    cdef PyObject* made
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t size, npos, i, at = 0
    cdef int place
    cdef uint64_t places = 1
    if type(lazy) is not LazyResult or type(lazy.source) is not Task or lazy.keywords is not None or values is None:
        return False
    callee = (<Task>lazy.source)._callee
    size = len(values)
    npos = size - len(names)
    if size > 64 or (npos < 1 and not isinstance(data, dict)):
        return False
    if isinstance(data, dict) and (type(data) is not dict or not data):
        return False
    made = TUPLE_NEW(size)
    if made == NULL:
        raise MemoryError()
    for i in range(size):
        INCREF(TUPLE_ITEM(<PyObject*>values, i))
        TUPLE_SET(made, i, TUPLE_ITEM(<PyObject*>values, i))
    given = <tuple>made
    DECREF(made)
    if type(data) is dict:
        places = 0
        while DICT_NEXT(<PyObject*>data, &at, &key, &value):
            place = _place_of(callee, names, npos, key)
            if place < 0:
                return False
            places |= <uint64_t>1 << place
            _exchange(made, place, value)
    else:
        _exchange(made, 0, <PyObject*>data)
    frame.given_values, frame.given_for, frame.given_names = given, values, names
    frame.given_places = places
    return True


cdef inline void _exchange(PyObject* values, Py_ssize_t place, PyObject* value) noexcept:
    """Put another value into a tuple that nobody else knows; its call still has the old one."""
    DECREF(TUPLE_ITEM(values, place))
    INCREF(value)
    TUPLE_SET(values, place, value)


cdef tuple _DIGITS = tuple([sys.intern(str(i)) for i in range(8)])


cdef int _place_of(Callee callee, tuple names, Py_ssize_t npos, PyObject* key) noexcept:
    """The place among the values of a call that a key of a jump's data names; -1 if that takes more than a glance."""
    cdef PyObject* parameters = <PyObject*>callee._parameters
    cdef Py_ssize_t i
    if cascade_type(key) != <PyTypeObject*>str:
        return -1
    for i in range(len(names)):
        if TUPLE_ITEM(<PyObject*>names, i) == key:
            return <int>(npos + i)
    for i in range(min(npos, len(_DIGITS))):
        if TUPLE_ITEM(<PyObject*>_DIGITS, i) == key:
            return <int>i
    if parameters == <PyObject*>None:  # until _overridden() has asked for them
        return -1
    for i in range(min(npos, TUPLE_SIZE(parameters))):
        if TUPLE_ITEM(parameters, i) == key:
            return <int>i
    return -1


cdef int _give(Frame frame, Level* level, Program program) except -1:
    """Put what a jump gives in its place among the values of the target, or see to it that the call has it."""
    cdef Py_ssize_t number = program.count - 1
    cdef Instruction* instruction = &program.instructions[number]
    cdef Op* op = &frame.ops[level.ops + number]
    cdef PyObject* old = op.values
    cdef Py_ssize_t i
    frame.replaces = frame.given is not None
    if frame.given_values is None:
        return 0
    if instruction.factory >= 0 or instruction.kind == NESTED_CALL or old != <PyObject*>frame.given_for:
        frame.replaces = True
        return 0
    if instruction.kind == FLAT_CALL:
        for i in range(instruction.count):
            if frame.given_places >> i & 1 and program.codes[instruction.codes + i] >= 0:
                frame.replaces = True  # and the call looks for it among the values
    INCREF(<PyObject*>frame.given_values)
    op.values = <PyObject*>frame.given_values
    _drop_values(old)
    return 0


cdef object _route_of(routes, key):
    """Return the route of a key; None if there is none. What cannot be a key is no route."""
    cdef PyObject* found
    if type(routes) is dict and type(key) is str:
        found = DICT_GET(<PyObject*>routes, <PyObject*>key)
        if found != NULL:
            return <object>found
        if PyErr_Occurred() != NULL:
            _raise_current()
        return None
    try:
        return routes.get(key)
    except TypeError:
        return None


cdef int _jump(Frame frame, Jump jump, name) except -1:
    """Go where the jump that the target at the bottom has returned leads. Its level is gone."""
    cdef object selector = frame.selector, data = jump.data, key = jump.target_key
    cdef object following = None
    frame._leave()
    routes = getattr(selector, "routes", None)
    if routes is None:
        raise _problem("unbound", (name,))
    route = _route_of(routes, key)
    if data is not None and not _is_scalar(<PyObject*>data) and not _has_scalars(<PyObject*>data):
        following = continuation(data, name)
    if route is None and following is None:
        INCREF(<PyObject*>data)
        return frame._complete(<PyObject*>data, -1)
    if route is None:
        return _push(frame, <PyObject*>following, -1)
    if following is not None:  # once more, when the calls in the data have their values
        following = LazyResult(_arrive, (key, data), {}, _jump_selector=selector)
        return _push(frame, <PyObject*>following, -1)
    if not _is_lazy(<PyObject*>route):
        raise _problem("route", (key, route))
    frame.data = data
    return _push(frame, <PyObject*>route, -1)


cdef inline bint _has_scalars(PyObject* data) noexcept:
    """Whether data is a dict of plain scalars: nothing in it can be a call."""
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t at = 0
    if cascade_type(data) != <PyTypeObject*>dict:
        return False
    while DICT_NEXT(data, &at, &key, &value):
        if not _is_scalar(value):
            return False
    return True


cdef tuple _replaced(Frame frame, Py_ssize_t number):
    """The arguments of the target as a jump has them: positions in their order, then names."""
    cdef list positional
    cdef dict arguments
    positional, named = _arguments(frame, number)
    arguments = {str(i): value for i, value in enumerate(positional)}
    arguments.update(named)
    arguments.update(frame.overrides)
    positional = sorted([key for key in arguments if key.isdecimal()], key=int)
    return [arguments.pop(key) for key in positional], arguments


cdef PyObject* _call_replaced_arguments(Frame frame, Py_ssize_t number, PyObject* func) noexcept:
    """Call the target with the arguments that a jump gives."""
    cdef Level* level = &frame.levels[frame.level_count - 1]
    cdef Instruction* instruction = &(<Program>level.program).instructions[number]
    cdef Op* op = &frame.ops[level.ops + number]
    cdef PyObject** values = cascade_items(op.values)
    cdef PyObject* small[SMALL_CALL + 1]
    cdef tuple positional
    cdef dict named
    cdef int32_t i, code
    if op.values == <PyObject*>frame.given_values and instruction.injected_count == 0:
        if instruction.count <= SMALL_CALL:
            for i in range(instruction.count):
                code = (<Program>level.program).codes[instruction.codes + i]
                if code < 0 or frame.given_places >> i & 1:
                    small[i + 1] = values[i]
                else:
                    small[i + 1] = frame.ops[level.ops + code].result
            return _invoke(func, instruction, small + 1, PY_VECTORCALL_ARGUMENTS_OFFSET)
    try:
        found, named = _replaced(frame, number)
        positional = tuple(found)
    except BaseException as error:
        _set_error(error)
        return NULL
    return PyObject_Call(func, <PyObject*>positional, <PyObject*>named)


cdef inline PyObject* _known(Frame frame, PyObject* lazy) except? NULL:
    """Return the last program (borrowed) of an expression's task if it serves the expression and may run, else NULL.

    There is room for its operations then, ``_matched`` has the lazies that stand for them, and the frame its leaves.
    """
    cdef PyObject* source = <PyObject*>(<_Lazy>lazy).source
    cdef PyObject* found
    cdef Py_ssize_t wanted
    if cascade_type(lazy) != T_LAZY or cascade_type(source) != T_TASK:
        return NULL
    found = frame.cache.last[(<Callee>(<Task>source)._callee).serial & (MEMO_SIZE - 1)]
    if found == NULL or (<Program>found).records == NULL:
        return NULL
    if not (<Program>found).is_open or not frame.hot or (<Program>found).epoch != frame.cache.epoch:
        return NULL
    if (<Program>found).needs_resources and found != <PyObject*>frame.supplied and not _supplied(frame, <Program>found):
        return NULL
    wanted = frame.op_count + (<Program>found).count
    if wanted > frame.op_room and _grow(<void**>&frame.ops, &frame.op_room, sizeof(Op), wanted) < 0:
        raise MemoryError()
    if (<Program>found).first_leaves == NULL:
        if not _matches(frame, <Program>found, lazy):
            return NULL
    elif not _matches_nested(frame, <Program>found, lazy):
        return NULL
    (<Program>found).touched = True
    return found


cdef inline void _fill(Frame frame, Level* level, Py_ssize_t count) noexcept:
    """Put the lazies that were matched into a level as its operations; it becomes the top."""
    cdef Op* op = &frame.ops[frame.op_count]
    cdef PyObject* lazy
    cdef Py_ssize_t i
    level.place = 0
    for i in range(count):
        lazy = _matched[i]
        op.callee = <PyObject*>(<Task>(<_Lazy>lazy).source)._callee
        INCREF(op.callee)
        op.values = <PyObject*>(<_Lazy>lazy).values
        INCREF(op.values)
        op.retry = NULL
        if (<_Lazy>lazy).retry is not None:
            op.retry = <PyObject*>(<_Lazy>lazy).retry
            INCREF(op.retry)
        op.lazy = op.result = NULL
        op += 1
    frame.op_count += count
    frame.level_count += 1
    frame.steps += 1


cdef PyObject** _matched = NULL  # by operation: the lazy that was found in its place, borrowed
cdef Py_ssize_t _matched_room = 0


cdef bint _matches(Frame frame, Program program, PyObject* root) noexcept:
    """Whether an expression has the key of a program. Runs no Python code, allocates nothing.

    From the target down: whatever needs an operation comes after it, so its lazy is known when its turn comes.
    """
    global _epoch
    cdef Py_ssize_t op = program.count - 1
    _epoch += 1
    if op:
        memset(_matched, 0, <size_t>op * sizeof(PyObject*))
    _begin_search(<PyObject*>frame, root)
    _matched[op] = root
    (<_Lazy>root).mark = _epoch
    (<_Lazy>root).register = op
    while op >= 0:
        if not _matches_record(program._key + program.records[op], _matched[op]):
            return False
        op -= 1
    return True


cdef inline bint _matches_record(int64_t* key, PyObject* lazy) noexcept:
    """Whether a lazy (no map) has this record; notes which lazies stand in the places of the operations that it needs."""
    cdef PyObject* source = <PyObject*>(<_Lazy>lazy).source
    cdef PyObject* values = <PyObject*>(<_Lazy>lazy).values
    cdef PyObject* names = <PyObject*>(<_Lazy>lazy).names
    cdef PyObject* one
    cdef PyObject** items
    cdef PyTypeObject* kind
    cdef unsigned long builtin
    cdef int64_t head, flags = key[1] >> (2 * COUNT_BITS)
    cdef Py_ssize_t i, nkw = 0, count
    if (
        cascade_type(source) != T_TASK or values == <PyObject*>None
        or (<_Lazy>lazy).keywords is not None
        or (((<_Lazy>lazy).extras is not None or flags & f_JUMP) and not _has_only_apart(<PyObject*>(<_Lazy>lazy).extras, flags))
        or key[0] != (<Callee>(<Task>source)._callee).serial
        or ((<_Lazy>lazy).retry is not None) != (flags & f_RETRY != 0)
    ):
        return False
    count = TUPLE_SIZE(values)
    if names != <PyObject*>None:
        nkw = TUPLE_SIZE(names)
    head = (count - nkw) | (<int64_t>nkw << COUNT_BITS)
    if key[1] != head | (flags << (2 * COUNT_BITS)):
        return False
    for i in range(nkw):
        if key[2 + i] != <int64_t><intptr_t>TUPLE_ITEM(names, i):
            return False
    key += 2 + nkw
    items = cascade_items(values)
    for i in range(count):
        one = items[i]
        kind = cascade_type(one)
        builtin = cascade_flags(one) & CASCADE_BUILTIN
        if not builtin and kind == T_LAZY:
            if flags & f_DIRECT or not _matches_lazy(key[i], one):
                return False
            continue
        if not flags & f_DIRECT and key[i] != t_LEAF:
            if key[i] >= 0:
                return False
            key = _matches_argument(key + i, one, lazy)
            if key == NULL:
                return False
            key -= i + 1
            continue
        if builtin:
            if builtin & CASCADE_CONTAINER and not _is_plain(one):
                return False
        elif kind == T_MAPPED or kind == T_ROUTER or kind == T_INJECT or kind == T_TASK:
            return False
    return True


cdef bint _has_only(PyObject* extras, int64_t flags) noexcept:
    """Whether a lazy result has no policy but a retry, and a selector of jumps if it should."""
    if extras == <PyObject*>None:
        return False
    if (<_Extras>extras).cache is not None or (<_Extras>extras).condition is not None:
        return False
    if (<_Extras>extras).constraints is not None:
        return False
    if (<_Extras>extras).predecessors is not None and LIST_SIZE(<PyObject*>(<_Extras>extras).predecessors):
        return False
    return ((<_Extras>extras).jump is not None) == (flags & f_JUMP != 0)


# What few nodes need is called by way of pointers: inlined, it would let every node save the registers that it uses.

ctypedef int (*deliver_t)(Frame, Level*, PyObject*, bint) except -1
ctypedef PyObject* (*call_t)(Frame, Py_ssize_t, PyObject*) noexcept
ctypedef int (*bottom_t)(Frame, PyObject*) except -1
ctypedef int (*give_t)(Frame, Level*, Program) except -1
ctypedef int (*jump_t)(Frame, PyObject*) except -1
ctypedef bint (*has_t)(PyObject*, int64_t) noexcept
cdef deliver_t _deliver_apart = _deliver_register
cdef call_t _call_apart = _call_replaced_arguments
cdef bottom_t _begin_bottom_apart = _begin_bottom
cdef give_t _give_apart = _give
cdef jump_t _jump_apart = _jump_from
cdef has_t _has_only_apart = _has_only


cdef inline bint _matches_lazy(int64_t token, PyObject* lazy) noexcept:
    """Whether a lazy result is, or may be, the one of this register; in the second case it is from here on."""
    if token < 0:
        return False
    if (<_Lazy>lazy).mark == _epoch:
        return (<_Lazy>lazy).register == token
    if _matched[token] != NULL:
        return False
    (<_Lazy>lazy).mark = _epoch
    (<_Lazy>lazy).register = token
    _matched[token] = lazy
    return True


# Containers that hold lazies are walked along the key, so it says how far and how deep.

cdef struct Opened:  # what has been found in the containers of one call
    PyObject* lazy  # the call, NULL if none has been met
    PyObject** leaf  # where the next one goes
    Py_ssize_t count
    PyObject* containers[MOST_OPENED]


cdef Opened _opened
cdef PyObject** _new_leaves = NULL  # where those of the expression go that is being compared
cdef int32_t* _first_leaves = NULL


cdef bint _matches_nested(Frame frame, Program program, PyObject* root) except -1:
    """As _matches(), for a program with containers that hold lazies; if it is True, the frame owns their leaves.

    Each call has its place among the leaves, so they are written where they belong, though the last call comes first.
    """
    global _new_leaves, _first_leaves
    cdef Py_ssize_t i, wanted = frame.leaf_count + program.leaf_count
    if wanted > frame.leaf_room and _grow(<void**>&frame.leaves, &frame.leaf_room, sizeof(PyObject*), wanted) < 0:
        raise MemoryError()
    _new_leaves = frame.leaves + frame.leaf_count
    _first_leaves = program.first_leaves
    _opened.lazy = NULL
    if not _matches(frame, program, root):
        return False
    for i in range(frame.leaf_count, wanted):
        INCREF(frame.leaves[i])
    frame.leaf_count = wanted
    return True


cdef int64_t* _matches_argument(int64_t* key, PyObject* container, PyObject* lazy) noexcept:
    """As _matches_container(), for an argument of a call."""
    if _opened.lazy != lazy:
        _opened.lazy = lazy
        _opened.leaf = _new_leaves + _first_leaves[(<_Lazy>lazy).register]
        _opened.count = 0
    return _matches_container(key, container)


cdef inline bint _is_leaf(PyObject* item) noexcept:
    """Whether an item of a container is a leaf, if that is easily told."""
    cdef unsigned long builtin = cascade_flags(item) & CASCADE_BUILTIN
    if builtin:
        return not builtin & CASCADE_CONTAINER or _is_plain(item)
    return not _is_marker(item)


cdef int64_t* _matches_container(int64_t* key, PyObject* container) noexcept:
    """Return where the key goes on if it begins with a list, tuple or dict like this one, else NULL.

    One that has been opened in the same call is like none: its second place in a key says that it is shared.
    """
    cdef int64_t kind = key[0], count = key[1]
    cdef PyObject* name
    cdef PyObject* value
    cdef Py_ssize_t i, at = 0
    for i in range(_opened.count):
        if _opened.containers[i] == container:
            return NULL
    _opened.containers[_opened.count] = container
    _opened.count += 1
    key += 2
    if kind == t_LIST:
        if cascade_type(container) != <PyTypeObject*>list or LIST_SIZE(container) != count:
            return NULL
        for i in range(count):
            key = _matches_item(key, LIST_ITEM(container, i))
            if key == NULL:
                return NULL
    elif kind == t_TUPLE:
        if cascade_type(container) != <PyTypeObject*>tuple or TUPLE_SIZE(container) != count:
            return NULL
        for i in range(count):
            key = _matches_item(key, TUPLE_ITEM(container, i))
            if key == NULL:
                return NULL
    else:
        if cascade_type(container) != <PyTypeObject*>dict or DICT_SIZE(container) != count:
            return NULL
        while DICT_NEXT(container, &at, &name, &value):
            _opened.leaf[0] = name
            _opened.leaf += 1
        at = 0
        while DICT_NEXT(container, &at, &name, &value):
            key = _matches_item(key, value)
            if key == NULL:
                return NULL
    return key


cdef inline int64_t* _matches_item(int64_t* key, PyObject* item) noexcept:
    if key[0] < t_LEAF:
        return _matches_container(key, item)
    if key[0] == t_LEAF:
        if not _is_leaf(item):
            return NULL
        _opened.leaf[0] = item
        _opened.leaf += 1
    elif cascade_type(item) != T_LAZY or not _matches_lazy(key[0], item):
        return NULL
    return key + 1


cdef bint _supplied(Frame frame, Program program) except -1:
    """Whether all resources of a program are there, which may run Python code. They stay until a step is processed."""
    cdef object held = program  # looking at resources may clear the cache
    if not _has_resources(frame, held):
        return False
    frame.supplied = held
    return True


cdef inline uint64_t _path(Frame frame, int32_t parent) noexcept:
    """Number the place of a level that is about to be pushed (FNV-1a over the operations that wait below it)."""
    if parent < 0:
        return 0
    return (frame.levels[frame.level_count - 1].path ^ <uint64_t>(parent + 1)) * <uint64_t>0x100000001B3


cdef inline int64_t _key_serial(Frame frame) noexcept:
    cdef PyObject* callee = frame.ops[frame.op_count - 1].callee
    return (<Callee>callee).serial if callee != NULL else 0


cdef int _has_resources(Frame frame, Program program) except -1:
    """Whether all resources are there. Comparing names may run Python code; it must not end up in another trace."""
    cdef dict resources = frame.resources
    cdef int64_t epoch = _epoch, attempt = _attempt
    cdef bint found = True
    for name in program.requires:
        if name not in resources:
            found = False
            break
    if _epoch != epoch or _attempt != attempt:
        raise RuntimeError("the name of a resource ran a workflow when it was compared")
    return found


cdef int _wait(Frame frame, PyObject* lazy, Level* level) except -1:
    """Keep what full processing needs of the expression that was just traced."""
    cdef Py_ssize_t i, count = frame.op_count - level.ops
    for i in range(count):  # own before anything is allocated
        frame.ops[level.ops + i].lazy = _lazies[i]
        INCREF(_lazies[i])
    frame.is_refused = False
    try:
        if frame.key_room < _key_count:
            if _grow(<void**>&frame.key, &frame.key_room, sizeof(int64_t), _key_count) < 0:
                raise MemoryError()
        memcpy(frame.key, _key, <size_t>_key_count * sizeof(int64_t))
        frame.key_count = _key_count
        frame.is_unkeyed = _unkeyed
        frame.waiting_lazy = <object>lazy
        frame.names = _owned_names()
        frame.waiting_results = {}
    except MemoryError:
        _release_made()
        frame._pop()
        raise
    frame.waits = True  # last: from here on the level may be read
    return 0


cdef tuple _owned_names():
    """Return the names of the key as a tuple, and let go of those that this trace interned."""
    cdef Py_ssize_t i, count = _name_count
    cdef PyObject* names = NULL
    cdef tuple found
    cdef int collecting = PyGC_Disable()  # a finaliser that traces would write over the names
    names = TUPLE_NEW(count)
    if collecting:
        PyGC_Enable()
    if names == NULL:
        raise MemoryError()
    for i in range(count):
        INCREF(_names[i])
        TUPLE_SET(names, i, _names[i])
    found = <tuple>names
    DECREF(names)
    if _made_count:
        _release_made()
    return found


cdef void _release_made() noexcept:
    global _made_count
    while _made_count:
        _made_count -= 1
        DECREF(_made[_made_count])


cdef int64_t _next_attempt() noexcept:
    global _attempt, _attempts
    _attempts += 1
    _attempt = _attempts
    return _attempt


cdef void _go_on(int64_t attempt) noexcept:
    global _attempt
    _attempt = attempt


cdef int _give_up(Frame frame, Py_ssize_t ops, Py_ssize_t leaves, int64_t attempt) except -1:
    """Undo a trace that failed; raise its error, or mend what can be mended."""
    global _trouble
    cdef object trouble = _trouble
    cdef PyObject* error = PyErr_Occurred()
    _trouble = None
    _release_made()
    if error != NULL:
        try:
            _raise_current()
        finally:
            frame._drop(ops, leaves)
    frame._drop(ops, leaves)
    if trouble[0] == "router":
        _make_plain(trouble[1][0], attempt)
        return 0
    if trouble[0] == "amounts":
        _read_amounts(trouble[1][0], attempt)
        return 0
    if trouble[0] == "after":
        raise TypeError(f"_dependencies takes lazy results, nothing else: {trouble[1][0]!r}")
    raise _problem(trouble[0], trouble[1])


cdef int _raise_current() except -1:
    return -1


def _fail_allocation(Py_ssize_t number):
    """Let the allocation of this number from now on fail, 0: none. Returns how many the one of the last call was away.

    Only the kernel's own allocations count, and only debug and trace builds know of this: -1 in others. The buffers that
    traces use are let go of, so that they have to be allocated again.
    """
    cdef Py_ssize_t left = cascade_fail(number)
    if left >= 0:
        _free_scratch()
    return left


cdef void _free_scratch() noexcept:
    """Free the buffers that grow when a trace needs them."""
    global _cursors, _cursor_room, _memo, _memo_room, _key, _key_room, _visits, _visit_room, _names, _name_room
    global _made, _made_room, _lazies, _lazies_room, _equal, _equal_room, _nests, _nest_room, _wants, _wants_room
    free(_cursors)
    free(_memo)
    free(_key)
    free(_visits)
    free(_names)
    free(_made)
    free(_lazies)
    free(_equal)
    free(_nests)
    free(_wants)
    _cursors, _memo, _key, _visits, _names, _made, _lazies, _equal, _nests, _wants = (
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    )
    _cursor_room = _memo_room = _key_room = _visit_room = _name_room = 0
    _made_room = _lazies_room = _equal_room = _nest_room = _wants_room = 0


def _living():
    """How many lazy results with Routers, and how many inject markers, exist: tests see that none is left."""
    return _live, _live_injects


def trace(target):
    """Walk the expression that ends in the lazy result ``target``.

    Raises:
        CycleError, UncalledTaskError: the expression can never run.
    """
    cdef Frame frame = Frame(ProgramCache(), {}, False)
    frame.begin(target)
    return frame._expression()


# Whose turn it is, where conditions, predecessors or Routers decide: see _Flow in _hot_py.py, which this follows.

cdef enum:
    v_RUN = 0
    v_SKIP = 1
    v_SKIP_WITH = 2
    v_REFUSE = 3
    UNKNOWN = -1  # what a Router chooses
    NO_ROUTE = -2
    NO_ITEM = -0x7FFFFFFF  # what it has chosen, as long as it has not

cdef int32_t* _wants = NULL  # operations that are found to be needed
cdef Py_ssize_t _wants_room = 0


cdef inline bint _keeps_lazies(Level* level) noexcept:
    """Whether the lazies of a hot level stay: by them the routes of a Router are known to full processing."""
    return level.program != NULL and (<Program>level.program).choice_count > 0


cdef inline bint _is_skipped(Program program, Op* op) noexcept:
    return program.turns != NULL and op.skipped


cdef int _begin_turns(Frame frame, Level* level, Program program) except -1:
    """Nothing has run, nothing is chosen, and only what the target needs in any case is needed."""
    cdef Py_ssize_t i, wanted = frame.choice_count + program.choice_count
    if wanted > frame.choice_room and _grow(<void**>&frame.choices, &frame.choice_room, sizeof(int32_t), wanted) < 0:
        raise MemoryError()
    for i in range(level.ops, frame.op_count):
        frame.ops[i].wanted = frame.ops[i].skipped = 0
    for i in range(frame.choice_count, wanted):
        frame.choices[i] = UNKNOWN
    level.choices = frame.choice_count
    level.place = level.end = level.batch = level.back = 0
    _want(frame, level, program, <int32_t>program.count - 1)
    frame.choice_count = wanted
    return 0


cdef int _begin_hot_turns(Frame frame, Level* level, Program program) except -1:
    """The same for an expression that was traced just now, and is on top already."""
    cdef Py_ssize_t i
    try:
        _begin_turns(frame, level, program)
    except MemoryError:
        _release_made()
        frame._pop()
        raise
    if program.choice_count:
        for i in range(program.count):
            frame.ops[level.ops + i].lazy = _lazies[i]
            INCREF(_lazies[i])
    return 0


cdef int _want(Frame frame, Level* level, Program program, int32_t op) except -1:
    """An operation, and with it all that it needs, belongs to the next batch."""
    global _wants
    cdef Py_ssize_t count = 1, i, room
    cdef Op* ops = frame.ops + level.ops
    cdef Turn* turn
    cdef int32_t route
    if _wants_room == 0 and _grow(<void**>&_wants, &_wants_room, sizeof(int32_t), 64) < 0:
        raise MemoryError()
    _wants[0] = op
    while count:
        count -= 1
        op = _wants[count]
        if ops[op].wanted:
            continue
        ops[op].wanted = level.batch + 1
        level.back = min(level.back, program.places[op])
        turn = &program.turns[op]
        room = count + 1 + turn.end - turn.after
        if room > _wants_room and _grow(<void**>&_wants, &_wants_room, sizeof(int32_t), room) < 0:
            raise MemoryError()
        if turn.condition >= 0:
            _wants[count] = turn.condition
            count += 1
        for i in range(turn.after, turn.inputs):
            _wants[count] = program.links[i]
            count += 1
        for i in range(turn.inputs, turn.end, 2):
            _wants[count] = program.links[i]
            count += 1
            route = _chosen(frame, level, program, program.links[i + 1])
            if route >= 0:
                _wants[count] = route
                count += 1
    return 0


cdef inline int32_t _chosen(Frame frame, Level* level, Program program, int32_t number) noexcept:
    """What a Router has chosen: an operation, ~k for leaf k, or NO_ITEM; the last also for no Router."""
    cdef int32_t chosen
    if number < 0:
        return NO_ITEM
    chosen = frame.choices[level.choices + number]
    return program.links[program.choices[number].routes + chosen] if chosen >= 0 else NO_ITEM


cdef int _next_batch(Frame frame, Level* level, Program program) except -1:
    """A stage is through: choose, and go back to the first place that has become needed."""
    cdef Choice* choice
    cdef Py_ssize_t number
    cdef int32_t route
    for number in range(program.choice_count):
        choice = &program.choices[number]
        if frame.choices[level.choices + number] == UNKNOWN and frame.ops[level.ops + choice.selector].result != NULL:
            frame.choices[level.choices + number] = _route(
                <Router>frame.leaves[level.leaves + choice.router], frame.ops[level.ops + choice.selector].result,
                choice.count,
            )
            route = _chosen(frame, level, program, <int32_t>number)
            if route >= 0 and frame.ops[level.ops + choice.consumer].wanted:
                _want(frame, level, program, route)
    level.batch += 1
    level.place = min(level.place, level.back)
    level.back = <int32_t>program.distinct
    level.end = program.ends[level.place]
    return 0


cdef int32_t _route(Router router, PyObject* choice, int32_t count) except? -3:
    """The number of the route, of so many, that a selector's value names; what cannot be a key names none."""
    cdef dict routes = router.routes
    cdef PyObject* wanted = DICT_GET(<PyObject*>routes, choice)
    cdef PyObject* key
    cdef PyObject* route
    cdef Py_ssize_t at = 0
    cdef int32_t number = 0
    if wanted == NULL:
        if PyErr_Occurred() != NULL:
            if not PyErr_ExceptionMatches(<PyObject*>TypeError):
                _raise_current()
            PyErr_Clear()
        return NO_ROUTE
    while number < count and DICT_NEXT(<PyObject*>routes, &at, &key, &route):
        if route == wanted:
            return number
        number += 1
    return NO_ROUTE


cdef int _judge(Frame frame, Level* level, Program program, int32_t op) except -1:
    """Whether an operation runs when its turn has come. Asking for truth may run Python code."""
    cdef Op* ops = frame.ops + level.ops
    cdef Turn* turn = &program.turns[op]
    cdef PyObject* condition = NULL
    cdef Py_ssize_t i
    cdef int32_t route
    cdef int truth
    cdef bint unclear = False
    if turn.constant >= 0:
        condition = frame.leaves[level.leaves + turn.constant]
    elif turn.condition >= 0:
        if ops[turn.condition].skipped:
            return v_SKIP
        condition = ops[turn.condition].result
    if condition != NULL:
        truth = PyObject_IsTrue(condition)
        if truth < 0:
            _raise_current()
        if not truth:
            return v_SKIP
    for i in range(turn.after, turn.inputs):
        if ops[program.links[i]].skipped:
            return v_SKIP_WITH
    for i in range(turn.inputs, turn.end, 2):
        if ops[program.links[i]].result == NULL:
            return v_SKIP
        if program.links[i + 1] >= 0:
            route = _chosen(frame, level, program, program.links[i + 1])
            if route == NO_ITEM:
                unclear = True
            elif route >= 0 and ops[route].skipped:
                return v_SKIP
    return v_REFUSE if unclear else v_RUN


cdef void _skip(Frame frame, Level* level, Program program, int32_t op) noexcept:
    """Skip an operation: it passes its first input on."""
    cdef Turn* turn = &program.turns[op]
    cdef PyObject* passed = NULL
    cdef int32_t item
    frame.ops[level.ops + op].skipped = 1
    frame.nodes += 1
    if turn.inputs == turn.end:
        return
    item = program.links[turn.inputs]
    if program.links[turn.inputs + 1] >= 0:
        item = _chosen(frame, level, program, program.links[turn.inputs + 1])
    if item >= 0:
        passed = frame.ops[level.ops + item].result
    elif item != NO_ITEM:
        passed = frame.leaves[level.leaves + ~item]
    XINCREF(passed)
    frame.ops[level.ops + op].result = passed


cdef inline bint _is_due(Level* level, Op* op) noexcept:
    """Whether an operation belongs to this batch and has not had its turn."""
    return 0 < op.wanted <= level.batch and op.result == NULL and not op.skipped


cdef int _next_turn(Frame frame, double deadline) except -1:
    """Find the operation whose turn it is: TURN if its place is found, ENDED if the target has none, or a signal."""
    cdef Level* level = &frame.levels[frame.level_count - 1]
    cdef Program program = <Program>level.program
    cdef int32_t op, place, end
    cdef Py_ssize_t due
    cdef int verdict
    cdef list group
    while True:
        if level.place == level.end:
            _next_batch(frame, level, program)
        op = program.order[level.place]
        if not _is_due(level, &frame.ops[level.ops + op]):
            level.place += 1
            continue
        end = level.place + 1
        if program.instructions[op].is_async:  # those after it in the stage are too
            end = level.end
        due, group = 0, None
        for place in range(level.place, end):
            op = program.order[place]
            if not _is_due(level, &frame.ops[level.ops + op]):
                continue
            due += 1
            verdict = _judge(frame, level, program, op)
            if verdict == v_REFUSE or (verdict == v_SKIP and op == program.count - 1):
                frame._suspend()
                frame.is_refused = True
                return c_STEP
            if verdict == v_SKIP_WITH and op == program.count - 1:
                return c_ENDED
            if verdict != v_RUN:
                _skip(frame, level, program, op)
            elif end == level.place + 1:
                return c_TURN
            else:
                if group is None:
                    group = []
                group.append(op)
        if group is not None:
            if due == 1:
                level.place = program.places[<Py_ssize_t>group[0]]
                return c_TURN
            frame.group = group
            return c_GROUP
        frame.credit -= 1
        if frame.credit <= 0 and _is_over(frame, deadline):
            return c_YIELD


cdef int _check_inputs(Frame frame, Level* level, Py_ssize_t number) except -1:
    """Whether what the arguments of an operation need is there."""
    cdef Program program = <Program>level.program
    cdef Py_ssize_t i
    for i in range(program.turns[number].inputs, program.turns[number].end, 2):
        if frame.ops[level.ops + program.links[i]].result == NULL:
            raise RuntimeError(f"operation {number} needs the result of operation {program.links[i]}, which has not run")
    return 0


# The call of one operation. Arguments are borrowed from what the frame owns; containers are built and owned here.


cdef inline PyObject* _invoke(PyObject* func, Instruction* instruction, PyObject** args, size_t offset) noexcept:
    cdef size_t count
    if not cascade_is_function(func):
        return PyObject_Vectorcall(func, args, <size_t>instruction.npos | offset, instruction.keywords)
    if instruction.code != NULL and instruction.code == cascade_code(func):
        count = <size_t>(instruction.count + instruction.injected_count)
        return cascade_call(func, args, count | offset, NULL)
    return cascade_call(func, args, <size_t>instruction.npos | offset, instruction.keywords)


cdef PyObject* _call(Frame frame, Level* level, Py_ssize_t number) noexcept:
    """Call an operation of the top level; NULL with its error set."""
    cdef Instruction* instruction = &(<Program>level.program).instructions[number]
    cdef Op* op = &frame.ops[level.ops + number]
    cdef Op* ops
    cdef PyObject* func = <PyObject*>(<Callee>op.callee).func
    cdef PyObject** values = cascade_items(op.values)
    cdef PyObject* small[SMALL_CALL + 1]
    cdef int32_t* codes
    cdef int32_t i, code
    if frame.replaces and frame._is_given(level, number):
        return _call_apart(frame, number, func)
    if instruction.kind == PLAIN_CALL:
        return _invoke(func, instruction, values, 0)
    if instruction.kind == FLAT_CALL and instruction.injected_count == 0 and instruction.count <= SMALL_CALL:
        codes = (<Program>level.program).codes + instruction.codes
        ops = frame.ops + level.ops
        for i in range(instruction.count):
            code = codes[i]
            small[i + 1] = values[i] if code < 0 else ops[code].result
        return _invoke(func, instruction, small + 1, PY_VECTORCALL_ARGUMENTS_OFFSET)
    if instruction.kind == FLAT_CALL and instruction.count + instruction.injected_count <= SMALL_CALL:
        return _call_injected(frame, level, number, func)
    return _call_assembled(frame, level, number, func)


cdef PyObject* _call_injected(Frame frame, Level* level, Py_ssize_t number, PyObject* func) noexcept:
    """Call with a few arguments, the last of which are resources; these are owned during the call."""
    cdef Program program = <Program>level.program
    cdef Instruction* instruction = &program.instructions[number]
    cdef Op* ops = frame.ops + level.ops
    cdef PyObject** values = cascade_items(ops[number].values)
    cdef PyObject* small[SMALL_CALL + 1]
    cdef int32_t* codes = program.codes + instruction.codes
    cdef PyObject* result = NULL
    cdef PyObject* one
    cdef dict resources = frame.resources
    cdef Py_ssize_t i, top = instruction.count + 1, held = 0
    for i in range(instruction.count):
        small[i + 1] = values[i] if codes[i] < 0 else ops[codes[i]].result
    while held < instruction.injected_count:
        one = DICT_GET(<PyObject*>resources, TUPLE_ITEM(<PyObject*>program.injected, instruction.injected + held))
        if one == NULL:
            if PyErr_Occurred() == NULL:
                _not_active(program.injected[instruction.injected + held])
            break
        INCREF(one)
        small[top + held] = one
        held += 1
    else:
        result = _invoke(func, instruction, small + 1, PY_VECTORCALL_ARGUMENTS_OFFSET)
    while held:
        held -= 1
        DECREF(small[top + held])
    return result


cdef PyObject* _call_assembled(Frame frame, Level* level, Py_ssize_t number, PyObject* func) noexcept:
    """Call with arguments that have to be put together first."""
    cdef Program program = <Program>level.program
    cdef Instruction* instruction = &program.instructions[number]
    cdef Py_ssize_t count = 0, i
    cdef PyObject* result = NULL
    cdef PyObject** stack = _assemble(frame, level, number, &count)
    if stack == NULL:
        return NULL
    INCREF(func)
    result = _invoke(func, instruction, stack + 1, PY_VECTORCALL_ARGUMENTS_OFFSET)
    DECREF(func)
    for i in range(count):
        DECREF(stack[i + 1])
    free(stack)
    return result


cdef PyObject** _assemble(Frame frame, Level* level, Py_ssize_t number, Py_ssize_t* total) noexcept:
    """Return the arguments of an operation (owned, from index 1 on); NULL with an error set."""
    cdef Program program = <Program>level.program
    cdef Instruction* instruction = &program.instructions[number]
    cdef Op* ops = frame.ops + level.ops
    cdef PyObject** values = cascade_items(ops[number].values)
    cdef PyObject** leaves = frame.leaves + level.leaves
    cdef Py_ssize_t room = instruction.codes_end - instruction.codes + instruction.injected_count + 2
    cdef PyObject** stack = <PyObject**>malloc(<size_t>(2 * room) * sizeof(PyObject*))
    cdef PyObject** made = stack + room  # containers in the order in which they were built, owned
    cdef Py_ssize_t top = 1, made_count = 0, at, i, count
    cdef dict resources = frame.resources
    cdef int32_t* codes = program.codes
    cdef int32_t code, choice = program.turns[number].choice if program.turns != NULL else 0
    cdef PyObject* one
    if stack == NULL:
        PyErr_NoMemory()
        return NULL
    at = instruction.codes
    if instruction.kind == FLAT_CALL:
        for i in range(instruction.count):
            one = values[i] if codes[at + i] < 0 else ops[codes[at + i]].result
            INCREF(one)
            stack[top] = one
            top += 1
        at = instruction.codes_end
    while at < instruction.codes_end:
        code = codes[at]
        if code >= 0:
            one = ops[code].result  # NULL: a route that was not chosen
            XINCREF(one)
        elif code == t_ARGUMENT:
            one = values[codes[at + 1]]
            INCREF(one)
        elif code == t_LEAF:
            one = leaves[codes[at + 1]]
            INCREF(one)
        elif code == t_SHARED:
            one = made[codes[at + 1]]
            INCREF(one)
        elif code == t_INJECT:
            one = DICT_GET(<PyObject*>resources, TUPLE_ITEM(<PyObject*>program._names, codes[at + 1]))
            if one == NULL:
                if PyErr_Occurred() == NULL:
                    _not_active(<object>TUPLE_ITEM(<PyObject*>program._names, codes[at + 1]))
                break
            INCREF(one)
        elif code == t_ROUTER:
            count = codes[at + 1]
            one = NULL
            if frame.choices[level.choices + choice] >= 0:
                one = stack[top - count + 1 + frame.choices[level.choices + choice]]
            choice += 1
            if one == NULL:
                _not_chosen(program.tasks[number])
                break
            INCREF(one)
            for i in range(count):
                top -= 1
                XDECREF(stack[top])
            INCREF(one)
            made[made_count] = one
            made_count += 1
        else:
            one = _build(code, stack + top - codes[at + 1], codes[at + 1],
                         leaves + codes[at + 2] if code == t_DICT else NULL)
            if one == NULL:
                break
            top -= codes[at + 1]
            INCREF(one)  # hashing a key may empty a container that was built before
            made[made_count] = one
            made_count += 1
        stack[top] = one
        top += 1
        at += 1 + _operands(code)
    else:
        for i in range(instruction.injected_count):
            one = DICT_GET(<PyObject*>resources, TUPLE_ITEM(<PyObject*>program.injected, instruction.injected + i))
            if one == NULL:
                if PyErr_Occurred() == NULL:
                    _not_active(program.injected[instruction.injected + i])
                break
            INCREF(one)
            stack[top] = one
            top += 1
        else:
            while made_count:
                made_count -= 1
                DECREF(made[made_count])
            total[0] = top - 1
            return stack
    while made_count:
        made_count -= 1
        DECREF(made[made_count])
    while top > 1:
        top -= 1
        XDECREF(stack[top])
    free(stack)
    return NULL


cdef void _not_active(name) noexcept:
    try:
        raise RuntimeError(f"resource {name!r} has gone while a program that injects it was running")
    except BaseException as error:
        _set_error(error)


cdef void _not_chosen(name) noexcept:
    try:
        raise RuntimeError(f"a Router among the arguments of {name!r} has not chosen")
    except BaseException as error:
        _set_error(error)


cdef extern from "Python.h":
    void PyErr_SetObject(object, object)


cdef void _set_error(object error) noexcept:
    PyErr_SetObject(type(error), error)


cdef PyObject* _build(int32_t code, PyObject** items, Py_ssize_t count, PyObject** keys) noexcept:
    """Make a container of items whose references it takes over, unless it fails."""
    cdef PyObject* made
    cdef Py_ssize_t i
    if code == t_DICT:
        made = DICT_NEW()
        if made == NULL:
            return NULL
        for i in range(count):
            if DICT_SET(made, keys[i], items[i]) < 0:
                DECREF(made)
                return NULL
        for i in range(count):
            DECREF(items[i])
        return made
    made = LIST_NEW(count) if code == t_LIST else TUPLE_NEW(count)
    if made == NULL:
        return NULL
    for i in range(count):
        if code == t_LIST:
            LIST_SET(made, i, items[i])
        else:
            TUPLE_SET(made, i, items[i])
    return made


cdef tuple _arguments(Frame frame, Py_ssize_t number):
    """Arguments of an operation as Python's (list, dict)."""
    cdef Py_ssize_t count = 0, i
    cdef Level* level = &frame.levels[frame.level_count - 1]
    cdef Program program = <Program>level.program
    cdef Instruction* instruction = &program.instructions[number]
    cdef PyObject** stack
    cdef list found
    cdef tuple keywords = <tuple>instruction.keywords if instruction.keywords != NULL else ()
    cdef Py_ssize_t npos = instruction.npos
    if instruction.kind == PLAIN_CALL:
        found = [value for value in <tuple>frame.ops[level.ops + number].values]  # not list(), see _begin_fan
    else:
        stack = _assemble(frame, level, number, &count)
        if stack == NULL:
            _raise_current()
        try:
            found = []
            for i in range(count):
                found.append(<object>stack[i + 1])
        finally:
            for i in range(count):
                DECREF(stack[i + 1])
            free(stack)
    return found[:npos], dict(zip(keywords, found[npos:]))


cdef int _check_ready(Frame frame, Py_ssize_t number) except -1:
    """Whether an operation of the top level exists and its arguments are there."""
    cdef Level* level
    cdef Instruction* instruction
    cdef Py_ssize_t at
    cdef int32_t code
    frame._op(number)
    level = &frame.levels[frame.level_count - 1]
    instruction = &(<Program>level.program).instructions[number]
    if (<Program>level.program).turns != NULL:
        return _check_inputs(frame, level, number)
    at = instruction.codes
    while at < instruction.codes_end:
        code = (<Program>level.program).codes[at]
        if code >= 0 and frame.ops[level.ops + code].result == NULL:
            raise RuntimeError(f"operation {number} needs the result of operation {code}, which has not run")
        at += 1 if instruction.kind == FLAT_CALL else 1 + _operands(code)
    return 0


def _execute_hot_node(Frame frame not None, Py_ssize_t i):
    """Call operation ``i`` of the top level: arguments by index, call; the loop stores what it returns."""
    cdef PyObject* result
    cdef object value
    cdef bint running = frame.running
    _check_ready(frame, i)
    frame.running = True  # what is called borrows from the frame
    try:
        result = _call(frame, &frame.levels[frame.level_count - 1], i)
    finally:
        frame.running = running
    if result == NULL:
        _raise_current()
    value = <object>result
    DECREF(result)
    return value


cdef object _stock_node = _execute_hot_node
cdef dict _module = globals()


cdef object _caught():
    """Return the exception that is set, and clear it. Not by try and except: those need memory to note where they are."""
    cdef PyObject* raised = cascade_caught()
    error = <object>raised
    DECREF(raised)
    return error


def run(Frame frame not None, double deadline):
    """Evaluate until something is needed from outside (see the signals) or the monotonic clock passes ``deadline``."""
    cdef int signal
    if frame.running:
        raise RuntimeError("this frame is running already")
    _enter_run(frame)
    try:
        # Whoever replaces the node function has it called for every node.
        signal = _run(frame, deadline, _module["_execute_hot_node"] is not _stock_node)
    finally:
        _leave_run(frame)
    return signal


cdef inline void _enter_run(Frame frame) noexcept:
    global _runs
    _runs += 1
    frame.run_number = _runs
    frame.running = True


cdef inline void _leave_run(Frame frame) noexcept:
    frame.run_number = 0
    frame.running = False


cdef int _run(Frame frame, double deadline, bint replaced) except -1:
    cdef Level* level
    cdef PyObject* value
    cdef bint awaited
    cdef int signal
    if frame.level_count == 0 and not frame.done:
        raise RuntimeError("this frame evaluates nothing")
    while True:
        if frame.inbox != NULL:
            _check_inbox(frame)
            value = frame.inbox
            frame.inbox = NULL
            awaited = True
        elif frame.waits:
            return c_STEP
        elif frame.done:
            return c_DONE
        else:
            level = &frame.levels[frame.level_count - 1]
            if level.fan != NULL:  # whatever became of its program: what its items may do is decided for each
                _go_on_with(frame, level)
                frame.credit -= 1
                if frame.credit <= 0 and _is_over(frame, deadline) and not frame.done:
                    return c_YIELD
                continue
            if not (<Program>level.program).is_open or (<Program>level.program).epoch != frame.cache.epoch:
                return c_YIELD  # judged again before its next node
            if (<Program>level.program).turns != NULL:
                signal = _next_turn(frame, deadline)
                if signal == c_ENDED:  # the target is skipped with those that it comes after
                    frame.op = frame.op_count - level.ops - 1
                    value = <PyObject*>None
                    INCREF(value)
                    _return(frame, level, value)
                    continue
                if signal != c_TURN:
                    return signal
            elif (<Program>level.program).group[level.place]:
                _note_group(frame, level)
                return c_GROUP
            frame.op = (<Program>level.program).order[level.place]
            if (<Program>level.program).instructions[frame.op].factory >= 0:
                if _begin_fan(frame, level):
                    continue
                return c_MAPPED
            awaited = False
            value = _call_replaced(frame) if replaced else _call(frame, level, frame.op)
            if value == NULL:
                frame.error = _caught()
                return c_FAILED
            # the call may have grown nothing of this frame: only this loop does
            if (<Program>level.program).instructions[frame.op].is_async:
                signal = _start(frame, &value)
                if signal != c_ENDED:
                    return signal
                awaited = True
        while _deliver(frame, value, awaited) == c_AWAIT:
            value = <PyObject*>frame.awaitable
            INCREF(value)
            signal = _start(frame, &value)
            if signal != c_ENDED:
                return signal
            awaited = True
        frame.credit -= 1
        if frame.credit <= 0 and _is_over(frame, deadline) and not frame.done:
            return c_YIELD


cdef bint _begin_fan(Frame frame, Level* level) except -1:
    """Begin with the map whose turn it is, if its items are synchronous and stand for no other calls."""
    cdef Instruction* instruction = &(<Program>level.program).instructions[frame.op]
    cdef PyObject* factory = frame.leaves[level.leaves + instruction.factory]
    cdef PyObject* retry = frame.ops[level.ops + frame.op].retry
    cdef _Fan fan
    cdef list column
    cdef dict inputs
    if cascade_type(factory) != T_TASK:
        return False
    if (<Task>factory)._callee.is_async or (<Task>factory)._callee.mode is not None:
        return False
    fan = _Fan.__new__(_Fan)
    fan.columns = []
    fan.count = -1
    _, inputs = _replaced(frame, frame.op) if frame._is_given(level, frame.op) else _arguments(frame, frame.op)
    for values in inputs.values():
        if type(values) is not list and type(values) is not tuple and type(values) is not range:
            return False
        # not list(): CPython 3.11 never lets go of a list or tuple if it finds no memory for the new one
        column = (<list>values)[:] if type(values) is list else [value for value in values]
        if fan.count >= 0 and fan.count != len(column):
            return False
        fan.count = len(column)
        fan.columns.append(column)
    if fan.count < 0 or holds_calls(fan.columns):
        return False
    fan.task = <Task>factory
    fan.names = tuple(inputs)
    fan.values = []
    fan.retry = <object>retry if retry != NULL else None
    INCREF(<PyObject*>fan)
    level.fan = <PyObject*>fan
    return True


cdef int _go_on_with(Frame frame, Level* level) except -1:
    """Begin with the next item of a map, or end it."""
    cdef _Fan fan = <_Fan>level.fan
    cdef Py_ssize_t at = len(fan.values)
    cdef int32_t op = (<Program>level.program).order[level.place]
    cdef PyObject* values
    if at == fan.count:
        level.fan = NULL
        DECREF(<PyObject*>fan)
        frame.op = op
        values = <PyObject*>fan.values
        INCREF(values)
        _deliver(frame, values, True)
        return 0
    lazy = _item(fan.task, fan.names, fan.columns, at)
    (<_Lazy>lazy).retry = fan.retry
    _push(frame, <PyObject*>lazy, op)
    level = &frame.levels[frame.level_count - 1]
    level.path = (level.path ^ <uint64_t>(at + 1)) * <uint64_t>0x100000001B3
    return 0


def walks():
    """How many steps had to walk large containers so far, because what could be in them was not accounted for."""
    return _walks


def holds_calls(list columns not None):
    """Whether one of some lists holds, at any depth, what stands for another value, or a task that was not called."""
    cdef Py_ssize_t at
    cdef int found
    _check_columns(columns)
    for column in columns:
        for at in range(LIST_SIZE(<PyObject*>column)):
            if cascade_type(LIST_ITEM(<PyObject*>column, at)) == T_TASK:
                return True
        _begin_search(NULL, NULL)
        found = _holds_markers(<PyObject*>column)
        if found < 0:
            raise MemoryError()
        if found:
            return True
    return False


def run_items(
    Frame frame not None, Task task not None, tuple names not None, list columns not None, retry, list values not None,
    double deadline,
):
    """Evaluate calls of a task one after the other; item i takes its arguments from the columns and adds to ``values``.

    Returns DONE when there are as many values as items, YIELD between two items when the monotonic clock has passed
    ``deadline``, and else what the item that is going on needs (see ``run``); its value is then added by the caller.
    """
    cdef Py_ssize_t count
    cdef int signal
    cdef object lazy
    cdef bint replaced = _module["_execute_hot_node"] is not _stock_node
    if len(names) != len(columns) or not columns:
        raise ValueError(f"{len(columns)} columns for {len(names)} names")
    _check_columns(columns)
    count = min([len(column) for column in columns])
    if frame.running or frame.level_count or frame.waits:
        raise RuntimeError("this frame is evaluating something already")
    _enter_run(frame)
    try:
        while len(values) < count:
            lazy = _item(task, names, columns, len(values))
            (<_Lazy>lazy).retry = retry
            frame.done = frame.over = False
            _push(frame, <PyObject*>lazy, -1)
            lazy = None
            signal = _run(frame, deadline, replaced)
            if signal != c_DONE:
                return signal
            values.append(frame.value)
            if frame.over and len(values) < count:
                return c_YIELD
    finally:
        _leave_run(frame)
    return c_DONE


cdef int _check_columns(list columns) except -1:
    for column in columns:
        if type(column) is not list:
            raise TypeError(f"a column is a list, not {type(column).__name__}")
    return 0


cdef object _item(Task task, tuple names, list columns, Py_ssize_t at):
    """Make the call of an item, as ``task(**arguments)`` does."""
    cdef Py_ssize_t i
    cdef Py_ssize_t count = LIST_SIZE(<PyObject*>columns)
    cdef PyObject* value
    cdef PyObject* made
    cdef PyObject* values = TUPLE_NEW(count)
    if values == NULL:
        raise MemoryError()
    for i in range(count):
        value = LIST_ITEM(<PyObject*>columns, i)
        if at >= LIST_SIZE(value):
            DECREF(values)
            raise IndexError("a column has become shorter")
        value = LIST_ITEM(value, at)
        INCREF(value)
        TUPLE_SET(values, i, value)
    made = _new_lazy(<PyObject*>task, values, <PyObject*>names)
    if made == NULL:
        raise MemoryError()
    lazy = <object>made
    DECREF(made)
    return lazy


cdef int _check_inbox(Frame frame) except -1:
    """Whether a value that was handed in is that of the operation whose turn it is."""
    cdef Level* level = &frame.levels[frame.level_count - 1]
    cdef Program program = None
    if frame.level_count and not frame.waits:
        program = <Program>level.program
    if program is None or level.place >= program.count or program.order[level.place] != frame.op:
        raise RuntimeError("no operation of this frame waits for a value")
    return 0


cdef bint _is_over(Frame frame, double deadline) noexcept:
    """Ask the clock; the shorter nodes take, the more of them run before it is asked again."""
    cdef double now = cascade_now(<PyObject*>_py_monotonic)
    cdef double each = (now - frame.asked) / frame.batch
    if each > 2e-6 and frame.batch > 1:
        frame.batch = 1
    elif each < 1e-6 and frame.batch < 16:
        frame.batch *= 2
    frame.asked = now
    frame.credit = frame.batch
    frame.over = now >= deadline or frame.hurried
    frame.hurried = False
    return frame.over


cdef int _note_group(Frame frame, Level* level) except -1:
    cdef Program program = <Program>level.program
    cdef int32_t place
    frame.group = []
    for place in range(level.place, level.place + program.group[level.place]):
        frame.group.append(program.order[place])
    return 0


cdef PyObject* _call_replaced(Frame frame) noexcept:
    cdef object value
    try:
        value = _module["_execute_hot_node"](frame, frame.op)
    except BaseException as error:
        _set_error(error)
        return NULL
    INCREF(<PyObject*>value)
    return <PyObject*>value


cdef int _start(Frame frame, PyObject** value) except -1:
    """Drive a coroutine (owned) to its first suspension; ENDED, with its value in place of it, if there is none."""
    cdef PyObject* result = NULL
    cdef PyObject* coroutine = value[0]
    cdef PySendResult sent
    cdef object held = <object>coroutine  # the frame may let go of it while it runs
    frame.awaitable = held
    DECREF(coroutine)
    frame.started = cascade_type(coroutine) == T_COROUTINE
    if not frame.started:
        return c_AWAIT
    sent = PyIter_Send(coroutine, <PyObject*>None, &result)
    if sent == PYGEN_NEXT:
        frame.yielded = <object>result
        DECREF(result)
        return c_AWAIT
    frame.awaitable = None
    if sent == PYGEN_ERROR:
        frame.error = _caught()
        return c_FAILED
    value[0] = result
    return c_ENDED


cdef inline int _deliver(Frame frame, PyObject* value, bint awaited) except -1:
    """Take what the function of operation ``op`` returned (owned). AWAIT if it is a coroutine to be awaited first.

    What comes at nearly every node is told apart here: a tail call, and a plain result that others wait for.
    """
    cdef PyTypeObject* kind = cascade_type(value)
    cdef unsigned long builtin = cascade_flags(value) & CASCADE_BUILTIN
    cdef Level* level = &frame.levels[frame.level_count - 1]
    if frame.routine is not None:
        return _deliver_apart(frame, level, value, awaited)
    if kind == T_LAZY:
        if frame.op == frame.op_count - level.ops - 1:
            return _tail(frame, level, value)
        return _expand(frame, value)
    if builtin & CASCADE_CONTAINER:
        return _deliver_any(frame, value, awaited)
    if not builtin and (_is_marker(value) or kind == T_COROUTINE or kind == T_TASK):
        return _deliver_any(frame, value, awaited)
    if frame.op == frame.op_count - level.ops - 1:
        return _return(frame, level, value)
    frame.ops[level.ops + frame.op].result = value
    level.place += 1
    frame.nodes += 1
    return 0


cdef int _expand(Frame frame, PyObject* lazy) except -1:
    """Evaluate in place the expression (owned, taken over) that an inner operation returned."""
    try:
        _push(frame, lazy, <int32_t>frame.op)
    finally:
        DECREF(lazy)
    return 0


cdef int _return(Frame frame, Level* level, PyObject* value) except -1:
    """End the top level with its final value (owned, taken over)."""
    cdef int32_t parent = level.parent
    if parent < 0:
        frame.last = <Program>level.program
    frame.nodes += 1
    frame._pop()
    if parent < 0 and frame.jumps and _is_a(value, T_JUMP):
        return _jump_apart(frame, value)
    frame._complete(value, parent)
    return 0


cdef int _jump_from(Frame frame, PyObject* value) except -1:
    """Go where a jump (owned, taken over) leads that the last step's target has returned."""
    cdef object held = <object>value
    DECREF(value)
    return _jump(frame, <Jump>held, frame.last.tasks[frame.last.count - 1])


cdef int _deliver_register(Frame frame, Level* level, PyObject* value, bint awaited) except -1:
    """Take what a call of a routine returned (owned); a ``TailCall`` of the last one runs a routine once more."""
    cdef bint is_last = frame.op == frame.op_count - level.ops - 1
    cdef object held
    if is_last and not cascade_flags(value) & CASCADE_BUILTIN and _is_a(value, T_TAIL_CALL):
        held = <object>value
        DECREF(value)
        return _call_again(frame, <TailCall>held)
    if not _is_scalar(value):
        held = <object>value
        DECREF(value)
        frame.awaitable = frame.wanted(held, awaited)
        if frame.awaitable is not None:
            return c_AWAIT
        value = <PyObject*>held
        INCREF(value)
    frame.nodes += 1
    level = &frame.levels[frame.level_count - 1]
    if is_last:
        frame._pop()
        return frame._complete(value, -1)
    frame.ops[level.ops + frame.op].result = value
    level.place += 1
    return 0


cdef int _call_again(Frame frame, TailCall call) except -1:
    """Run the routine at the bottom, or the one that is named, with the arguments of a tail call."""
    cdef Routine routine = frame.routine
    cdef Level* level = &frame.levels[frame.level_count - 1]
    cdef Py_ssize_t i
    cdef PyObject* result
    frame.nodes += 1
    if call.target_blueprint_id is not None:
        found = frame.routines.get(call.target_blueprint_id)
        frame._pop()
        if found is None:
            INCREF(<PyObject*>call)
            return frame._complete(<PyObject*>call, -1)
        _lay(frame, <Routine?>found)
        return _load(frame, <Routine>found, call.given_args, call.given_kwargs)
    if routine.carried:
        _carry(frame, level, routine, call)
    for i in range(level.ops, frame.op_count):
        result = frame.ops[i].result
        frame.ops[i].result = NULL
        XDECREF(result)
    level.place = 0
    frame.steps += 1
    if routine.is_direct and type(call.given_args) is list and not call.given_kwargs:
        if LIST_SIZE(<PyObject*>call.given_args) == TUPLE_SIZE(frame.ops[level.ops].values):
            return _take_values(&frame.ops[level.ops], <PyObject*>call.given_args)
    return _load(frame, routine, call.given_args, call.given_kwargs)


cdef int _carry(Frame frame, Level* level, Routine routine, TailCall call) except -1:
    """Let arguments that are read before they are stored have what this round has stored."""
    cdef tuple one
    cdef Py_ssize_t source
    for one in routine.carried:
        source = one[0]
        stored = call if source == frame.op else <object>frame.ops[level.ops + source].result
        _put_value(&frame.ops[level.ops + <Py_ssize_t>one[1]], one[2], stored)
    return 0


cdef int _take_values(Op* op, PyObject* items) except -1:
    """Let an operation have the items of a list as its values."""
    cdef PyObject* old = op.values
    cdef PyObject* made = LIST_AS_TUPLE(items)
    if made == NULL:
        raise MemoryError()
    op.values = made
    _drop_values(old)
    return 0


cdef int _put_value(Op* op, Py_ssize_t position, value) except -1:
    """Let an operation have another value; its tuple is changed if nobody else has it."""
    cdef PyObject* old = op.values
    cdef PyObject* made
    cdef PyObject* replaced
    cdef Py_ssize_t i, size = TUPLE_SIZE(old)
    INCREF(<PyObject*>value)
    if REFERENCE_COUNT(old) == 1 and GC_IS_TRACKED(old):
        replaced = cascade_items(old)[position]
        cascade_items(old)[position] = <PyObject*>value
        DECREF(replaced)
        return 0
    made = TUPLE_NEW(size)
    if made == NULL:
        DECREF(<PyObject*>value)
        raise MemoryError()
    for i in range(size):
        if i != position:
            INCREF(TUPLE_ITEM(old, i))
        TUPLE_SET(made, i, <PyObject*>value if i == position else TUPLE_ITEM(old, i))
    op.values = made
    DECREF(old)
    return 0


cdef int _load(Frame frame, Routine routine, args, kwargs) except -1:
    """Load arguments into the inputs of the routine on the frame."""
    cdef tuple positional = tuple(args) if args is not None else ()
    cdef dict named = dict(kwargs) if kwargs else None
    cdef Py_ssize_t i
    if len(positional) > len(routine.inputs) or (named is not None and not routine.named.keys() >= named.keys()):
        raise _problem("inputs", (len(routine.inputs), list(routine.named), positional, named or {}))
    for i in range(len(positional)):
        _put_in(frame, <tuple>routine.inputs[i], positional[i])
    if named is not None:
        for name, value in named.items():
            _put_in(frame, <tuple>routine.named[name], value)
    return 0


cdef int _put_in(Frame frame, tuple places, value) except -1:
    cdef tuple place
    for place in places:
        _put_value(&frame.ops[<Py_ssize_t>place[0]], place[1], value)
    return 0


cdef int _lay(Frame frame, Routine routine) except -1:
    """Put a level for a routine on the frame, which is empty."""
    cdef Py_ssize_t i, count = routine.program.count
    cdef Level* level
    cdef Operation operation
    cdef Op* op
    if frame.level_room == 0 and _grow(<void**>&frame.levels, &frame.level_room, sizeof(Level), 0) < 0:
        raise MemoryError()
    if frame.op_room < count and _grow(<void**>&frame.ops, &frame.op_room, sizeof(Op), count) < 0:
        raise MemoryError()
    for i in range(count):
        operation = routine.operations[i]
        op = &frame.ops[i]
        op.callee = <PyObject*>operation.callee
        INCREF(op.callee)
        op.values = <PyObject*>routine.values[i]
        INCREF(op.values)
        op.retry = op.lazy = op.result = NULL
    level = &frame.levels[0]
    level.program = <PyObject*>routine.program
    INCREF(level.program)
    level.ops = level.leaves = 0
    level.place = 0
    level.parent = -1
    level.choices = 0
    level.fan = NULL
    level.path = 0
    frame.op_count = count
    frame.level_count = 1
    frame.routine = routine
    frame.steps += 1
    return 0


cdef int _deliver_any(Frame frame, PyObject* value, bint awaited) except -1:
    cdef PyTypeObject* kind = cascade_type(value)
    cdef Level* level = &frame.levels[frame.level_count - 1]
    cdef Py_ssize_t op = frame.op
    cdef PyObject* following = NULL
    cdef int found
    if kind == T_LAZY or kind == T_MAPPED:
        following = value
    elif cascade_flags(value) & CASCADE_CONTAINER:
        _begin_search(<PyObject*>frame, NULL)
        found = _holds_markers(value)
        if found:
            following = _gathered(value, found)
    elif kind == T_ROUTER:
        following = _gathered(value, 1)
    elif kind == T_COROUTINE:
        if not awaited:
            frame.awaitable = <object>value
            DECREF(value)
            return c_AWAIT
    elif kind == T_TASK:
        frame.nodes += op == frame.op_count - level.ops - 1  # as in full processing: a target that returned has run
        _uncalled(frame, op, value)
    if op == frame.op_count - level.ops - 1:
        return _return(frame, level, value) if following == NULL else _tail(frame, level, following)
    if following != NULL:
        return _expand(frame, following)
    frame.ops[level.ops + op].result = value
    level.place += 1
    frame.nodes += 1
    return 0


cdef PyObject* _gathered(PyObject* value, int found) except NULL:
    """Return the expression (owned) that a container (owned, taken over) stands for."""
    cdef object container = <object>value
    cdef object made
    DECREF(value)
    if found < 0:
        raise MemoryError()
    made = LazyResult(_gather, (container,), {})
    INCREF(<PyObject*>made)
    return <PyObject*>made


cdef int _uncalled(Frame frame, Py_ssize_t op, PyObject* value) except -1:
    cdef object task = <object>value
    DECREF(value)
    raise _problem("returned", (frame.name_of(op), task))


cdef int _visit_frame(PyObject* self, void* visit, void* arg) noexcept:
    """Show the garbage collector what the frame's arrays own."""
    cdef Frame frame = <Frame>self
    cdef Py_ssize_t i
    cdef int stop = cascade_visit_one(frame.inbox, visit, arg)
    if stop:
        return stop
    for i in range(frame.op_count):
        stop = (
            cascade_visit_one(frame.ops[i].callee, visit, arg) or cascade_visit_one(frame.ops[i].values, visit, arg)
            or cascade_visit_one(frame.ops[i].retry, visit, arg) or cascade_visit_one(frame.ops[i].lazy, visit, arg)
            or cascade_visit_one(frame.ops[i].result, visit, arg)
        )
        if stop:
            return stop
    for i in range(frame.leaf_count):
        stop = cascade_visit_one(frame.leaves[i], visit, arg)
        if stop:
            return stop
    for i in range(frame.level_count):
        stop = (
            cascade_visit_one(frame.levels[i].program, visit, arg) or cascade_visit_one(frame.levels[i].fan, visit, arg)
        )
        if stop:
            return stop
    return 0


cdef void _clear_frame(PyObject* self) noexcept:
    """Let the garbage collector break cycles that run through the frame's arrays."""
    (<Frame>self).running = True
    (<Frame>self)._release_all()


cascade_patch_traverse(<PyTypeObject*>Frame, <cascade_visit_all>_visit_frame)
cascade_patch_clear(<PyTypeObject*>Frame, _clear_frame)


# ------------------------------------------------------------------------------------------------------ rehydration


def rehydrate(expression, protos, ops, node_of, offsets, indices):
    """Bind the nodes of a template to the leaves of an expression with the same key, see ``_hot_py.py``."""
    cdef list nodes = [], stages = []
    cdef list operations = expression.operations
    cdef object leaves = expression.leaves
    cdef Py_ssize_t count
    for proto, op in zip(protos, ops):
        nodes.append(proto.bound(operations[op], leaves, nodes, node_of))
    by_op = [nodes[position] for position in node_of]
    count = len(nodes)  # positions beyond are shadow nodes, which never run
    for stage in range(len(offsets) - 1):
        stages.append([nodes[i] for i in indices[offsets[stage]:offsets[stage + 1]] if i < count])
    return nodes, by_op, stages


# A C variable is no attribute of the module by itself.
_module["_gather"] = _gather

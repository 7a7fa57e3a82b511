/* Lazy results that have lived for a while, set aside from Python's garbage collector between its full collections.

   CPython walks everything that lives whenever what has survived young collections is a quarter of it, so an object of a
   large expression is looked at some five times while the expression is written; and each walk leaves the objects in another
   order than they have in memory, so that the next one misses the cache at every object. For layers of a hundred calls that
   is nine tenths of what writing a million of them costs.

   Here they are a generation of their own: a list that the collector does not know. For it they are what the objects of an
   older generation are in the collection of a younger one: not looked at, what they refer to is alive, and they do not count
   among those that have survived, so that full collections come when other objects ask for them. For each of these they are
   put behind all others, the newest first: there each object is met after one that refers to it, is known to be alive when
   its turn comes, and keeps its place.

   What this relies on holds in CPython 3.11 to 3.13, and is checked before it is used: two words in front of each object
   that the collector knows link it into a circular list, two bits of the second are flags; an object is put at the end of the
   youngest generation; three generations lie side by side, each with its threshold and its count. Objects are moved only when
   the collector says that it begins or has ended: its own lists are complete then. */
#ifndef CASCADE_ASIDE_H
#define CASCADE_ASIDE_H

#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030E0000 && !defined(PYPY_VERSION) && !defined(Py_GIL_DISABLED)

typedef struct { uintptr_t next, prev; } CascadeNode;
typedef struct { CascadeNode head; int threshold, count; } CascadeGeneration;

static CascadeGeneration *cascade_generations = NULL;
static CascadeNode cascade_aside = {(uintptr_t)&cascade_aside, (uintptr_t)&cascade_aside};
static PyObject *cascade_bound = NULL; /* what was put behind it has survived a collection since */

static inline CascadeNode *cascade_node(PyObject *o) { return (CascadeNode *)o - 1; }
static inline CascadeNode *cascade_next(CascadeNode *node) { return (CascadeNode *)node->next; }
static inline CascadeNode *cascade_prev(CascadeNode *node) { return (CascadeNode *)(node->prev & ~(uintptr_t)3); }
static inline void cascade_link(CascadeNode *one, CascadeNode *next) {
    one->next = (uintptr_t)next;
    next->prev = (next->prev & 3) | (uintptr_t)one;
}

/* Finds the generations, which have these thresholds; false where they are not what is expected. */
static int cascade_find_generations(const int *thresholds) {
    CascadeGeneration *found;
    CascadeNode *head;
    int i;
    Py_XSETREF(cascade_bound, PyList_New(0));
    if (cascade_bound == NULL) { PyErr_Clear(); return 0; }
    found = (CascadeGeneration *)cascade_next(cascade_node(cascade_bound));
    for (i = 0; i < 3; i++) {
        head = &found[i].head;
        if (found[i].threshold != thresholds[i] || found[i].count < 0 || head->next == 0 || (head->next | head->prev) & 7
            || cascade_prev(cascade_next(head)) != head || cascade_next(cascade_prev(head)) != head)
            return 0;
    }
    cascade_generations = found;
    return cascade_prev(&found[0].head) == cascade_node(cascade_bound);
}

static inline void cascade_move_before(CascadeNode *next, CascadeNode *node) {
    if (node == next) return;
    cascade_link(cascade_prev(node), cascade_next(node));
    cascade_link(cascade_prev(next), node);
    cascade_link(node, next);
}

/* The values of a lazy result, or NULL where the collector knows none, or is at work on them. */
static inline CascadeNode *cascade_values_of(CascadeNode *lazy) {
    PyObject *values = cascade_references((PyObject *)(lazy + 1))[1];
    if (values == NULL || !PyTuple_CheckExact(values) || PyTuple_GET_SIZE(values) == 0 || !PyObject_GC_IsTracked(values)
        || cascade_node(values)->prev & 2)
        return NULL;
    return cascade_node(values);
}

static inline int cascade_is_lazy(CascadeNode *node, PyTypeObject *type) { return Py_TYPE((PyObject *)(node + 1)) == type; }

/* Puts the lazy results of the youngest generation behind all others, each with its values, the newest first. */
static void cascade_put_newest_first(PyTypeObject *type) {
    CascadeNode *head = &cascade_generations[0].head, *node = cascade_prev(head), *values, *older;
    for (; node != head; node = older) {
        if (!cascade_is_lazy(node, type)) { older = cascade_prev(node); continue; }
        values = cascade_values_of(node);
        if (values != NULL) cascade_move_before(head, values);
        older = cascade_prev(node);
        cascade_move_before(values != NULL ? values : head, node);
    }
}

/* Sets the lazy results of a generation aside, each with its values: all of them, or those behind the bound, which then
   comes to be the last. What comes first there comes first here. */
static void cascade_set_aside(int number, int all, PyTypeObject *type) {
    CascadeNode *head = &cascade_generations[number].head, *bound = cascade_node(cascade_bound);
    CascadeNode *node = cascade_prev(head), *values, *former;
    for (; node != head && (all || node != bound); node = former) {
        if (!cascade_is_lazy(node, type)) { former = cascade_prev(node); continue; }
        values = cascade_values_of(node);
        if (values != NULL) cascade_move_before(cascade_next(&cascade_aside), values);
        former = cascade_prev(node);
        cascade_move_before(cascade_next(&cascade_aside), node);
    }
    cascade_move_before(head, bound);
}

/* Puts what was set aside behind all others, for a full collection: it appends the youngest generation, then the second. */
static void cascade_bring_back(void) {
    CascadeNode *head = &cascade_generations[1].head, *first = cascade_next(&cascade_aside);
    if (first == &cascade_aside) return;
    cascade_link(cascade_prev(head), first);
    cascade_link(cascade_prev(&cascade_aside), head);
    cascade_link(&cascade_aside, &cascade_aside);
}

#else

static int cascade_find_generations(const int *thresholds) { (void)thresholds; return 0; }
static void cascade_put_newest_first(PyTypeObject *type) { (void)type; }
static void cascade_set_aside(int number, int all, PyTypeObject *type) {
    (void)number; (void)all; (void)type;
}
static void cascade_bring_back(void) {}

#endif
#endif

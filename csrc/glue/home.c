/* home.c - which run an object belongs to, where no GIL keeps threads apart.
 *
 * Invariants
 * - An object's home changes by compare-and-swap: from nobody's, or from a
 *   run that is over, to a run or a visitor; from a visitor to nobody's, by
 *   that visitor.
 * - A run is in the list from its beginning to its end. Who finds, under the
 *   lock, that it is not there any more sees all that it has written.
 * - The lock is held for a few instructions; nothing that can block or run
 *   Python happens under it.
 */
#include "home.h"

#if TC_FREE_THREADED

#include "../base/clock.h"

#define PATIENCE 1000            /* naps while somebody else visits */

TC_THREAD_LOCAL uintptr_t tc_home_here;

/* All of them static because the thread-local above is: a thread is in one
   run at a time, whatever interpreters it goes through. */
static PyMutex home_lock;
static tc_link home_runs = {&home_runs, &home_runs};
static uintptr_t home_last_id;

/* Any address that other living threads do not have. Odd, it is what a
   visitor from this thread leaves in an object. */
static const void *
home_thread(void)
{
    return &tc_home_here;
}

static uintptr_t
home_visitor(void)
{
    return (uintptr_t)home_thread() | 1;
}

void
tc_home_begin_run(tc_home_run *run)
{
    PyMutex_Lock(&home_lock);
    home_last_id += 2;
    run->id = home_last_id;
    run->thread = home_thread();
    tc_list_init(&run->link);
    tc_list_append(&home_runs, &run->link);
    PyMutex_Unlock(&home_lock);
}

void
tc_home_end_run(tc_home_run *run)
{
    if (run->id == 0) {
        return;
    }
    PyMutex_Lock(&home_lock);
    tc_list_remove(&run->link);
    PyMutex_Unlock(&home_lock);
}

/* Does another thread run it? */
static int
home_is_run_elsewhere(uintptr_t id)
{
    int found = 0;
    PyMutex_Lock(&home_lock);
    for (tc_link *link = home_runs.next; link != &home_runs && !found;
         link = link->next) {
        tc_home_run *run = TC_CONTAINER_OF(link, tc_home_run, link);
        found = run->id == id && run->thread != home_thread();
    }
    PyMutex_Unlock(&home_lock);
    return found;
}

/* Is it in the list at all? */
static int
home_is_run_alive(uintptr_t id)
{
    int found = 0;
    PyMutex_Lock(&home_lock);
    for (tc_link *link = home_runs.next; link != &home_runs && !found;
         link = link->next) {
        found = TC_CONTAINER_OF(link, tc_home_run, link)->id == id;
    }
    PyMutex_Unlock(&home_lock);
    return found;
}

void
tc_home_after_fork(void)
{
    /* A thread that is not here may have held it. */
    home_lock = (PyMutex){0};
    for (tc_link *link = home_runs.next; link != &home_runs;) {
        tc_home_run *run = TC_CONTAINER_OF(link, tc_home_run, link);
        link = link->next;
        if (run->thread != home_thread()) {
            tc_list_remove(&run->link);
        }
    }
}

int
tc_home_is_elsewhere(PyObject *op)
{
    uintptr_t home = atomic_load(&((tc_homed *)tc_home_owner(op))->home);
    return home != 0 && home != tc_home_here && !(home & 1)
           && home_is_run_elsewhere(home);
}

static int
home_refuse(PyObject *op)
{
    PyErr_Format(PyExc_RuntimeError,
                 "%sthis %s is in use by a run in another thread",
                 tc_home_here == 0 ? "must be called from async context: "
                                   : "",
                 Py_TYPE(op)->tp_name);
    return -1;
}

int
tc_home_negotiate(PyObject *op, int *is_visit)
{
    _Atomic(uintptr_t) *home = &((tc_homed *)op)->home;
    uintptr_t here = tc_home_here;
    uintptr_t visitor = home_visitor();
    for (int naps = 0; naps < PATIENCE;) {
        uintptr_t now = atomic_load(home);
        if (now == visitor || (now == here && here != 0)) {
            return 0;
        }
        if (now & 1) {
            Py_BEGIN_ALLOW_THREADS
            tc_clock_nap();
            Py_END_ALLOW_THREADS
            naps++;
            continue;
        }
        if (now != 0 && home_is_run_alive(now)) {
            /* Of another run of this thread: a guest run's host. */
            return home_is_run_elsewhere(now) ? home_refuse(op) : 0;
        }
        if (atomic_compare_exchange_strong(home, &now,
                                           here != 0 ? here : visitor)) {
            *is_visit = here == 0;
            return 0;
        }
    }
    return home_refuse(op);
}

void
tc_home_end_visit(PyObject *op)
{
    /* Unless a run has begun meanwhile, in this very call, and taken it. */
    uintptr_t visitor = home_visitor();
    (void)atomic_compare_exchange_strong(&((tc_homed *)op)->home, &visitor,
                                         0);
}

/* --- attributes ---------------------------------------------------------- */

/* An attribute as its type defines it: a getter and perhaps a setter, or a
   member. Static, or of a spec that is. */
typedef struct {
    getter get;
    setter set;
    void *closure;
    PyMemberDef *member;
} home_attribute;

static PyObject *
home_get(PyObject *op, void *closure)
{
    const home_attribute *attribute = closure;
    int is_visit;
    if (tc_home_enter(op, &is_visit) < 0) {
        return NULL;
    }
    PyObject *value = attribute->member != NULL
                          ? PyMember_GetOne((char *)op, attribute->member)
                          : attribute->get(op, attribute->closure);
    tc_home_leave(op, is_visit);
    return value;
}

static int
home_set(PyObject *op, PyObject *value, void *closure)
{
    const home_attribute *attribute = closure;
    int is_visit;
    if (tc_home_enter(op, &is_visit) < 0) {
        return -1;
    }
    int r = attribute->member != NULL
                ? PyMember_SetOne((char *)op, attribute->member, value)
                : attribute->set(op, value, attribute->closure);
    tc_home_leave(op, is_visit);
    return r;
}

/* An object's dict has a lock of its own, and its class and name are what they
   are; "__dictoffset__" and the like are no attributes. */
static int
home_is_open(const char *name)
{
    return strncmp(name, "__", 2) == 0;
}

static void
home_guard_getset(const PyGetSetDef *from, PyGetSetDef *to,
                  home_attribute *attribute)
{
    *attribute = (home_attribute){from->get, from->set, from->closure, NULL};
    *to = (PyGetSetDef){from->name, home_get,
                        from->set == NULL ? NULL : home_set, from->doc,
                        attribute};
}

static void
home_guard_member(PyMemberDef *from, PyGetSetDef *to,
                  home_attribute *attribute)
{
    *attribute = (home_attribute){NULL, NULL, NULL, from};
    /* Also if it is read only, to say so as members do. */
    *to = (PyGetSetDef){from->name, home_get, home_set, from->doc,
                        attribute};
}

PyType_Slot *
tc_home_guard_slots(const PyType_Spec *spec)
{
    PyGetSetDef *getset = NULL;
    PyMemberDef *members = NULL;
    size_t n_slots = 0, n_getset = 0, n_members = 0, n = 0, n_open = 0;
    for (; spec->slots[n_slots].slot != 0; n_slots++) {
        if (spec->slots[n_slots].slot == Py_tp_getset) {
            getset = spec->slots[n_slots].pfunc;
        }
        else if (spec->slots[n_slots].slot == Py_tp_members) {
            members = spec->slots[n_slots].pfunc;
        }
    }
    while (getset != NULL && getset[n_getset].name != NULL) {
        n_getset++;
    }
    while (members != NULL && members[n_members].name != NULL) {
        n_members++;
    }
    /* As static as what they are made from: types are never unloaded. */
    PyGetSetDef *guarded
        = PyMem_RawCalloc(n_getset + n_members + 1, sizeof(*guarded));
    home_attribute *attributes
        = PyMem_RawCalloc(n_getset + n_members + 1, sizeof(*attributes));
    PyMemberDef *open = PyMem_RawCalloc(n_members + 1, sizeof(*open));
    PyType_Slot *slots = PyMem_Calloc(n_slots + 3, sizeof(*slots));
    if (guarded == NULL || attributes == NULL || open == NULL
        || slots == NULL) {
        PyMem_RawFree(guarded);
        PyMem_RawFree(attributes);
        PyMem_RawFree(open);
        PyMem_Free(slots);
        PyErr_NoMemory();
        return NULL;
    }
    for (size_t i = 0; i < n_getset; i++, n++) {
        if (home_is_open(getset[i].name)) {
            guarded[n] = getset[i];
        }
        else {
            home_guard_getset(&getset[i], &guarded[n], &attributes[n]);
        }
    }
    for (size_t i = 0; i < n_members; i++) {
        if (home_is_open(members[i].name)) {
            open[n_open++] = members[i];
        }
        else {
            home_guard_member(&members[i], &guarded[n], &attributes[n]);
            n++;
        }
    }
    PyType_Slot *end = slots;
    for (size_t i = 0; i < n_slots; i++) {
        int slot = spec->slots[i].slot;
        if (slot != Py_tp_getset && slot != Py_tp_members) {
            *end++ = spec->slots[i];
        }
    }
    *end++ = (PyType_Slot){Py_tp_getset, guarded};
    *end++ = (PyType_Slot){Py_tp_members, open};
    return slots;
}

#endif

PyObject *
tc_home_repr(PyObject *op)
{
    PyErr_Clear();
    return PyUnicode_FromFormat("<%s at %p, in use by another thread's run>",
                                Py_TYPE(op)->tp_name, (void *)op);
}

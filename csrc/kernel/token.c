/* token.c - TrioToken and current_trio_token(). */
#include "token.h"
#include "../glue/args.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "runner.h"

TokenObject *
tc_token_of_runner(RunnerObject *runner)
{
    if (runner->trio_token == NULL) {
        PyTypeObject *type = runner->st->TrioTokenType;
        TokenObject *self = (TokenObject *)type->tp_alloc(type, 0);
        if (self == NULL) {
            return NULL;
        }
        self->st = runner->st;
        self->queue
            = (EntryQueueObject *)Py_NewRef((PyObject *)runner->entry_queue);
        TC_LIVE_ADD(self->st, TrioTokenType);
        runner->trio_token = (PyObject *)self;
    }
    return (TokenObject *)runner->trio_token;
}

static PyObject *
token_current(FunctionObject *func, PyObject *Py_UNUSED(self),
              PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
              PyObject *kwnames)
{
    if (tc_args_none("current_trio_token", nargs, kwnames) < 0) {
        return NULL;
    }
    RunnerObject *runner = tc_context_need_runner(func->st);
    if (runner == NULL) {
        return NULL;
    }
    return Py_XNewRef((PyObject *)tc_token_of_runner(runner));
}

static PyObject *
token_run_sync_soon(FunctionObject *Py_UNUSED(func), PyObject *op,
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    return tc_entry_queue_run_sync_soon(((TokenObject *)op)->queue,
                                        "TrioToken.run_sync_soon", args,
                                        nargs, kwnames);
}

static int
token_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)((TokenObject *)op)->queue);
    return 0;
}

static void
token_dealloc(PyObject *op)
{
    TokenObject *self = (TokenObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    TC_LIVE_SUB(self->st, TrioTokenType);
    Py_CLEAR(self->queue);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef token_methods[] = {
    TC_FINAL_METHOD,
    {NULL, NULL, 0, NULL},
};

static PyMemberDef token_members[] = {
    {"_reentry_queue", T_OBJECT, offsetof(TokenObject, queue), READONLY,
     NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TokenObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* No tp_clear: the queue breaks the cycles that go through it, and a token
   without its queue would be of no use to a finalizer. */
static PyType_Slot token_slots[] = {
    {Py_tp_doc,
     "A handle on a run, for use from other threads and signal handlers.\n"},
    {Py_tp_new, tc_type_no_constructor},
    {Py_tp_dealloc, token_dealloc},
    {Py_tp_traverse, token_traverse},
    {Py_tp_methods, token_methods},
    {Py_tp_members, token_members},
    {0, NULL},
};

static PyType_Spec tc_token_spec = {
    .name = "trio_c.lowlevel.TrioToken",
    .basicsize = sizeof(TokenObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = token_slots,
};

static const tc_function_def token_functions[] = {
    {"current_trio_token", "trio_c.lowlevel", token_current},
    {NULL, NULL, NULL},
};

static const tc_function_def token_type_functions[] = {
    {"TrioToken.run_sync_soon", "trio_c.lowlevel", token_run_sync_soon},
    {NULL, NULL, NULL},
};

int
tc_token_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->TrioTokenType, &tc_token_spec, NULL,
                          "TrioToken") < 0
        || tc_function_add_to_type(st, st->TrioTokenType,
                                   token_type_functions) < 0
        || tc_type_mark_final(st, st->TrioTokenType) < 0) {
        return -1;
    }
    return tc_function_add_to_module(st, token_functions);
}

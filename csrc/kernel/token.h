/* token.h - TrioToken: another thread's handle on a run. */
#ifndef TC_KERNEL_TOKEN_H
#define TC_KERNEL_TOKEN_H

#include "../glue/state.h"
#include "context.h"
#include "entry_queue.h"

typedef struct TokenObject {
    PyObject_HEAD
    tc_state *st;                /* borrowed */
    EntryQueueObject *queue;     /* owned */
    PyObject *weakrefs;
} TokenObject;

static inline int
Token_CheckExact(tc_state *st, PyObject *op)
{
    return Py_IS_TYPE(op, st->TrioTokenType);
}

/* The run's token, made when first asked for. Borrowed; NULL with exc. */
TokenObject *tc_token_of_runner(RunnerObject *runner);

int tc_token_register(tc_state *st);

#endif

/* overlapped.c - overlapped operations in flight.
 *
 * Invariants: see overlapped.h.
 */
#include "overlapped.h"

#if TC_POLL_HAVE_IOCP

#  define FIRST_CHAINS 64

/* --- lifetime ----------------------------------------------------------- */

tc_overlapped *
tc_overlapped_new(void)
{
    tc_overlapped *op = PyMem_Calloc(1, sizeof(*op));
    if (op == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    op->ov = &op->own;
    op->held = 1;
    tc_list_init(&op->waiter);
    return op;
}

/* Neither in flight nor held: what it has goes, and so does it. Keeps a raised
   exception. */
static void
overlapped_free(tc_overlapped *op)
{
    PyObject *raised = PyErr_GetRaisedException();
    PyBuffer_Release(&op->buffer);
    Py_XDECREF(op->of_caller);
    PyMem_Free(op);
    PyErr_SetRaisedException(raised);
}

void
tc_overlapped_release(tc_overlapped *op)
{
    op->held = 0;
    if (!op->in_flight) {
        overlapped_free(op);
    }
}

/* --- the table ---------------------------------------------------------- */

static tc_overlapped **
table_chain(const tc_overlapped_table *table, const OVERLAPPED *ov)
{
    /* Addresses are multiples of 16, and near each other. */
    uintptr_t hash = (uintptr_t)ov >> 4;
    hash ^= hash >> 10;
    return &table->chains[hash & (table->n_chains - 1)];
}

static int
table_grow(tc_overlapped_table *table)
{
    size_t n = table->n_chains == 0 ? FIRST_CHAINS : table->n_chains * 2;
    tc_overlapped_table grown = {
        .chains = PyMem_Calloc(n, sizeof(*grown.chains)),
        .n_chains = n,
        .n = table->n,
    };
    if (grown.chains == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < table->n_chains; i++) {
        tc_overlapped *next;
        for (tc_overlapped *op = table->chains[i]; op != NULL; op = next) {
            tc_overlapped **chain = table_chain(&grown, op->ov);
            next = op->next;
            op->next = *chain;
            *chain = op;
        }
    }
    PyMem_Free(table->chains);
    *table = grown;
    return 0;
}

int
tc_overlapped_insert(tc_overlapped_table *table, tc_overlapped *op)
{
    if (table->n >= table->n_chains && table_grow(table) < 0) {
        return -1;
    }
    tc_overlapped **chain = table_chain(table, op->ov);
    op->next = *chain;
    *chain = op;
    table->n++;
    op->in_flight = 1;
    return 0;
}

tc_overlapped *
tc_overlapped_find(const tc_overlapped_table *table, const OVERLAPPED *ov)
{
    tc_overlapped *op
        = table->n == 0 ? NULL : *table_chain(table, ov);
    while (op != NULL && op->ov != ov) {
        op = op->next;
    }
    return op;
}

void
tc_overlapped_done(tc_overlapped_table *table, tc_overlapped *op)
{
    tc_overlapped **place = table_chain(table, op->ov);
    while (*place != op) {
        place = &(*place)->next;
    }
    *place = op->next;
    table->n--;
    op->in_flight = 0;
    if (!op->held) {
        overlapped_free(op);
    }
}

/* --- the end of a run --------------------------------------------------- */

/* All operations, linked through next; nobody waits for them any more. The
   table is empty afterwards. */
static tc_overlapped *
table_take_all(tc_overlapped_table *table)
{
    tc_overlapped *all = NULL;
    for (size_t i = 0; i < table->n_chains; i++) {
        tc_overlapped *next;
        for (tc_overlapped *op = table->chains[i]; op != NULL; op = next) {
            next = op->next;
            op->next = all;
            all = op;
            tc_link *waiter = tc_list_first(&op->waiter);
            if (waiter != NULL) {
                tc_list_remove(waiter);
            }
        }
    }
    PyMem_Free(table->chains);
    memset(table, 0, sizeof(*table));
    return all;
}

/* Is the system done with it, as far as it concerns us? */
static int
overlapped_is_over(const tc_overlapped *op)
{
    return op->of_caller != NULL || HasOverlappedIoCompleted(op->ov);
}

void
tc_overlapped_cancel_all(const tc_overlapped_table *table)
{
    for (size_t i = 0; i < table->n_chains; i++) {
        for (tc_overlapped *op = table->chains[i]; op != NULL; op = op->next) {
            if (op->of_caller == NULL) {
                /* It may be over already, or its handle closed. */
                (void)CancelIoEx(op->handle, op->ov);
            }
        }
    }
}

int
tc_overlapped_are_over(const tc_overlapped_table *table)
{
    for (size_t i = 0; i < table->n_chains; i++) {
        for (tc_overlapped *op = table->chains[i]; op != NULL; op = op->next) {
            if (!overlapped_is_over(op)) {
                return 0;
            }
        }
    }
    return 1;
}

void
tc_overlapped_close(tc_overlapped_table *table)
{
    tc_overlapped *next;
    for (tc_overlapped *op = table_take_all(table); op != NULL; op = next) {
        next = op->next;
        if (!overlapped_is_over(op)) {
            continue;  /* better a leak than somebody else's memory */
        }
        op->in_flight = 0;
        if (!op->held) {
            overlapped_free(op);
        }
    }
}

#endif

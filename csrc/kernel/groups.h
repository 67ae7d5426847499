/* groups.h - exception groups as scopes and nurseries need them. */
#ifndef TC_KERNEL_GROUPS_H
#define TC_KERNEL_GROUPS_H

#include "../glue/state.h"

/* group.split(Cancelled), then the rest with its loose single-member groups
   collapsed. *matched says whether anything was taken out. The rest as a new
   reference in *rest, NULL if nothing is left. 0 or -1. */
int tc_group_strip_cancelled(tc_state *st, PyObject *group, int *matched,
                             PyObject **rest);

/* BaseExceptionGroup("Exceptions from Trio nursery", excs), with the loose
   note unless strict. New reference or NULL. */
PyObject *tc_group_new(tc_state *st, PyObject *excs, int strict);

int tc_groups_register(tc_state *st);

#endif

/* lazy_module.h - the class of packages that load their names on demand. */
#ifndef TC_GLUE_LAZY_MODULE_H
#define TC_GLUE_LAZY_MODULE_H

#include "state.h"

/* Adds the class _LazyModule. 0, or -1 with exception. */
int tc_lazy_module_register(tc_state *st);

#endif

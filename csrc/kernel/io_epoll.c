/* io_epoll.c - what Python sees of a run's I/O where that is readiness of
 * descriptors and nothing else: epoll, or only poll. See io_extra.h.
 */
#include "io_extra.h"

#if !TC_IO_HAVE_EXTRA

static void
epoll_count(tc_io *io, PyObject **values)
{
    values[0] = PyLong_FromSsize_t(io->n_waiting[0]);
    values[1] = PyLong_FromSsize_t(io->n_waiting[1]);
    values[2] = PyUnicode_FromString(io->ops->name);
}

static const char *const epoll_fields[] = {
    "tasks_waiting_read", "tasks_waiting_write", "backend", NULL,
};

const tc_io_extra_def tc_io_extra = {
    .module = "trio_c._core._io_epoll",
    .manager = "EpollIOManager",
    .statistics = "_EpollStatistics",
    .fields = epoll_fields,
    .count = epoll_count,
    .busy_text = "another task is already reading / writing this fd",
};

#endif

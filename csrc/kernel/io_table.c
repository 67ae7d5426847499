/* io_table.c - entries of the descriptor table, and linking waiters to them.
 *
 * Invariants: see io_table.h.
 */
#include "io_table.h"

#include "../base/fork.h"
#include "../base/sock.h"
#include "../glue/errors.h"
#include "io_extra.h"
#include "runner.h"
#include "task.h"
#include "trap.h"

/* --- the table ------------------------------------------------------ */

tc_io_entry *
tc_io_entry_find(const tc_io *io, int fd)
{
    Py_ssize_t page = fd / TC_IO_PAGE;
    if (fd < 0 || page >= io->n_pages || io->pages[page] == NULL) {
        return NULL;
    }
    return &io->pages[page][fd % TC_IO_PAGE];
}

static int
io_table_grow(tc_io *io, Py_ssize_t page)
{
    if (page >= io->n_pages) {
        Py_ssize_t n = io->n_pages * 2 > page + 1 ? io->n_pages * 2
                                                  : page + 1;
        tc_io_entry **pages
            = PyMem_Realloc(io->pages, (size_t)n * sizeof(*pages));
        if (pages == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        for (Py_ssize_t i = io->n_pages; i < n; i++) {
            pages[i] = NULL;
        }
        io->pages = pages;
        io->n_pages = n;
    }
    tc_io_entry *entries = PyMem_Calloc(TC_IO_PAGE, sizeof(*entries));
    if (entries == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = 0; i < TC_IO_PAGE; i++) {
        entries[i].fd = (int)(page * TC_IO_PAGE) + i;
        for (int write = 0; write < 2; write++) {
            tc_list_init(&entries[i].slots[write].waiter);
            entries[i].slots[write].entry = &entries[i];
        }
    }
    io->pages[page] = entries;
    return 0;
}

tc_io_entry *
tc_io_entry_get(tc_io *io, int fd)
{
    if (fd < 0) {
        PyErr_Format(PyExc_ValueError,
                     "file descriptor cannot be a negative integer (%i)", fd);
        return NULL;
    }
    tc_io_entry *entry = tc_io_entry_find(io, fd);
    if (entry != NULL) {
        return entry;
    }
    /* No room is made for numbers out of thin air. */
    if (!tc_sock_exists(fd)) {
        tc_error_set_sock(tc_sock_error());
        return NULL;
    }
    if (io_table_grow(io, fd / TC_IO_PAGE) < 0) {
        return NULL;
    }
    return tc_io_entry_find(io, fd);
}

void
tc_io_entry_count(tc_io *io, tc_io_entry *entry)
{
    uint8_t used = entry->handle != NULL || tc_io_wanted(entry) != 0;
    if (used != entry->used) {
        atomic_fetch_add_explicit(&io->n_used, used ? 1 : -1,
                                  memory_order_relaxed);
        entry->used = used;
    }
}

void
tc_io_entry_orphan(tc_io_entry *entry)
{
    tc_io_handle *handle = entry->handle;
    if (handle != NULL) {
        entry->handle = NULL;
        handle->io = NULL;
        handle->interest = 0;
    }
}

int
tc_io_entry_arm(tc_io *io, tc_io_entry *entry)
{
    uint32_t wanted = tc_io_wanted(entry);
    int err;
    if (entry->handle != NULL) {
        uint32_t interest = entry->handle->interest | wanted;
        err = io->ops->arm_edge(io->poll, entry->fd, interest,
                                tc_io_token(entry), true);
        if (err < 0) {
            tc_io_entry_orphan(entry);
            entry->known = 0;
            entry->generation++;
            return err;
        }
        entry->handle->interest = (uint8_t)interest;
        return 0;
    }
    if (wanted == entry->armed) {
        return 0;
    }
    if (wanted == 0) {
        err = io->ops->forget(io->poll, entry->fd);
    }
    else {
        err = io->ops->arm(io->poll, entry->fd, wanted, tc_io_token(entry));
    }
    entry->armed = err < 0 ? 0 : (uint8_t)wanted;
    entry->known = err == 0 && wanted != 0;
    return err;
}

/* --- waiters -------------------------------------------------------- */

int
tc_io_entry_occupy(tc_io *io, tc_io_entry *entry, int write,
                   AwaitableObject *self)
{
    tc_io_slot *slot = &entry->slots[write];
    int busy = tc_io_slot_is_waited(slot);
    if (TC_IO_HAVE_EXTRA && !busy) {
        busy = tc_io_extra.is_taken(io, entry->fd, write);
    }
    if (busy) {
        if (busy > 0) {
            PyErr_SetString(io->st->exc_BusyResourceError,
                            tc_io_extra.busy_text);
        }
        return -1;
    }
    tc_list_append(&slot->waiter, &self->link);
    io->n_waiting[write]++;
    return 0;
}

int
tc_io_link(tc_io *io, int fd, int write, AwaitableObject *self)
{
    if (tc_io_usable(io) < 0) {
        return -1;
    }
    tc_io_entry *entry = tc_io_entry_get(io, fd);
    if (entry == NULL || tc_io_entry_occupy(io, entry, write, self) < 0) {
        return -1;
    }
    int err = tc_io_entry_arm(io, entry);
    if (err < 0) {
        return tc_io_entry_fail(io, entry, err, self);
    }
    tc_io_entry_count(io, entry);
    return 0;
}

/* Take self out of its slot. Where it was, or NULL if it was in none. */
static tc_io_entry *
io_vacate(AwaitableObject *self)
{
    if (!tc_link_is_linked(&self->link)) {
        return NULL;
    }
    tc_io *io = self->task->runner->io;
    tc_io_slot *slot
        = TC_CONTAINER_OF(self->link.next, tc_io_slot, waiter);
    tc_list_remove(&self->link);
    io->n_waiting[slot == &slot->entry->slots[1]]--;
    tc_io_entry_count(io, slot->entry);
    return slot->entry;
}

/* The same, and adapt the registration. *entry: where it was. 0, 1 if it was
   in none, or -errno. Runs no Python. */
static int
io_take_out(AwaitableObject *self, tc_io_entry **entry)
{
    *entry = io_vacate(self);
    if (*entry == NULL) {
        return 1;
    }
    tc_io *io = self->task->runner->io;
    /* An edge registration stays as it is. In a forked child the poller is
       not ours: tc_io_usable() will put everything right. */
    if ((*entry)->handle != NULL || io->forks != tc_fork_count()) {
        return 0;
    }
    return tc_io_entry_arm(io, *entry);
}

void
tc_io_unlink(AwaitableObject *self)
{
    tc_io_entry *entry;
    (void)io_take_out(self, &entry);
}

void
tc_io_unlink_for_now(AwaitableObject *self)
{
    (void)io_vacate(self);
}

tc_abort_result
tc_io_abort(AwaitableObject *self, struct tc_abort *Py_UNUSED(why))
{
    tc_io_entry *entry;
    int err = io_take_out(self, &entry);
    if (err < 0
        && tc_io_entry_fail(self->task->runner->io, entry, err, NULL) < 0) {
        return TC_ABORT_ERROR;
    }
    return TC_ABORT_SUCCEEDED;
}

#define SCRATCH_MIN 65536

char *
tc_io_scratch(tc_io *io, size_t size)
{
    if (size < SCRATCH_MIN) {
        size = SCRATCH_MIN;
    }
    if (io->scratch_size < size) {
        PyMem_Free(io->scratch);
        io->scratch_size = 0;
        io->scratch = PyMem_Malloc(size);
        if (io->scratch == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        io->scratch_size = size;
    }
    return io->scratch;
}

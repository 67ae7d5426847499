/* io_table.h - the descriptor table of a run; private to kernel/io*.c.
 *
 * One entry per descriptor number that anybody ever waited for, in pages, so
 * that entries do not move. An entry has a slot for one reader and one for
 * one writer.
 *
 *   - A slot's ring holds at most one awaitable, whose task sleeps.
 *   - handle != NULL: there is an edge registration for it; `armed` is 0.
 *   - handle == NULL: `armed` is the interest of a one-shot registration that
 *     has not fired, as far as we know.
 *   - `known`: the kernel may have a registration for the number from us.
 *   - `generation` is part of the token; it changes whenever reports that are
 *     on their way become meaningless.
 */
#ifndef TC_KERNEL_IO_TABLE_H
#define TC_KERNEL_IO_TABLE_H

#include "io.h"
#include "../base/list.h"
#include "../base/lookout.h"
#include "io_handle.h"

#include <stdatomic.h>

typedef struct tc_io_entry tc_io_entry;

typedef struct tc_io_slot {
    tc_link waiter;          /* of AwaitableObject, through link; 0 or 1 */
    tc_io_entry *entry;      /* the one it is part of */
} tc_io_slot;

struct tc_io_entry {
    tc_io_slot slots[2];     /* [0]: reader, [1]: writer */
    tc_io_handle *handle;    /* borrowed or NULL */
    int fd;
    uint32_t generation;
    uint8_t armed;
    uint8_t known;
    uint8_t used;            /* counted in io->n_used */
};

#define TC_IO_PAGE 64

struct tc_io {
    RunnerObject *runner;    /* borrowed */
    tc_state *st;            /* borrowed */
    const tc_poll_ops *ops;  /* static */
    tc_poll *poll;           /* owned; NULL once closed */
    tc_io_entry **pages;     /* owned; each NULL or TC_IO_PAGE entries */
    Py_ssize_t n_pages;
    Py_ssize_t n_waiting[2]; /* tasks that sleep here: readers, writers */
    atomic_int n_used;       /* entries with waiters or a handle */
    unsigned forks;          /* tc_fork_count() when poll was opened */
    /* The waiting thread's until tc_io_process(). */
    tc_poll_event *events;   /* owned */
    int capacity;
    int n_events;
    double began;            /* the last wait that was no mere look */
    tc_lookout lookout;      /* for threads that work for the run */
    char *scratch;           /* owned */
    size_t scratch_size;
    void *extra;             /* owned or NULL: see io_extra.h */
};

static inline int
tc_io_slot_is_waited(const tc_io_slot *slot)
{
    return tc_link_is_linked(&slot->waiter);
}

static inline uint64_t
tc_io_token(const tc_io_entry *entry)
{
    return (uint64_t)entry->generation << 32 | (uint32_t)entry->fd;
}

/* What the sleepers of an entry want: TC_POLL_... */
static inline uint32_t
tc_io_wanted(const tc_io_entry *entry)
{
    return (tc_io_slot_is_waited(&entry->slots[0]) ? TC_POLL_READ : 0)
           | (tc_io_slot_is_waited(&entry->slots[1]) ? TC_POLL_WRITE : 0);
}

/* NULL if nobody ever waited for fd; no exception. */
tc_io_entry *tc_io_entry_find(const tc_io *io, int fd);
/* NULL with ValueError, OSError or MemoryError. */
tc_io_entry *tc_io_entry_get(tc_io *io, int fd);
/* Recount after waiters or handle changed. */
void tc_io_entry_count(tc_io *io, tc_io_entry *entry);
/* Is the poller ours to use? 0, or -1 with exception. In a forked child it is
   replaced by a new one here. */
int tc_io_usable(tc_io *io);
/* Link self into the slot. 0, or -1 with BusyResourceError. */
int tc_io_entry_occupy(tc_io *io, tc_io_entry *entry, int write,
                       AwaitableObject *self);
/* Make the registration what it should be. 0 or -errno (then nothing is
   registered and the handle, if any, knows). */
int tc_io_entry_arm(tc_io *io, tc_io_entry *entry);
/* The descriptor of self's slot turned out bad (err: -errno): take self out,
   wake the others with copies of the error, raise it. Returns -1. */
int tc_io_entry_fail(tc_io *io, tc_io_entry *entry, int err,
                     AwaitableObject *self);
/* tc_io_wait(), whatever Python has been put in its place. */
int tc_io_wait_here(tc_io *io, double timeout);
/* The entry's handle loses its registration, without a system call. */
void tc_io_entry_orphan(tc_io_entry *entry);

#endif

/* io_handle.c - registrations of owned sockets.
 *
 * Invariants
 * - handle->io != NULL <=> the handle is registered <=> that io's entry for
 *   handle->fd points back at it. Another handle that takes the number makes
 *   an orphan of it, and so does closing the io.
 * - A registered handle always has an interest in reading. An interest in
 *   writing is added at the first wait for it.
 */
#include "io_handle.h"

#include "../base/fork.h"
#include "../base/sock.h"
#include "io_table.h"

void
tc_io_handle_init(tc_io_handle *handle, int owned)
{
    handle->io = NULL;
    handle->fd = -1;
    handle->interest = 0;
    handle->owned = owned != 0;
    handle->tcp = TC_IO_TCP_UNKNOWN;
    handle->readable = 1;
    handle->writable = 1;
    handle->doubt = 0;
}

/* The number a socket was made with does not tell TCP from MPTCP or SCTP. And
   a poller that does not tell of urgent data, at which a receive ends early,
   gives no reason to believe in short reads. */
static void
handle_look_at_protocol(tc_io *io, tc_io_handle *handle, int fd)
{
    handle->tcp = TC_IO_TCP_NO;
    if ((io->ops->caps & TC_POLL_CAP_PRI) == 0) {
        return;
    }
#ifdef SO_PROTOCOL
    int protocol;
    if (tc_sock_get_int(fd, SOL_SOCKET, SO_PROTOCOL, &protocol) == 0
        && protocol == IPPROTO_TCP) {
        handle->tcp = TC_IO_TCP_YES;
    }
#else
    (void)fd;
#endif
}

/* Drop the registration, wherever it is; the memory stays. Waiters for the
   number go on waiting for it, one-shot. */
static void
handle_deregister(tc_io_handle *handle)
{
    tc_io *io = handle->io;
    if (io == NULL) {
        return;
    }
    tc_io_entry *entry = tc_io_entry_find(io, handle->fd);
    handle->io = NULL;
    handle->interest = 0;
    assert(entry->handle == handle);
    entry->handle = NULL;
    entry->generation++;
    entry->known = 0;
    tc_io_entry_count(io, entry);
    if (io->forks != tc_fork_count()) {
        return;  /* the parent's registration, not ours */
    }
    (void)io->ops->forget(io->poll, entry->fd);
    if (tc_io_wanted(entry) != 0) {
        (void)tc_io_entry_arm(io, entry);
    }
}

/* Register the handle with the entry's number. 0 or -errno. */
static int
handle_register(tc_io *io, tc_io_handle *handle, tc_io_entry *entry)
{
    handle_deregister(handle);
    /* The number may have been closed behind the back of another handle. */
    tc_io_entry_orphan(entry);
    entry->generation++;
    if (handle->tcp == TC_IO_TCP_UNKNOWN) {
        handle_look_at_protocol(io, handle, entry->fd);
    }
    uint32_t interest = TC_POLL_READ | tc_io_wanted(entry);
    int err = io->ops->arm_edge(io->poll, entry->fd, interest,
                                tc_io_token(entry), entry->known);
    entry->armed = 0;
    entry->known = err == 0;
    if (err < 0) {
        return err;
    }
    entry->handle = handle;
    handle->io = io;
    handle->fd = entry->fd;
    handle->interest = (uint8_t)interest;
    return 0;
}

int
tc_io_handle_link(tc_io *io, tc_io_handle *handle, int fd, int write,
                  AwaitableObject *self)
{
    if (!handle->owned || (io->ops->caps & TC_POLL_CAP_EDGE) == 0) {
        return tc_io_link(io, fd, write, self);
    }
    if (tc_io_usable(io) < 0) {
        return -1;
    }
    tc_io_entry *entry = tc_io_entry_get(io, fd);
    if (entry == NULL || tc_io_entry_occupy(io, entry, write, self) < 0) {
        return -1;
    }
    int err = 0;
    if (handle->io != io || handle->fd != fd) {
        err = handle_register(io, handle, entry);
    }
    else if (write && (handle->interest & TC_POLL_WRITE) == 0) {
        err = tc_io_entry_arm(io, entry);
    }
    if (err < 0) {
        return tc_io_entry_fail(io, entry, err, self);
    }
    tc_io_entry_count(io, entry);
    return 0;
}

void
tc_io_handle_forget(tc_io_handle *handle)
{
    /* Whoever has a closed socket in hand must reach the system call. */
    handle->readable = 1;
    handle->writable = 1;
    handle_deregister(handle);
}

void
tc_io_handle_drop_write(tc_io_handle *handle)
{
    tc_io *io = handle->io;
    tc_io_entry *entry = tc_io_entry_find(io, handle->fd);
    assert(entry->handle == handle);
    if (io->forks != tc_fork_count()
        || tc_io_slot_is_waited(&entry->slots[1])) {
        return;
    }
    int err = io->ops->arm_edge(io->poll, entry->fd, TC_POLL_READ,
                                tc_io_token(entry), true);
    if (err == 0) {
        handle->interest = TC_POLL_READ;
        return;
    }
    /* Somebody closed it behind our back: the next wait registers anew. */
    tc_io_entry_orphan(entry);
    entry->known = 0;
    entry->generation++;
    tc_io_entry_count(io, entry);
}

/* What the "kqueue" backend can do beyond poll.h: its kqueue, in which others
 * register what they like.
 *
 * They call kevent() on it themselves, from any thread, and a running `wait`
 * heeds what they change.  What arrives for them is kept, as it came, until
 * the owner takes it; as long as something is kept, `wait` returns at once,
 * with one report of TC_POLL_RAW for all of it (`ready` is 0).
 *
 * The kernel knows one registration for each (ident, filter).  So who has
 * registered EVFILT_READ or EVFILT_WRITE of a descriptor does not also arm
 * that descriptor for that direction, nor the other way round: the later of
 * the two replaces the earlier one.  The backend's other registrations have
 * idents that are addresses of its own.
 *
 * All `poll`s are of this backend.
 */
#ifndef TC_POLL_KQUEUE_H
#define TC_POLL_KQUEUE_H

#include "poll/poll.h"

#if TC_POLL_HAVE_KQUEUE

struct kevent;

/* The kqueue.  Borrowed; `close` closes it. */
int tc_kqueue_fd(const tc_poll *poll);

/* The kqueue, which from now on the caller owns: `close` leaves it open.  No
 * `arm`, `wait` or `wake` comes after closing it, only `close`. */
int tc_kqueue_give_fd(tc_poll *poll);

/* Owner, nobody being in `wait`.  How many events for others have come;
 * *events is borrowed until the next `wait` or `close`.  They are no longer
 * kept. */
int tc_kqueue_take(tc_poll *poll, const struct kevent **events);

#endif

#endif /* TC_POLL_KQUEUE_H */

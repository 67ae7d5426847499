/* kqueue and kevent over epoll.
 *
 * A kqueue is an epoll descriptor, so that it can itself be waited for; what
 * is registered is in knote.c.  Whoever has to be waked while he waits, and
 * whoever leaves active knotes behind, kicks: a descriptor that is always
 * ready, one for the whole process, is changed in the epoll set, which epoll
 * takes for an arrival.
 *
 * One lock for everything; nobody blocks while he holds it.  And no signal
 * comes then, for its handler may call kevent(), too.
 */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif

#include "sys/event.h"

#include "knote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Where the process's always ready descriptor goes: out of the way. */
#define KICK_FD_MIN 600

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static queue *queues;
static int kick_fd = -1;
static int closed_errno = EBADF;

/* *signals gets what unlock_all() needs. */
static void
lock_all(sigset_t *signals)
{
    sigset_t all;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, signals);
    (void)pthread_mutex_lock(&lock);
}

static void
unlock_all(const sigset_t *signals)
{
    (void)pthread_mutex_unlock(&lock);
    (void)pthread_sigmask(SIG_SETMASK, signals, NULL);
}

/* Make epoll say that there is something. */
static void
kick(queue *q)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 0};

    (void)epoll_ctl(q->fd, EPOLL_CTL_MOD, kick_fd, &event);
}

static void
queue_free(queue *q)
{
    queue **link = &queues;

    while (*link != q) {
        link = &(*link)->next;
    }
    *link = q->next;
    knotes_clear(q);
    free(q);
}

/* The kqueue with that number, if it is still the same one. */
static queue *
queue_find(int fd)
{
    struct epoll_event event = {.events = 0};
    queue *q = queues;

    while (q != NULL && q->fd != fd) {
        q = q->next;
    }
    if (q == NULL) {
        return NULL;
    }
    if (epoll_ctl(fd, EPOLL_CTL_ADD, kick_fd, &event) == 0) {
        (void)epoll_ctl(fd, EPOLL_CTL_DEL, kick_fd, &event);
    }
    else if (errno == EEXIST) {
        return q;
    }
    queue_free(q);
    return NULL;
}

static sigset_t fork_signals;   /* under the lock */

static void
before_fork(void)
{
    sigset_t signals;

    lock_all(&signals);
    fork_signals = signals;
}

static void
after_fork(void)
{
    sigset_t signals = fork_signals;

    unlock_all(&signals);
}

/* Not inherited.  (Processes' pidfds neither.) */
static void
in_child(void)
{
    while (queues != NULL) {
        int fd = queues->fd;

        if (queue_find(fd) != NULL) {
            queue_free(queues);
            close(fd);
        }
    }
    after_fork();
}

/* Early, while there are descriptors. */
__attribute__((constructor)) static void
prepare_process(void)
{
    const char *closed = getenv("TC_KQUEUE_CLOSED");
    int low = eventfd(1, EFD_CLOEXEC);

    if (closed != NULL && strcmp(closed, "ENOENT") == 0) {
        closed_errno = ENOENT;
    }
    kick_fd = fcntl(low, F_DUPFD_CLOEXEC, KICK_FD_MIN);
    if (kick_fd < 0) {
        kick_fd = low;
    }
    else {
        close(low);
    }
    if (kick_fd < 0
        || pthread_atfork(before_fork, after_fork, in_child) != 0) {
        abort();
    }
}

void
tc_kqueue_closed_errno(int number)
{
    sigset_t signals;

    lock_all(&signals);
    closed_errno = number;
    unlock_all(&signals);
}

int
kqueue1(int flags)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 0};
    queue *q = calloc(1, sizeof(*q));
    sigset_t signals;
    int error;

    if (q == NULL) {
        errno = ENOMEM;
        return -1;
    }
    if ((flags & ~O_CLOEXEC) != 0) {
        free(q);
        errno = EINVAL;
        return -1;
    }
    lock_all(&signals);
    q->fd = epoll_create1(flags & O_CLOEXEC ? EPOLL_CLOEXEC : 0);
    if (q->fd < 0 || epoll_ctl(q->fd, EPOLL_CTL_ADD, kick_fd, &event) < 0) {
        goto error;
    }
    for (queue *old = queues; old != NULL; old = old->next) {
        if (old->fd == q->fd) {
            queue_free(old);    /* closed meanwhile */
            break;
        }
    }
    q->closed_errno = closed_errno;
    q->next_target_id = 1;
    q->next = queues;
    queues = q;
    unlock_all(&signals);
    return q->fd;

error:
    error = errno;
    if (q->fd >= 0) {
        close(q->fd);
    }
    free(q);
    unlock_all(&signals);
    errno = error;
    return -1;
}

int
kqueue(void)
{
    return kqueue1(0);
}

/* Apply the changes.  How many entries they have put into `events`, or
 * -errno. */
static int
change_all(queue *q, const struct kevent *changes, int nchanges,
           struct kevent *events, int nevents)
{
    int filled = 0;

    for (int i = 0; i < nchanges; i++) {
        int error = knotes_change(q, &changes[i]);

        if (error == 0 && (changes[i].flags & EV_RECEIPT) == 0) {
            continue;
        }
        if (filled < nevents) {
            events[filled] = changes[i];
            events[filled].flags = EV_ERROR;
            events[filled++].data = error;
        }
        else if (error != 0) {
            return -error;
        }
    }
    return filled;
}

/* Block until the kqueue may have something: false when the time is over,
 * otherwise true, or -errno.  Not under the lock, but with all signals held
 * back until it sleeps, so that none is missed. */
static int
block(int fd, int64_t until, const sigset_t *signals)
{
    struct pollfd line = {.fd = fd, .events = POLLIN};
    struct timespec left;
    int n;

    if (until != INT64_MAX) {
        int64_t ns = until - knotes_now();

        ns = ns < 0 ? 0 : ns;
        left.tv_sec = ns / 1000000000;
        left.tv_nsec = ns % 1000000000;
    }
    n = ppoll(&line, 1, until == INT64_MAX ? NULL : &left, signals);
    return n < 0 ? -errno : n;
}

int
kevent(int kq, const struct kevent *changes, int nchanges,
       struct kevent *events, int nevents, const struct timespec *timeout)
{
    int64_t until = INT64_MAX;
    bool changed = nchanges > 0;
    sigset_t signals;
    int result;

    if (timeout != NULL) {
        if (timeout->tv_sec < 0 || timeout->tv_nsec < 0
            || timeout->tv_nsec >= 1000000000) {
            errno = EINVAL;
            return -1;
        }
        until = knotes_now() + (int64_t)timeout->tv_sec * 1000000000
                + timeout->tv_nsec;
    }
    lock_all(&signals);
    for (;;) {
        int64_t due = INT64_MAX;
        bool over = nevents <= 0 || knotes_now() >= until;
        queue *q;

        q = queue_find(kq);
        result = q == NULL ? -EBADF : 0;
        if (q != NULL && changed) {
            result = change_all(q, changes, nchanges, events, nevents);
            changed = false;
            if (q->first != NULL || knotes_first_due(q) != INT64_MAX) {
                kick(q);        /* somebody else may be waiting */
            }
        }
        if (result == 0 && nevents > 0) {
            result = knotes_scan(q, events, nevents);
            due = knotes_first_due(q);
            if (q->first != NULL) {
                kick(q);
            }
        }
        if (result != 0 || over) {
            break;
        }
        (void)pthread_mutex_unlock(&lock);
        result = block(kq, due < until ? due : until, &signals);
        (void)pthread_mutex_lock(&lock);
        if (result < 0) {
            break;
        }
    }
    unlock_all(&signals);
    if (result < 0) {
        errno = -result;
        return -1;
    }
    return result;
}

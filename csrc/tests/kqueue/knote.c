/* Registrations over epoll.
 *
 * Epoll only says, edge-triggered, that something has happened to a
 * descriptor or a process; then the knotes concerned are looked at (look.c),
 * and those that hold become active: they stand in a queue, from which events
 * are handed out, oldest first.  Before one is handed out, it is looked at
 * again.
 *
 * An epoll registration outlives close() if a dup keeps the file open.  Being
 * edge-triggered it is harmless: what it says is about a target whose id is
 * no longer used.  A knote whose descriptor is not the file it was any more is
 * dead; that is noticed when somebody comes across it.
 */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif

#include "knote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MODES (EV_ONESHOT | EV_CLEAR | EV_DISPATCH | EV_RECEIPT)
#define ACTIONS (EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE)

/* ---- the queue of active knotes ---- */

static void
activate(queue *q, knote *k)
{
    if (k->active || k->disabled) {
        return;
    }
    k->active = true;
    k->queue_next = NULL;
    k->queue_prev = q->last;
    if (q->last != NULL) {
        q->last->queue_next = k;
    }
    else {
        q->first = k;
    }
    q->last = k;
}

static void
deactivate(queue *q, knote *k)
{
    if (!k->active) {
        return;
    }
    k->active = false;
    *(k->queue_prev != NULL ? &k->queue_prev->queue_next : &q->first)
        = k->queue_next;
    *(k->queue_next != NULL ? &k->queue_next->queue_prev : &q->last)
        = k->queue_prev;
}

/* ---- targets and knotes ---- */

static target *
target_find(queue *q, uint64_t id)
{
    target *t = q->targets;

    while (t != NULL && t->id != id) {
        t = t->next;
    }
    return t;
}

static void
target_free(queue *q, target *t)
{
    target **link = &q->targets;

    while (*link != t) {
        link = &(*link)->next;
    }
    *link = t->next;
    if (t->is_process) {
        close(t->fd);
    }
    else if (t->in_epoll && file_is(t->fd, &t->identity)) {
        struct epoll_event unused;

        (void)epoll_ctl(q->fd, EPOLL_CTL_DEL, t->fd, &unused);
    }
    free(t);
}

static void
knote_free(queue *q, knote *k)
{
    knote **link = &q->knotes;

    while (*link != k) {
        link = &(*link)->next;
    }
    *link = k->next;
    deactivate(q, k);
    if (k->target != NULL && --k->target->knotes == 0) {
        target_free(q, k->target);
    }
    free(k);
}

static bool
knote_is_dead(const knote *k)
{
    return k->target != NULL && !k->target->is_process
           && !file_is(k->target->fd, &k->target->identity);
}

static knote *
knote_find(queue *q, uintptr_t ident, short filter)
{
    knote *k = q->knotes;

    while (k != NULL
           && (k->event.ident != ident || k->event.filter != filter)) {
        k = k->next;
    }
    if (k != NULL && knote_is_dead(k)) {
        knote_free(q, k);
        return NULL;
    }
    return k;
}

/* Watch the target for what this knote is about, too.  0 or errno. */
static int
target_watch(queue *q, target *t, short filter)
{
    uint32_t mask = t->mask;
    struct epoll_event event;
    int op = t->in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    mask |= filter == EVFILT_WRITE ? EPOLLOUT : EPOLLIN | EPOLLRDHUP;
    if (mask == t->mask) {
        return 0;
    }
    event.events = mask | EPOLLET;
    event.data.u64 = t->id;
    if (epoll_ctl(q->fd, op, t->fd, &event) < 0) {
        /* The same file, from before the number was closed. */
        if (op != EPOLL_CTL_ADD || errno != EEXIST
            || epoll_ctl(q->fd, EPOLL_CTL_MOD, t->fd, &event) < 0) {
            return errno;
        }
    }
    t->in_epoll = true;
    t->mask = mask;
    return 0;
}

static target *
target_new(queue *q, int fd, bool is_process)
{
    target *t = calloc(1, sizeof(*t));

    if (t == NULL) {
        return NULL;
    }
    t->id = q->next_target_id++;
    t->fd = fd;
    t->is_process = is_process;
    t->next = q->targets;
    q->targets = t;
    return t;
}

/* What a knote of a descriptor hangs on.  0 or errno. */
static int
attach_descriptor(queue *q, knote *k)
{
    int fd = (int)k->event.ident;
    file_identity identity;
    target *t;
    int error;

    if (k->event.ident > INT32_MAX || !file_identify(fd, &identity)) {
        return EBADF;
    }
    error = look_refuses(fd, k->event.filter);
    if (error != 0) {
        return error == EPIPE && q->closed_errno == ENOENT ? EBADF : error;
    }
    for (t = q->targets; t != NULL; t = t->next) {
        if (!t->is_process && t->fd == fd && file_is(fd, &t->identity)) {
            break;
        }
    }
    if (t == NULL) {
        t = target_new(q, fd, false);
        if (t == NULL) {
            return ENOMEM;
        }
        t->identity = identity;
    }
    if (!look_is_file(fd)) {
        error = target_watch(q, t, k->event.filter);
        if (error != 0) {
            if (t->knotes == 0) {
                target_free(q, t);
            }
            return error == EPERM ? ENODEV : error;
        }
    }
    t->knotes++;
    k->target = t;
    return 0;
}

static int
attach_process(queue *q, knote *k)
{
    int pidfd;
    target *t;
    int error;

    if (k->event.fflags != NOTE_EXIT) {
        return EINVAL;
    }
    pidfd = (int)syscall(SYS_pidfd_open, (pid_t)k->event.ident, 0);
    if (pidfd < 0) {
        return errno == EINVAL ? ESRCH : errno;
    }
    t = target_new(q, pidfd, true);
    if (t == NULL) {
        close(pidfd);
        return ENOMEM;
    }
    error = target_watch(q, t, EVFILT_READ);
    if (error != 0) {
        target_free(q, t);
        return error;
    }
    t->knotes = 1;
    k->target = t;
    return 0;
}

int64_t
knotes_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int
attach_timer(knote *k)
{
    int64_t unit = 1000000;

    switch (k->event.fflags) {
    case NOTE_SECONDS:
        unit = 1000000000;
        break;
    case 0:
    case NOTE_MSECONDS:
        break;
    case NOTE_USECONDS:
        unit = 1000;
        break;
    case NOTE_NSECONDS:
        unit = 1;
        break;
    default:
        return EINVAL;
    }
    if (k->event.data <= 0 || k->event.data > INT64_MAX / 8 / unit) {
        return EINVAL;          /* some take 0 */
    }
    k->period = k->event.data * unit;
    k->due = knotes_now() + k->period;
    return 0;
}

static int
knote_attach(queue *q, knote *k)
{
    switch (k->event.filter) {
    case EVFILT_READ:
    case EVFILT_WRITE:
        return attach_descriptor(q, k);
    case EVFILT_PROC:
        return attach_process(q, k);
    case EVFILT_TIMER:
        return attach_timer(k);
    case EVFILT_USER:
        return 0;
    default:
        return EINVAL;
    }
}

/* Does it hold now?  If so, *event says it. */
static bool
knote_holds(const knote *k, struct kevent *event)
{
    *event = k->event;
    event->fflags = 0;
    event->data = 0;
    switch (event->filter) {
    case EVFILT_PROC:
        return look_process(k->target->fd, event);
    case EVFILT_USER:
        return k->triggered;
    case EVFILT_TIMER: {
        int64_t late = knotes_now() - k->due;

        event->data = late < 0 ? 0 : late / k->period + 1;
        return late >= 0;
    }
    default:
        return look_descriptor(k->target->fd, event);
    }
}

static void
knote_look(queue *q, knote *k)
{
    struct kevent event;

    if (knote_holds(k, &event)) {
        activate(q, k);
    }
}

/* ---- changes ---- */

/* What a change of something that is not there says. */
static int
missing_errno(const queue *q, const struct kevent *change)
{
    bool descriptor = change->filter == EVFILT_READ
                      || change->filter == EVFILT_WRITE;

    if (descriptor
        && (change->ident > INT32_MAX
            || fcntl((int)change->ident, F_GETFD) < 0)) {
        return q->closed_errno;
    }
    return ENOENT;
}

static int
add(queue *q, const struct kevent *change)
{
    knote *k = calloc(1, sizeof(*k));
    int error;

    if (k == NULL) {
        return ENOMEM;
    }
    k->event = *change;
    k->event.flags &= MODES;
    k->disabled = (change->flags & EV_DISABLE) != 0;
    error = knote_attach(q, k);
    if (error != 0) {
        free(k);
        return error;
    }
    k->next = q->knotes;
    q->knotes = k;
    /* A trigger that comes along with the addition is lost, as on some. */
    knote_look(q, k);
    return 0;
}

int
knotes_change(queue *q, const struct kevent *change)
{
    knote *k;

    if ((change->flags & ~(MODES | ACTIONS)) != 0) {
        return EINVAL;
    }
    k = knote_find(q, change->ident, change->filter);
    if (k == NULL) {
        return change->flags & EV_ADD ? add(q, change)
                                      : missing_errno(q, change);
    }
    if (change->flags & EV_DELETE) {
        knote_free(q, k);
        return 0;
    }
    if (change->flags & EV_ADD) {
        /* The mode stays, and nobody looks whether it holds now. */
        k->event.udata = change->udata;
        if (k->event.filter == EVFILT_TIMER) {
            k->event.data = change->data;
            k->event.fflags = change->fflags;
            deactivate(q, k);
            if (attach_timer(k) != 0) {
                knote_free(q, k);
                return EINVAL;
            }
        }
    }
    if (change->filter == EVFILT_USER && (change->fflags & NOTE_TRIGGER)) {
        k->triggered = true;
        activate(q, k);
    }
    if (change->flags & EV_DISABLE) {
        k->disabled = true;
        deactivate(q, k);
    }
    else if ((change->flags & EV_ENABLE) && k->disabled) {
        k->disabled = false;
        knote_look(q, k);
    }
    return 0;
}

/* ---- events ---- */

/* Hand one out.  False if it does not hold any more. */
static bool
hand_out(queue *q, knote *k, struct kevent *event)
{
    deactivate(q, k);
    if (knote_is_dead(k)) {
        knote_free(q, k);
        return false;
    }
    if (!knote_holds(k, event)) {
        return false;
    }
    if (k->event.filter == EVFILT_TIMER) {
        k->due += event->data * k->period;
    }
    if ((k->event.flags & EV_ONESHOT) || k->event.filter == EVFILT_PROC) {
        knote_free(q, k);
        return true;
    }
    if (k->event.flags & EV_DISPATCH) {
        k->disabled = true;
    }
    if (k->event.flags & EV_CLEAR) {
        k->triggered = false;
    }
    else {
        activate(q, k);
    }
    return true;
}

/* What has happened since: make knotes active. */
static void
pump(queue *q)
{
    struct epoll_event events[64];
    int n;

    do {
        n = epoll_wait(q->fd, events, 64, 0);
        for (int i = 0; i < n; i++) {
            target *t = target_find(q, events[i].data.u64);

            for (knote *k = q->knotes; t != NULL && k != NULL;) {
                knote *next = k->next;

                if (k->target == t) {
                    if (knote_is_dead(k)) {
                        knote_free(q, k);
                        t = target_find(q, events[i].data.u64);
                    }
                    else {
                        knote_look(q, k);
                    }
                }
                k = next;
            }
        }
    } while (n == 64);
    for (knote *k = q->knotes; k != NULL; k = k->next) {
        if (k->event.filter == EVFILT_TIMER) {
            knote_look(q, k);
        }
    }
}

int
knotes_scan(queue *q, struct kevent *events, int nevents)
{
    knote *last;
    bool more;
    int filled = 0;

    pump(q);
    last = q->last;
    more = q->first != NULL;
    while (more && filled < nevents) {
        knote *k = q->first;

        more = k != last;
        if (hand_out(q, k, &events[filled])) {
            filled++;
        }
    }
    return filled;
}

int64_t
knotes_first_due(const queue *q)
{
    int64_t due = INT64_MAX;

    for (const knote *k = q->knotes; k != NULL; k = k->next) {
        if (k->event.filter == EVFILT_TIMER && !k->disabled && k->due < due) {
            due = k->due;
        }
    }
    return due;
}

void
knotes_clear(queue *q)
{
    while (q->knotes != NULL) {
        knote *k = q->knotes;

        q->knotes = k->next;
        free(k);
    }
    while (q->targets != NULL) {
        target *t = q->targets;

        q->targets = t->next;
        if (t->is_process) {
            close(t->fd);
        }
        free(t);
    }
}

/* Registrations, and which of them are active: private to the kqueue for
 * tests.  Everything here is called under kqueue.c's lock.
 */
#ifndef TC_TESTS_KQUEUE_KNOTE_H
#define TC_TESTS_KQUEUE_KNOTE_H

#include "look.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct knote {
    struct kevent event;        /* what was asked for; flags are MODES */
    struct target *target;      /* borrowed; NULL: USER, TIMER */
    bool disabled;
    bool triggered;             /* USER */
    int64_t due;                /* TIMER, nanoseconds */
    int64_t period;
    struct knote *next;         /* of the kqueue's */
    bool active;                /* stands in the queue */
    struct knote *queue_next;
    struct knote *queue_prev;
} knote;

/* What epoll watches: a descriptor for up to two knotes, or a process. */
typedef struct target {
    uint64_t id;                /* never used again */
    int fd;                     /* owned if it is a pidfd */
    bool is_process;
    file_identity identity;
    bool in_epoll;
    uint32_t mask;
    int knotes;
    struct target *next;
} target;

typedef struct queue {
    int fd;                     /* the epoll descriptor; not ours to close */
    int closed_errno;           /* of changing what a closed number had */
    uint64_t next_target_id;    /* not 0 */
    knote *knotes;
    target *targets;
    knote *first;               /* of the active ones */
    knote *last;
    struct queue *next;
} queue;

/* Apply one change.  0 or errno. */
int knotes_change(queue *q, const struct kevent *change);

/* Hand out up to nevents events; how many. */
int knotes_scan(queue *q, struct kevent *events, int nevents);

/* When the first timer is due, in nanoseconds; INT64_MAX: never. */
int64_t knotes_first_due(const queue *q);
int64_t knotes_now(void);

/* Drop everything; the epoll descriptor is not touched. */
void knotes_clear(queue *q);

#endif /* TC_TESTS_KQUEUE_KNOTE_H */

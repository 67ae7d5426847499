/* Waiting for descriptors: one narrow table, several backends.
 *
 * What a backend must provide
 * ---------------------------
 * Registrations.  One per descriptor number, for both directions together.
 * `arm` is one-shot, and level-triggered at the moment of arming: what is
 * ready already is reported by the next `wait`.  One report uses the
 * registration up, whichever direction it names; whoever still wants the
 * other direction arms again.  Arming replaces what was armed before.
 *
 * Reports.  Errors and the end of a connection wake whatever was asked for:
 * as HUP or ERR, or (kqueue) as the READ or WRITE that was asked for.  End of
 * file is reported as READ or HUP.  A report may be spurious (a descriptor
 * closed behind our back whose number or open file lives on; on Windows also
 * one that is not ready any more), a missing one is a bug.  What does not fit
 * into the caller's array stays armed for the next `wait`, and its turn comes
 * even if others are always ready.  Of a descriptor that is ready both ways,
 * an array without two places for each registration may show one (kqueue).
 *
 * Closing.  `forget` comes before close.  When it has returned, no `wait`
 * that starts afterwards reports the registration; one that runs at the same
 * time in another thread may have collected its report already.  So a token
 * must carry a generation, or something else that tells old from new.  A
 * descriptor closed without `forget` costs one report at most (one per
 * arrival, if its registration was an edge one): it neither spins nor
 * disturbs whoever gets its number next.
 *
 * Waking.  Each `wake` is seen by a `wait` that returns after it: what the
 * waker wrote before is visible to the thread that gets TC_POLL_WAKE.  Many
 * wakes may become one, and one may come twice; a wake that finds nobody
 * waiting is kept.
 *
 * Time.  A timeout never ends early: round up.
 *
 * Threads.  "Owner": the thread that runs the loop, or whoever acts for it
 * under the owner's lock (the GIL); never two at once.  At most one thread is
 * in `wait`; it may be another than the owner, which meanwhile may call
 * everything except `close` and `wait`, and what it arms then takes effect in
 * the running `wait`.
 *
 * fork().  Descriptors are close-on-exec.  A forked child leaves the object
 * alone or closes it, no more: the kernel's side of it is shared.
 *
 * Descriptors.  An `int` everywhere.  On Windows it stands for a socket, whose
 * handle has 32 bits that count and is extended by sign: cast to and fro,
 * through intptr_t.  -1 is INVALID_SOCKET.
 *
 * Functions return 0 or a count, or -errno; errno itself is undefined after
 * all but `wake`, which keeps it.
 */
#ifndef TC_POLL_POLL_H
#define TC_POLL_POLL_H

#include <stdbool.h>
#include <stdint.h>

/* The build may set these to choose what is compiled in. */
#ifndef TC_POLL_HAVE_EPOLL
#  ifdef __linux__
#    define TC_POLL_HAVE_EPOLL 1
#  else
#    define TC_POLL_HAVE_EPOLL 0
#  endif
#endif
#ifndef TC_POLL_HAVE_KQUEUE
#  if defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) \
      || defined(__OpenBSD__) || defined(__DragonFly__)
#    define TC_POLL_HAVE_KQUEUE 1
#  else
#    define TC_POLL_HAVE_KQUEUE 0
#  endif
#endif
#ifndef TC_POLL_HAVE_POLL
#  ifdef _WIN32
#    define TC_POLL_HAVE_POLL 0
#  else
#    define TC_POLL_HAVE_POLL 1
#  endif
#endif
#ifndef TC_POLL_HAVE_IOCP
#  ifdef _WIN32
#    define TC_POLL_HAVE_IOCP 1
#  else
#    define TC_POLL_HAVE_IOCP 0
#  endif
#endif

/* Interest and readiness. */
#define TC_POLL_READ 0x01u
#define TC_POLL_WRITE 0x02u
/* Readiness only. */
#define TC_POLL_PRI 0x04u       /* urgent data; edge registrations only */
#define TC_POLL_RDHUP 0x08u     /* peer shut down; edge registrations only */
#define TC_POLL_HUP 0x10u
#define TC_POLL_ERR 0x20u

/* The token of the report that `wake` causes. */
#define TC_POLL_WAKE UINT64_MAX

/* The token of a report of something that others have asked the kernel for,
 * in backends that show them what they wait with (iocp.h, kqueue.h). */
#define TC_POLL_RAW (UINT64_MAX - 1)

/* Capability bits. */
#define TC_POLL_CAP_EDGE 0x01u  /* arm_edge exists */
#define TC_POLL_CAP_PRI 0x02u   /* and tells of urgent data */

/* Timeouts: nanoseconds. */
#define TC_POLL_FOREVER INT64_C(-1)
#define TC_POLL_TIMEOUT_MAX (INT64_C(86400) * 1000000000)

typedef struct tc_poll_event {
    uint64_t token;
    uint32_t ready;
} tc_poll_event;

typedef struct tc_poll tc_poll;

typedef struct tc_poll_ops {
    const char *name;
    uint32_t caps;

    /* *out is owned by the caller, who ends it with `close`. */
    int (*open)(tc_poll **out);

    /* Owner; nobody may be in `wait` or `wake`, or enter them again.
     * Registered descriptors are not touched.  NULL is allowed. */
    void (*close)(tc_poll *poll);

    /* Owner.  Interest is READ, WRITE or both; 0 is `forget`.  `token` is
     * none of the two above.  On error nothing is armed for fd any
     * more: -EBADF, -EPERM for what cannot be waited for (regular files),
     * -ENOMEM, -ENOSPC; -EINVAL for senseless arguments. */
    int (*arm)(tc_poll *poll, int fd, uint32_t interest, uint64_t token);

    /* Owner.  Only with TC_POLL_CAP_EDGE, otherwise NULL.  A registration
     * that stays until `forget` and reports each arrival once: READ, RDHUP,
     * PRI (TC_POLL_CAP_PRI) if READ is asked for, WRITE if asked for, HUP
     * and ERR always.
     * Every call, one that changes nothing included, also reports what is
     * ready now.  `modify` says which of adding and changing is tried first
     * (true: the descriptor is believed to be registered); the outcome is
     * the same.  `arm` on the same descriptor replaces the edge registration
     * and the other way round. */
    int (*arm_edge)(tc_poll *poll, int fd, uint32_t interest, uint64_t token,
                    bool modify);

    /* Owner.  Drops any registration of fd; none, or a closed descriptor, is
     * no error. */
    int (*forget)(tc_poll *poll, int fd);

    /* The only call that blocks; see "Threads" above.  Needs no lock of the
     * caller's.  Fills up to cap (>= 1) events and returns how many; 0 once
     * timeout_ns is over; -EINTR when a signal handler ran.  A timeout of 0
     * only looks, a negative one has no end, one above TC_POLL_TIMEOUT_MAX
     * is cut to it. */
    int (*wait)(tc_poll *poll, tc_poll_event *events, int cap,
                int64_t timeout_ns);

    /* Any thread, and signal handlers.  Cannot fail. */
    void (*wake)(tc_poll *poll);
} tc_poll_ops;

/* Every backend's object begins with this. */
struct tc_poll {
    const tc_poll_ops *ops;     /* borrowed, static */
};

#if TC_POLL_HAVE_EPOLL
extern const tc_poll_ops tc_poll_ops_epoll;
#endif
#if TC_POLL_HAVE_KQUEUE
extern const tc_poll_ops tc_poll_ops_kqueue;    /* more of it: kqueue.h */
#endif
#if TC_POLL_HAVE_POLL
extern const tc_poll_ops tc_poll_ops_poll;
#endif
#if TC_POLL_HAVE_IOCP
extern const tc_poll_ops tc_poll_ops_iocp;      /* more of it: iocp.h */
#endif

/* The best backend of this build. */
const tc_poll_ops *tc_poll_default_ops(void);

/* The backend called so ("epoll", "kqueue", "poll", "iocp"), or NULL. */
const tc_poll_ops *tc_poll_ops_by_name(const char *name);

/* Which directions (READ, WRITE) a report of these bits sets going: HUP and
 * ERR wake both, the system call then tells what is the matter. */
static inline uint32_t
tc_poll_directions(uint32_t ready)
{
    uint32_t directions = 0;

    if (ready & ~TC_POLL_WRITE) {
        directions |= TC_POLL_READ;
    }
    if (ready & (TC_POLL_WRITE | TC_POLL_HUP | TC_POLL_ERR)) {
        directions |= TC_POLL_WRITE;
    }
    return directions;
}

/* Seconds to `wait`'s timeout, rounded up, cut to [0, TC_POLL_TIMEOUT_MAX];
 * infinity becomes the maximum, NaN 0. */
static inline int64_t
tc_poll_timeout_ns(double seconds)
{
    double ns = seconds * 1e9;
    int64_t whole;

    if (!(ns > 0.0)) {
        return 0;
    }
    if (ns >= (double)TC_POLL_TIMEOUT_MAX) {
        return TC_POLL_TIMEOUT_MAX;
    }
    whole = (int64_t)ns;
    return (double)whole < ns ? whole + 1 : whole;
}

#endif /* TC_POLL_POLL_H */

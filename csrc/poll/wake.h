/* The pipe that wakes a blocked poller: private to the backends of poll/. */
#ifndef TC_POLL_WAKE_H
#define TC_POLL_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>

typedef struct tc_wake {
    int read_fd;                /* owned; the backend watches it for input */
    int write_fd;               /* owned */
    /* 1 from the moment a waker decides to write until a drain has read:
     * meanwhile other wakers need not write. */
    atomic_int pending;
} tc_wake;

int tc_wake_open(tc_wake *wake);
void tc_wake_close(tc_wake *wake);

/* Ask for a report.  Any thread, signal handlers; keeps errno. */
void tc_wake_signal(tc_wake *wake);

/* Only make read_fd readable: for a backend's own use, which must see to it
 * that few such calls come between two drains. */
void tc_wake_nudge(tc_wake *wake);

/* Empty the pipe.  The waiting thread only.  True if a report was asked
 * for. */
bool tc_wake_drain(tc_wake *wake);

#endif /* TC_POLL_WAKE_H */

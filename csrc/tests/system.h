/* What the tests ask of the system; one file for each kind of it.
 *
 * Descriptors are as in poll/poll.h.  All are non-blocking, and what a call
 * returns has been checked unless it is said here that it is returned.
 */
#ifndef TC_TESTS_SYSTEM_H
#define TC_TESTS_SYSTEM_H

#include "tests/harness.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
/* Sockets only, and TCP only: a "pipe" or a pair of unix sockets is a TCP
 * connection.  Readiness comes to the poller on a way of its own, so that it
 * may come a moment later than to others, and may be gone when it is
 * reported. */
#  define SYSTEM_IS_POSIX 0
/* Rounds of a test that is about many of them: wine needs tens of times as
 * long for a system call. */
#  define SYSTEM_ROUNDS(count) ((count) / 16)
#else
#  define SYSTEM_IS_POSIX 1
#  define SYSTEM_ROUNDS(count) (count)
#endif

/* ---- for harness.c ---- */

/* Before anything else in main(). */
void system_start(void);

/* Run the test, which is number `index` of its program, in a process of its
 * own: true if that exits with 0 and in time.  On Windows, that process is
 * the program, begun anew with the arguments `-i index`. */
bool system_run_apart(const char *program, const tc_test *test, size_t index);

/* A hang is a failure.  Far above what any test takes under a sanitizer. */
#define SYSTEM_TIMEOUT_S 120

/* ---- descriptors ---- */

void make_pipe(int fds[2]);             /* [0] reads, [1] writes */
void make_socketpair(int fds[2]);       /* unix streams */
void make_tcp_pair(int fds[2]);
int make_tcp_listener(void);            /* on 127.0.0.1, any port */
int make_tcp_client(int listener);      /* connect() begun */
int make_refused_client(void);          /* the same, to where nobody listens */
int accept_from(int listener);          /* somebody has connected */

int dup_fd(int fd);
/* Close fd; its number becomes one more for the file behind `by`. */
void replace_fd(int fd, int by);
void close_fd(int fd);
void reset_fd(int fd);                  /* TCP: close, and reset the peer */
void shut_fd(int fd, bool reading);     /* one direction; result ignored */

/* As write() and read(): the count, or -1. */
long write_fd(int fd, const void *bytes, size_t size);
long read_fd(int fd, void *bytes, size_t size);
/* The last of these did not fail but for lack of room or data. */
bool would_block(void);

void put(int fd, int count);            /* write so many bytes */
void take(int fd, int count);           /* read so many bytes */
void fill(int fd);                      /* write until there is no room */
int drain(int fd);                      /* read all there is */

/* Block until the system says all of these of fd: READ, WRITE.  TCP may need
 * a moment. */
void until_ready(int fd, uint32_t directions);

/* What the system says of an interest, in the bits of poll/poll.h.  Windows:
 * READ and WRITE only. */
uint32_t look_at(int fd, uint32_t interest);

/* The number a new descriptor would get. */
int lowest_free_fd(void);

#endif /* TC_TESTS_SYSTEM_H */

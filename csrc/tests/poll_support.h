/* What the poller tests share: short ways to say what a wait must report. */
#ifndef TC_TESTS_POLL_SUPPORT_H
#define TC_TESTS_POLL_SUPPORT_H

#include "poll/poll.h"
#include "tests/harness.h"
#include "tests/system.h"

#include <stdbool.h>

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define BOTH (TC_POLL_READ | TC_POLL_WRITE)

/* One test body on every backend that has the wanted capabilities. */
typedef struct tc_poll_case {
    const char *name;
    void (*run)(tc_poll *poll);
    uint32_t caps;
} tc_poll_case;

/* Runs the cases as tests named "backend/case"; the poller is opened before
 * and closed after each.  The exit status. */
int tc_poll_cases_main(int argc, char **argv, const tc_poll_case *cases,
                       size_t count);

/* The same, on one backend. */
int tc_poll_cases_on(const char *backend, int argc, char **argv,
                     const tc_poll_case *cases, size_t count);

/* Short for poll->ops->...; arm, arm_edge and forget check for success. */
void poll_arm(tc_poll *poll, int fd, uint32_t interest, uint64_t token);
void poll_arm_edge(tc_poll *poll, int fd, uint32_t interest, uint64_t token,
                   bool modify);
void poll_forget(tc_poll *poll, int fd);
int poll_wait(tc_poll *poll, tc_poll_event *events, int cap,
              int64_t timeout_ns);
void poll_wake(tc_poll *poll);

/* In which shape a report of `ready`, for what was armed for `interest`, can
 * be compared: backends that know no HUP and ERR in the way of poll(2) name
 * the directions that were asked for instead. */
uint32_t poll_comparable(tc_poll *poll, uint32_t interest, uint32_t ready);

/* May a small array show one direction of what is ready both ways? */
bool poll_may_split(tc_poll *poll);

/* Does the backend take regular files? */
bool poll_takes_files(tc_poll *poll);

/* The next wait, which may take its time, reports just this. */
void expect_one(tc_poll *poll, uint64_t token, uint32_t ready);

/* The next wait reports the end of a connection to whoever waits for
 * `interest`: with this bit (HUP or ERR), where the backend has such. */
void expect_end(tc_poll *poll, uint64_t token, uint32_t interest,
                uint32_t bit);

/* A wait that only looks reports nothing. */
void expect_none(tc_poll *poll);

#endif /* TC_TESTS_POLL_SUPPORT_H */

/* Helpers of the poller tests. */
#define _GNU_SOURCE

#include "tests/poll_support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const support_backends[] = {"epoll", "kqueue", "poll"};

#define SUPPORT_MAX_TESTS 128

/* Without EVFILT_USER, kqueue tells a moment late of a pipe without reader. */
#if defined(TC_KQUEUE_USER) && !TC_KQUEUE_USER
#  define SUPPORT_LATE_WRITE true
#else
#  define SUPPORT_LATE_WRITE false
#endif

/* What one test process needs; lives as long as the program. */
typedef struct support_job {
    const tc_poll_ops *ops;
    void (*run)(tc_poll *poll);
    char name[80];
} support_job;

static void
support_run(const void *arg)
{
    const support_job *job = arg;
    tc_poll *poll = NULL;

    CHECK_EQ(job->ops->open(&poll), 0);
    CHECK(poll->ops == job->ops);
    job->run(poll);
    poll->ops->close(poll);
}

int
tc_poll_cases_on(const char *backend, int argc, char **argv,
                 const tc_poll_case *cases, size_t count)
{
    static support_job jobs[SUPPORT_MAX_TESTS];
    static tc_test tests[SUPPORT_MAX_TESTS];
    size_t n = 0;

    for (size_t b = 0; b < ARRAY_LENGTH(support_backends); b++) {
        const tc_poll_ops *ops = tc_poll_ops_by_name(support_backends[b]);

        if (backend != NULL && strcmp(support_backends[b], backend) != 0) {
            continue;
        }
        for (size_t i = 0; ops != NULL && i < count; i++) {
            if ((cases[i].caps & ~ops->caps) != 0) {
                continue;
            }
            CHECK(n < SUPPORT_MAX_TESTS);
            jobs[n].ops = ops;
            jobs[n].run = cases[i].run;
            snprintf(jobs[n].name, sizeof(jobs[n].name), "%s/%s", ops->name,
                     cases[i].name);
            tests[n] = (tc_test){jobs[n].name, support_run, &jobs[n]};
            n++;
        }
    }
    return tc_test_main(argc, argv, tests, n);
}

int
tc_poll_cases_main(int argc, char **argv, const tc_poll_case *cases,
                   size_t count)
{
    return tc_poll_cases_on(NULL, argc, argv, cases, count);
}

void
poll_arm(tc_poll *poll, int fd, uint32_t interest, uint64_t token)
{
    CHECK_EQ(poll->ops->arm(poll, fd, interest, token), 0);
}

void
poll_arm_edge(tc_poll *poll, int fd, uint32_t interest, uint64_t token,
              bool modify)
{
    CHECK_EQ(poll->ops->arm_edge(poll, fd, interest, token, modify), 0);
}

void
poll_forget(tc_poll *poll, int fd)
{
    CHECK_EQ(poll->ops->forget(poll, fd), 0);
}

int
poll_wait(tc_poll *poll, tc_poll_event *events, int cap, int64_t timeout_ns)
{
    return poll->ops->wait(poll, events, cap, timeout_ns);
}

void
poll_wake(tc_poll *poll)
{
    poll->ops->wake(poll);
}

static bool
support_is_kqueue(tc_poll *poll)
{
    return strcmp(poll->ops->name, "kqueue") == 0;
}

uint32_t
poll_comparable(tc_poll *poll, uint32_t interest, uint32_t ready)
{
    return support_is_kqueue(poll) ? tc_poll_directions(ready) & interest
                                   : ready;
}

bool
poll_may_split(tc_poll *poll)
{
    return support_is_kqueue(poll);
}

bool
poll_takes_files(tc_poll *poll)
{
    return support_is_kqueue(poll);
}

void
expect_one(tc_poll *poll, uint64_t token, uint32_t ready)
{
    tc_poll_event events[4];

    CHECK_EQ(poll_wait(poll, events, 4, TC_POLL_FOREVER), 1);
    CHECK_EQ(events[0].token, token);
    if (token != TC_POLL_WAKE) {
        CHECK_EQ(events[0].ready, ready);
    }
}

void
expect_end(tc_poll *poll, uint64_t token, uint32_t interest, uint32_t bit)
{
    tc_poll_event events[4];

    CHECK_EQ(poll_wait(poll, events, 4, TC_POLL_FOREVER), 1);
    CHECK_EQ(events[0].token, token);
    if (!SUPPORT_LATE_WRITE || interest != BOTH) {
        CHECK_EQ(tc_poll_directions(events[0].ready) & interest, interest);
    }
    if (!support_is_kqueue(poll)) {
        CHECK(events[0].ready & bit);
    }
}

void
expect_none(tc_poll *poll)
{
    tc_poll_event event;

    CHECK_EQ(poll_wait(poll, &event, 1, 0), 0);
}

void
make_pipe(int fds[2])
{
    CHECK_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
}

void
make_socketpair(int fds[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                        0, fds),
             0);
}

int
make_tcp_listener(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_EQ(listen(fd, 10), 0);
    return fd;
}

int
make_tcp_client(int listener, int *error)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    *error = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0
                 ? errno
                 : 0;
    return fd;
}

void
make_tcp_pair(int fds[2])
{
    int listener = make_tcp_listener();
    int error;

    fds[0] = make_tcp_client(listener, &error);
    CHECK(error == 0 || error == EINPROGRESS);
    until_ready(listener, POLLIN);
    until_ready(fds[0], POLLOUT);
    fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(fds[1] >= 0);
    close(listener);
}

void
put(int fd, int count)
{
    while (count-- > 0) {
        CHECK_EQ(write(fd, "x", 1), 1);
    }
}

void
take(int fd, int count)
{
    char byte;

    while (count-- > 0) {
        CHECK_EQ(read(fd, &byte, 1), 1);
    }
}

void
fill(int fd)
{
    static const char bytes[4096];

    while (write(fd, bytes, sizeof(bytes)) > 0) {
    }
    CHECK_EQ(errno, EAGAIN);
}

int
drain(int fd)
{
    char bytes[4096];
    ssize_t n;
    int total = 0;

    while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
        total += (int)n;
    }
    CHECK(n == 0 || errno == EAGAIN);
    return total;
}

void
until_ready(int fd, short events)
{
    struct pollfd line = {.fd = fd, .events = events};

    while ((line.revents & events) != events) {
        CHECK_EQ(poll(&line, 1, -1), 1);
    }
}

int
lowest_free_fd(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    CHECK(fd >= 0);
    close(fd);
    return fd;
}

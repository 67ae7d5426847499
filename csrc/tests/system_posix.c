/* The system, if it is a POSIX one. */
#define _GNU_SOURCE

#include "tests/system.h"

#if SYSTEM_IS_POSIX

#include "poll/poll.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

void
system_start(void)
{
    /* Some tests write to what the peer has closed. */
    signal(SIGPIPE, SIG_IGN);
}

bool
system_run_apart(const char *program, const tc_test *test, size_t index)
{
    int status;
    pid_t child;

    (void)program;
    (void)index;
    fflush(NULL);
    child = fork();
    if (child < 0) {
        perror("fork");
        return false;
    }
    if (child == 0) {
        alarm(SYSTEM_TIMEOUT_S);
        test->run(test->arg);
        exit(0);
    }
    if (waitpid(child, &status, 0) != child) {
        perror("waitpid");
        return false;
    }
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "killed by signal %d%s\n", WTERMSIG(status),
                WTERMSIG(status) == SIGALRM ? " (it hangs)" : "");
        return false;
    }
    return WEXITSTATUS(status) == 0;
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
make_tcp_client(int listener)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        CHECK_EQ(errno, EINPROGRESS);
    }
    return fd;
}

int
make_refused_client(void)
{
    int listener = make_tcp_listener();
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    close(listener);
    CHECK_EQ(connect(fd, (struct sockaddr *)&address, sizeof(address)), -1);
    return fd;
}

int
accept_from(int listener)
{
    int fd;

    until_ready(listener, TC_POLL_READ);
    fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

void
make_tcp_pair(int fds[2])
{
    int listener = make_tcp_listener();

    fds[0] = make_tcp_client(listener);
    until_ready(fds[0], TC_POLL_WRITE);
    fds[1] = accept_from(listener);
    close(listener);
}

int
dup_fd(int fd)
{
    int copy = dup(fd);

    CHECK(copy >= 0);
    return copy;
}

void
replace_fd(int fd, int by)
{
    CHECK_EQ(dup2(by, fd), fd);
}

void
close_fd(int fd)
{
    CHECK_EQ(close(fd), 0);
}

void
reset_fd(int fd)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};

    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)),
             0);
    close(fd);
}

void
shut_fd(int fd, bool reading)
{
    (void)shutdown(fd, reading ? SHUT_RD : SHUT_WR);
}

long
write_fd(int fd, const void *bytes, size_t size)
{
    return write(fd, bytes, size);
}

long
read_fd(int fd, void *bytes, size_t size)
{
    return read(fd, bytes, size);
}

bool
would_block(void)
{
    return errno == EAGAIN;
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
until_ready(int fd, uint32_t directions)
{
    struct pollfd line = {.fd = fd};

    line.events = (short)((directions & TC_POLL_READ ? POLLIN : 0)
                          | (directions & TC_POLL_WRITE ? POLLOUT : 0));
    while ((line.revents & line.events) != line.events) {
        CHECK_EQ(poll(&line, 1, -1), 1);
    }
}

uint32_t
look_at(int fd, uint32_t interest)
{
    struct pollfd line = {.fd = fd};
    uint32_t ready = 0;

    line.events = (short)((interest & TC_POLL_READ ? POLLIN : 0)
                          | (interest & TC_POLL_WRITE ? POLLOUT : 0));
    CHECK(poll(&line, 1, 0) >= 0);
    CHECK_EQ(line.revents & POLLNVAL, 0);
    ready |= line.revents & POLLIN ? TC_POLL_READ : 0;
    ready |= line.revents & POLLOUT ? TC_POLL_WRITE : 0;
    ready |= line.revents & POLLHUP ? TC_POLL_HUP : 0;
    ready |= line.revents & POLLERR ? TC_POLL_ERR : 0;
    return ready;
}

int
lowest_free_fd(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    CHECK(fd >= 0);
    close(fd);
    return fd;
}

#endif

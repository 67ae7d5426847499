/* Asking Linux what a BSD kernel would know of a descriptor. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif

#include "look.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#  define P_PIDFD 3
#endif

bool
file_identify(int fd, file_identity *identity)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fstat(fd, &status) < 0) {
        return false;
    }
    identity->device = status.st_dev;
    identity->inode = status.st_ino;
    identity->access = flags & O_ACCMODE;
    return true;
}

bool
file_is(int fd, const file_identity *identity)
{
    file_identity now;

    return file_identify(fd, &now) && now.device == identity->device
           && now.inode == identity->inode && now.access == identity->access;
}

static mode_t
look_type(int fd)
{
    struct stat status;

    return fstat(fd, &status) < 0 ? 0 : status.st_mode & S_IFMT;
}

bool
look_is_file(int fd)
{
    return look_type(fd) == S_IFREG;
}

static short
look_poll(int fd)
{
    struct pollfd line = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};

    return poll(&line, 1, 0) < 0 ? 0 : line.revents;
}

int
look_refuses(int fd, short filter)
{
    mode_t type = look_type(fd);

    if (type == S_IFDIR || type == S_IFBLK) {
        return EINVAL;
    }
    if (type == S_IFIFO && filter == EVFILT_WRITE
        && (look_poll(fd) & POLLERR)) {
        return EPIPE;           /* nobody reads it */
    }
    return 0;
}

/* Connections that wait to be accepted; at least the one that is there. */
static int64_t
look_backlog(int fd)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);

    memset(&info, 0, sizeof(info));
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0
        && info.tcpi_unacked > 0) {
        return info.tcpi_unacked;
    }
    return 1;
}

static bool
look_socket(int fd, struct kevent *event)
{
    short ready = look_poll(fd);
    int listening = 0;
    socklen_t size = sizeof(listening);
    int bytes = 0;
    bool holds;
    bool eof;

    (void)getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size);
    if (listening) {
        event->data = look_backlog(fd);
        return event->filter == EVFILT_READ && (ready & POLLIN);
    }
    if (event->filter == EVFILT_READ) {
        holds = (ready & (POLLIN | POLLRDHUP | POLLERR)) != 0;
        eof = (ready & POLLRDHUP) != 0;
        (void)ioctl(fd, FIONREAD, &bytes);
        event->data = bytes;
    }
    else {
        /* HUP without RDHUP: not connected yet, which is not the end. */
        bool alone = (ready & POLLHUP) && !(ready & POLLRDHUP);

        eof = (ready & POLLHUP) != 0;
        holds = !alone && (eof || (ready & (POLLOUT | POLLERR)));
        event->data = holds ? 4096 : 0;
    }
    if (holds && eof) {
        event->flags |= EV_EOF;
        /* SO_ERROR would tell which, and forget it. */
        event->fflags = ready & POLLERR ? ECONNRESET : 0;
    }
    return holds;
}

static bool
look_other(int fd, struct kevent *event)
{
    short ready = look_poll(fd);
    int bytes = 0;

    if (event->filter == EVFILT_READ) {
        if (ready & (POLLHUP | POLLERR)) {
            event->flags |= EV_EOF;
        }
        if (ioctl(fd, FIONREAD, &bytes) < 0) {
            bytes = ready & POLLIN ? 1 : 0;
        }
        event->data = bytes;
        return (ready & (POLLIN | POLLHUP | POLLERR)) != 0;
    }
    if (ready & (POLLERR | POLLHUP)) {
        event->flags |= EV_EOF;
    }
    event->data = ready & POLLOUT ? 4096 : 0;
    return (ready & (POLLOUT | POLLERR | POLLHUP)) != 0;
}

static bool
look_file(int fd, struct kevent *event)
{
    struct stat status;
    off_t where = lseek(fd, 0, SEEK_CUR);

    if (event->filter == EVFILT_WRITE) {
        return true;
    }
    if (where < 0 || fstat(fd, &status) < 0) {
        return false;
    }
    event->data = status.st_size - where;
    return event->data != 0;
}

bool
look_descriptor(int fd, struct kevent *event)
{
    switch (look_type(fd)) {
    case S_IFREG:
        return look_file(fd, event);
    case S_IFSOCK:
        return look_socket(fd, event);
    default:
        return look_other(fd, event);
    }
}

bool
look_process(int pidfd, struct kevent *event)
{
    struct pollfd line = {.fd = pidfd, .events = POLLIN};
    siginfo_t info;

    if (poll(&line, 1, 0) <= 0) {
        return false;
    }
    event->fflags = NOTE_EXIT;
    event->flags |= EV_EOF;
    memset(&info, 0, sizeof(info));
    /* Only a parent learns how it ended. */
    if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info,
               WEXITED | WNOHANG | WNOWAIT) == 0
        && info.si_pid != 0) {
        event->data = info.si_code == CLD_EXITED
                          ? (info.si_status & 0xff) << 8
                          : info.si_status & 0x7f;
    }
    return true;
}

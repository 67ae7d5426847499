/* What is done otherwise with sockets from one system to the next.
 *
 * accept4() and the flags of socketpair() came with Linux and the BSDs; macOS
 * has neither, so a fork() at the wrong moment can inherit a descriptor there.
 * Windows has no socketpair(): a connection over the loopback device takes its
 * place, and is believed only if it comes from our own other end.
 */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE           /* accept4 */
#endif

#include "base/sock.h"

/* One byte says it all: let the system keep as few as it can, and send it at
 * once.  If it will not, it still works. */
static void
sock_pair_shrink(const int fds[2])
{
    (void)tc_sock_set_int(fds[0], SOL_SOCKET, SO_RCVBUF, 1);
    (void)tc_sock_set_int(fds[1], SOL_SOCKET, SO_SNDBUF, 1);
}

#ifdef _WIN32

void
tc_sock_close(int fd)
{
    (void)closesocket((SOCKET)fd);
}

bool
tc_sock_exists(int fd)
{
    int type;

    return tc_sock_get_int(fd, SOL_SOCKET, SO_TYPE, &type) == 0;
}

int
tc_sock_accept(int fd, struct sockaddr *addr, socklen_t *addr_size)
{
    SOCKET accepted = accept((SOCKET)fd, addr, addr_size);

    if (accepted == INVALID_SOCKET) {
        return -1;
    }
    if (!SetHandleInformation((HANDLE)accepted, HANDLE_FLAG_INHERIT, 0)) {
        int err = (int)GetLastError();

        (void)closesocket(accepted);
        WSASetLastError(err);
        return -1;
    }
    return (int)accepted;
}

/* INVALID_SOCKET with WSAGetLastError(). */
static SOCKET
sock_new_tcp(void)
{
    return WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, 0,
                      WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
}

/* The address that `fd` is bound to, or that of its peer.  0 or -1. */
static int
sock_name(SOCKET fd, int peer, struct sockaddr_in *name)
{
    socklen_t size = sizeof(*name);

    return peer ? getpeername(fd, (struct sockaddr *)name, &size)
                : getsockname(fd, (struct sockaddr *)name, &size);
}

/* The connection to `from` that waits at `listener`, into *out.  Others,
 * which anybody on this machine can make, are hung up on. */
static int
sock_accept_from(SOCKET listener, SOCKET from, SOCKET *out)
{
    struct sockaddr_in wanted;
    struct sockaddr_in got;

    if (sock_name(from, 0, &wanted) < 0) {
        return -1;
    }
    for (;;) {
        SOCKET fd = accept(listener, NULL, NULL);

        if (fd == INVALID_SOCKET) {
            return -1;
        }
        if (sock_name(fd, 1, &got) == 0 && got.sin_port == wanted.sin_port
            && got.sin_addr.s_addr == wanted.sin_addr.s_addr) {
            *out = fd;
            return 0;
        }
        (void)closesocket(fd);
    }
}

/* Connect the two ends over a listener that lives as long as this takes. */
static int
sock_pair_connect(SOCKET ends[2], SOCKET listener)
{
    struct sockaddr_in name = {0};
    u_long on = 1;

    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&name, sizeof(name)) < 0
        || listen(listener, 1) < 0 || sock_name(listener, 0, &name) < 0
        || connect(ends[1], (struct sockaddr *)&name, sizeof(name)) < 0
        || sock_accept_from(listener, ends[1], &ends[0]) < 0) {
        return -1;
    }
    if (!SetHandleInformation((HANDLE)ends[0], HANDLE_FLAG_INHERIT, 0)) {
        WSASetLastError((int)GetLastError());
        return -1;
    }
    (void)tc_sock_set_int((int)ends[1], IPPROTO_TCP, TCP_NODELAY, 1);
    return ioctlsocket(ends[0], (long)FIONBIO, &on) < 0
                   || ioctlsocket(ends[1], (long)FIONBIO, &on) < 0
               ? -1
               : 0;
}

int
tc_sock_pair(int fds[2])
{
    SOCKET ends[2] = {INVALID_SOCKET, INVALID_SOCKET};
    SOCKET listener;
    WSADATA unused;
    int err;

    /* Counted by Windows, and kept until the process ends: sockets may
     * outlive whoever asked first. */
    err = WSAStartup(MAKEWORD(2, 2), &unused);
    if (err != 0) {
        return -err;
    }
    /* Each error is looked at before another call can hide it. */
    listener = sock_new_tcp();
    if (listener == INVALID_SOCKET
        || (ends[1] = sock_new_tcp()) == INVALID_SOCKET
        || sock_pair_connect(ends, listener) < 0) {
        err = -WSAGetLastError();
    }
    if (listener != INVALID_SOCKET) {
        (void)closesocket(listener);
    }
    if (err < 0) {
        for (int i = 0; i < 2; i++) {
            if (ends[i] != INVALID_SOCKET) {
                (void)closesocket(ends[i]);
            }
        }
        return err;
    }
    fds[0] = (int)ends[0];
    fds[1] = (int)ends[1];
    sock_pair_shrink(fds);
    return 0;
}

#else

#include <fcntl.h>
#include <unistd.h>

void
tc_sock_close(int fd)
{
    (void)close(fd);
}

bool
tc_sock_exists(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

int
tc_sock_accept(int fd, struct sockaddr *addr, socklen_t *addr_size)
{
#if TC_SOCK_HAVE_ACCEPT4
    return accept4(fd, addr, addr_size, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    int accepted = accept(fd, addr, addr_size);

    if (accepted >= 0 && fcntl(accepted, F_SETFD, FD_CLOEXEC) < 0) {
        int err = errno;

        (void)close(accepted);
        errno = err;
        return -1;
    }
    return accepted;
#endif
}

static int
sock_set_flags(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0
                   || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0
               ? -1
               : 0;
}

int
tc_sock_pair(int fds[2])
{
    int type = SOCK_STREAM;

#ifdef SOCK_CLOEXEC
    type |= SOCK_CLOEXEC;
#endif
    if (socketpair(AF_UNIX, type, 0, fds) < 0) {
        return -errno;
    }
    if (sock_set_flags(fds[0]) < 0 || sock_set_flags(fds[1]) < 0) {
        int err = errno;

        (void)close(fds[0]);
        (void)close(fds[1]);
        return -err;
    }
    sock_pair_shrink(fds);
    return 0;
}

#endif

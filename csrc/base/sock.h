/* Sockets as the system has them: its headers, and under one name what is
 * called otherwise, or done otherwise, from one system to the next.
 *
 * Numbers.  A socket is an int here: Windows' SOCKET is wider, but its
 * numbers fit (handles have 32 significant bits), and INVALID_SOCKET is -1.
 *
 * Errors.  A call fails as the system's own does, with a negative result and
 * tc_sock_error() for the reason: errno's codes, on Windows WSAGetLastError's.
 * What else happens in the thread may change it, so look at once.
 *
 * Blocking.  Sockets of the library never block.  Where the system can, send
 * and receive ask for that anew each time (MSG_DONTWAIT), in case somebody
 * has switched a socket back.
 */
#ifndef TC_BASE_SOCK_H
#define TC_BASE_SOCK_H

#include <stdbool.h>
#include <stddef.h>

#ifdef _WIN32

#include <winsock2.h>
#include <ws2tcpip.h>

#include <limits.h>

#define TC_SOCK_HAVE_UNIX 0
#define TC_SOCK_HAVE_MSG 0      /* sendmsg(), recvmsg() */
#define TC_SOCK_HAVE_SA_LEN 0
/* Who a byte stream comes from is left as it was by recvfrom(). */
#define TC_SOCK_STREAM_HAS_SENDER 0

static inline int
tc_sock_error(void)
{
    return WSAGetLastError();
}

static inline void
tc_sock_set_error(int err)
{
    WSASetLastError(err);
}

static inline bool
tc_sock_would_block(int err)
{
    return err == WSAEWOULDBLOCK;
}

/* A call on a socket that does not block is never interrupted. */
static inline bool
tc_sock_interrupted(int err)
{
    (void)err;
    return false;
}

/* Lengths are ints; what is above is left for the next call. */
static inline int
tc_sock_length(size_t size)
{
    return size < INT_MAX ? (int)size : INT_MAX;
}

static inline ptrdiff_t
tc_sock_sendto(int fd, const void *data, size_t size, int flags,
               const struct sockaddr *addr, socklen_t addr_size)
{
    return sendto((SOCKET)fd, data, tc_sock_length(size), flags, addr,
                  addr_size);
}

static inline ptrdiff_t
tc_sock_recvfrom(int fd, void *data, size_t size, int flags,
                 struct sockaddr *addr, socklen_t *addr_size)
{
    return recvfrom((SOCKET)fd, data, tc_sock_length(size), flags, addr,
                    addr_size);
}

static inline int
tc_sock_get_int(int fd, int level, int option, int *value)
{
    socklen_t size = sizeof(*value);

    return getsockopt((SOCKET)fd, level, option, (char *)value, &size);
}

static inline int
tc_sock_set_int(int fd, int level, int option, int value)
{
    return setsockopt((SOCKET)fd, level, option, (const char *)&value,
                      sizeof(value));
}

#else

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#define TC_SOCK_HAVE_UNIX 1
#define TC_SOCK_HAVE_MSG 1
/* UNIX addresses that are no paths, but begin with a NUL. Elsewhere, such an
 * address is one that has no name. */
#ifdef __linux__
#  define TC_SOCK_HAVE_ABSTRACT 1
#else
#  define TC_SOCK_HAVE_ABSTRACT 0
#endif
/* Addresses begin with their length, on BSD and macOS: RFC 3493 has this macro
 * for it.  The system fills it in where we do not, so it matters to who
 * compares. */
#ifdef SIN6_LEN
#  define TC_SOCK_HAVE_SA_LEN 1
#else
#  define TC_SOCK_HAVE_SA_LEN 0
#endif
#define TC_SOCK_STREAM_HAS_SENDER 1

static inline int
tc_sock_error(void)
{
    return errno;
}

static inline void
tc_sock_set_error(int err)
{
    errno = err;
}

static inline bool
tc_sock_would_block(int err)
{
    return err == EAGAIN || err == EWOULDBLOCK;
}

static inline bool
tc_sock_interrupted(int err)
{
    return err == EINTR;
}

static inline ptrdiff_t
tc_sock_sendto(int fd, const void *data, size_t size, int flags,
               const struct sockaddr *addr, socklen_t addr_size)
{
    return sendto(fd, data, size, flags | MSG_DONTWAIT, addr, addr_size);
}

static inline ptrdiff_t
tc_sock_recvfrom(int fd, void *data, size_t size, int flags,
                 struct sockaddr *addr, socklen_t *addr_size)
{
    return recvfrom(fd, data, size, flags | MSG_DONTWAIT, addr, addr_size);
}

static inline int
tc_sock_get_int(int fd, int level, int option, int *value)
{
    socklen_t size = sizeof(*value);

    return getsockopt(fd, level, option, value, &size);
}

static inline int
tc_sock_set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

#endif

/* What is missing here is nothing to ask for. */
#ifdef MSG_DONTWAIT
#  define TC_SOCK_DONTWAIT MSG_DONTWAIT
#else
#  define TC_SOCK_DONTWAIT 0
#endif
#ifdef MSG_NOSIGNAL
#  define TC_SOCK_NOSIGNAL MSG_NOSIGNAL
#else
#  define TC_SOCK_NOSIGNAL 0    /* Python ignores SIGPIPE */
#endif

/* accept() whose result is not inherited by programs that are started.
 * *addr_size goes in and out.  With accept4() the result does not block
 * either, and TC_SOCK_TYPE_NONBLOCK in a socket's type says so; without, the
 * caller has to see to it. */
#ifdef SOCK_NONBLOCK
#  define TC_SOCK_HAVE_ACCEPT4 1
#  define TC_SOCK_TYPE_NONBLOCK SOCK_NONBLOCK
#else
#  define TC_SOCK_HAVE_ACCEPT4 0
#  define TC_SOCK_TYPE_NONBLOCK 0
#endif
int tc_sock_accept(int fd, struct sockaddr *addr, socklen_t *addr_size);

/* Two connected byte streams for waking somebody: not blocking, not
 * inherited, and with as small a buffer as the system will give.  0 or the
 * system's code, negative. */
int tc_sock_pair(int fds[2]);

void tc_sock_close(int fd);

/* Is there such a descriptor (on Windows: such a socket)? */
bool tc_sock_exists(int fd);

#endif /* TC_BASE_SOCK_H */

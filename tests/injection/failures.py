"""Which calls can fail, and with what: as the manual pages of Linux have it.

Errors that a call cannot have from us, or that would be a lie which the system
never tells, are left out: a receive that says EAGAIN while there is data, a
connection that exists and was refused.
"""

from __future__ import annotations

ERRORS: dict[str, str] = {
    "epoll_create1": "EMFILE ENFILE ENOMEM",
    "epoll_ctl": "ENOMEM ENOSPC EPERM EBADF",
    "epoll_wait": "EINTR EBADF",
    "poll": "EINTR ENOMEM",
    "kqueue": "EMFILE ENFILE ENOMEM",
    "kevent": "EINTR ENOMEM EACCES EBADF",
    "eventfd": "EMFILE ENFILE ENOMEM",
    "pipe2": "EMFILE ENFILE",
    "pipe": "EMFILE ENFILE",
    "socketpair": "EMFILE ENFILE ENOBUFS",
    "socket": "EMFILE ENFILE ENOBUFS ENOMEM EAFNOSUPPORT EACCES",
    "accept4": "EMFILE ENFILE ENOBUFS ENOMEM ECONNABORTED EPERM EINTR EPROTO EINVAL",
    "bind": "EADDRINUSE EACCES",
    "listen": "EADDRINUSE",
    "connect": "ECONNREFUSED ETIMEDOUT ENETUNREACH EADDRNOTAVAIL EPERM EINTR EBADF",
    "shutdown": "ENOTCONN EBADF",
    "close": "EINTR EIO",
    "fcntl": "EBADF ENOMEM",
    "open": "EMFILE ENFILE ENOENT EINTR ENOMEM",
    "getsockopt": "ENOBUFS EBADF",
    "setsockopt": "ENOBUFS EINVAL",
    "getsockname": "ENOBUFS",
    "getpeername": "ENOBUFS ENOTCONN",
    "read": "EINTR EIO EBADF",
    "write": "EINTR EIO EPIPE ENOSPC",
    "recv": "EINTR ENOMEM ECONNRESET ENOTCONN EBADF",
    "recvfrom": "EINTR ENOMEM ECONNRESET ECONNREFUSED ETIMEDOUT ENOTCONN EBADF",
    "recvmsg": "EINTR ENOMEM ECONNRESET ENOTCONN EBADF",
    "send": "EINTR ENOBUFS ENOMEM EPIPE ECONNRESET EBADF",
    "sendto": "EINTR ENOBUFS ENOMEM EPIPE ECONNRESET ENOTCONN EBADF",
    "sendmsg": "EINTR ENOBUFS ENOMEM EPIPE ECONNRESET EBADF",
    "pthread_create": "EAGAIN",
    "pidfd_open": "EMFILE ENFILE ENOMEM ENODEV ENOSYS",
    "waitid": "EINTR",
    "fork": "EAGAIN ENOMEM",
}

/* sockaddr.h - socket addresses, Python's form and the kernel's.
 *
 * Only what needs no lookup and leaves no doubt: everything else, wrong
 * addresses included, is for the standard library to judge.
 */
#ifndef TC_NET_SOCKADDR_H
#define TC_NET_SOCKADDR_H

#include "../glue/compat.h"
#include "../base/sock.h"

typedef struct tc_sockaddr {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
#if TC_SOCK_HAVE_UNIX
        struct sockaddr_un un;
#endif
        struct sockaddr_storage storage;
    } u;
    socklen_t size;
} tc_sockaddr;

/* The last internet address that a socket received from or sent to, in both
   forms: datagrams are mostly answered, and to the very tuple they came with.
   Who owns it visits and clears `address`. */
typedef struct tc_sockaddr_memo {
    PyObject *address;       /* owned or NULL: what tc_sockaddr_make() makes of
                                `raw`, or one that is equal to it */
    socklen_t size;
    char raw[sizeof(struct sockaddr_in6)];
} tc_sockaddr_memo;

/* INET, INET6 and, where they exist, UNIX. */
static inline int
tc_sockaddr_is_known(int family)
{
    return family == AF_INET || family == AF_INET6
           || (TC_SOCK_HAVE_UNIX && family == AF_UNIX);
}

/* 1 and *out filled in; 0, without exception, if the standard library has to
   look at this address. Runs no Python. */
int tc_sockaddr_parse(int family, PyObject *address, tc_sockaddr *out);
/* The same, and remember it if it is what would be made of the result. All
   addresses of a memo are of one family. */
int tc_sockaddr_parse_memo(tc_sockaddr_memo *memo, int family,
                           PyObject *address, tc_sockaddr *out);

/* As the standard library gives it: a tuple, a path, or None for no address.
   The family must be known, or the size 0. New reference. */
PyObject *tc_sockaddr_make(const tc_sockaddr *addr);
/* The same, and remember it. */
PyObject *tc_sockaddr_make_memo(tc_sockaddr_memo *memo,
                                const tc_sockaddr *addr);

/* The tuple of two new references (stolen; NULL: exception set). New
   reference. */
PyObject *tc_sockaddr_pair(PyObject *first, PyObject *address);

#endif

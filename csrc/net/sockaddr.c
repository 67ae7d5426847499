/* sockaddr.c - socket addresses, Python's form and the kernel's.
 *
 * Facts this file relies on (unix(7)): a UNIX address without a path is
 * unnamed; one that begins with a NUL is abstract on Linux, where all of its
 * length counts, and unnamed too elsewhere (BSD's kernels give unnamed sockets
 * a path of NULs); others end at the first NUL, or at the end if the kernel
 * left none.
 */
#include "sockaddr.h"

#include <stddef.h>
#include <string.h>

/* Exactly an int in [0, max]: 1 and *out, else 0. */
static int
sockaddr_number(PyObject *obj, unsigned long max, unsigned long *out)
{
    if (!PyLong_CheckExact(obj)) {
        return 0;
    }
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(obj, &overflow);
    if (overflow != 0 || value < 0 || (unsigned long long)value > max) {
        return 0;
    }
    *out = (unsigned long)value;
    return 1;
}

/* (host, port, ...) with a numeric host: 1, else 0. */
static int
sockaddr_host_port(int family, PyObject *address, Py_ssize_t max_items,
                   void *host, unsigned long *port)
{
    if (!PyTuple_CheckExact(address) || PyTuple_GET_SIZE(address) < 2
        || PyTuple_GET_SIZE(address) > max_items) {
        return 0;
    }
    PyObject *text = PyTuple_GET_ITEM(address, 0);
    if (!PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text)) {
        return 0;
    }
    const char *ascii = (const char *)PyUnicode_1BYTE_DATA(text);
    return strlen(ascii) == (size_t)PyUnicode_GET_LENGTH(text)
           && inet_pton(family, ascii, host) == 1
           && sockaddr_number(PyTuple_GET_ITEM(address, 1), 0xffff, port);
}

static int
sockaddr_parse_inet(PyObject *address, tc_sockaddr *out)
{
    struct sockaddr_in *in = &out->u.in;
    unsigned long port;
    memset(in, 0, sizeof(*in));
    if (!sockaddr_host_port(AF_INET, address, 2, &in->sin_addr, &port)) {
        return 0;
    }
#if TC_SOCK_HAVE_SA_LEN
    in->sin_len = sizeof(*in);
#endif
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    out->size = sizeof(*in);
    return 1;
}

static int
sockaddr_parse_inet6(PyObject *address, tc_sockaddr *out)
{
    struct sockaddr_in6 *in6 = &out->u.in6;
    unsigned long port, flowinfo = 0, scope = 0;
    memset(in6, 0, sizeof(*in6));
    if (!sockaddr_host_port(AF_INET6, address, 4, &in6->sin6_addr, &port)) {
        return 0;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(address);
    if ((n > 2
         && !sockaddr_number(PyTuple_GET_ITEM(address, 2), 0xfffff,
                             &flowinfo))
        || (n > 3
            && !sockaddr_number(PyTuple_GET_ITEM(address, 3), 0xffffffff,
                                &scope))) {
        return 0;
    }
#if TC_SOCK_HAVE_SA_LEN
    in6->sin6_len = sizeof(*in6);
#endif
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)port);
    in6->sin6_flowinfo = htonl((uint32_t)flowinfo);
    in6->sin6_scope_id = (uint32_t)scope;
    out->size = sizeof(*in6);
    return 1;
}

/* --- UNIX ----------------------------------------------------------- */

#if TC_SOCK_HAVE_UNIX

#define UNIX_PATH offsetof(struct sockaddr_un, sun_path)

static int
sockaddr_parse_unix(PyObject *address, tc_sockaddr *out)
{
    struct sockaddr_un *un = &out->u.un;
    const char *path;
    size_t size;
    if (PyBytes_CheckExact(address)) {
        path = PyBytes_AS_STRING(address);
        size = (size_t)PyBytes_GET_SIZE(address);
    }
    else if (PyUnicode_CheckExact(address)
             && PyUnicode_IS_COMPACT_ASCII(address)) {
        path = (const char *)PyUnicode_1BYTE_DATA(address);
        size = (size_t)PyUnicode_GET_LENGTH(address);
    }
    else {
        return 0;
    }
    int abstract = size > 0 && path[0] == '\0';
    if (size == 0 || (abstract && !TC_SOCK_HAVE_ABSTRACT)
        || size + !abstract > sizeof(un->sun_path)) {
        return 0;
    }
    memset(un, 0, sizeof(*un));
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, size);
    out->size = (socklen_t)(UNIX_PATH + size + !abstract);
    return 1;
}

static PyObject *
sockaddr_make_unix(const tc_sockaddr *addr)
{
    assert(addr->u.any.sa_family == AF_UNIX);
    const char *path = addr->u.un.sun_path;
    size_t size = addr->size <= UNIX_PATH ? 0 : addr->size - UNIX_PATH;
    if (size > sizeof(addr->u.un.sun_path)) {
        size = sizeof(addr->u.un.sun_path);
    }
    if (TC_SOCK_HAVE_ABSTRACT && size > 0 && path[0] == '\0') {
        return PyBytes_FromStringAndSize(path, (Py_ssize_t)size);
    }
    return PyUnicode_DecodeFSDefaultAndSize(path,
                                            (Py_ssize_t)strnlen(path, size));
}

#else

static int
sockaddr_parse_unix(PyObject *Py_UNUSED(address), tc_sockaddr *Py_UNUSED(out))
{
    return 0;
}

/* Nobody asks: the family is not a known one. */
static PyObject *
sockaddr_make_unix(const tc_sockaddr *addr)
{
    PyErr_Format(PyExc_SystemError, "socket address of family %d",
                 (int)addr->u.any.sa_family);
    return NULL;
}

#endif

/* --- all families --------------------------------------------------- */

int
tc_sockaddr_parse(int family, PyObject *address, tc_sockaddr *out)
{
    switch (family) {
    case AF_INET:
        return sockaddr_parse_inet(address, out);
    case AF_INET6:
        return sockaddr_parse_inet6(address, out);
    case AF_UNIX:
        return sockaddr_parse_unix(address, out);
    default:
        return 0;
    }
}

/* Dotted decimals. inet_ntop() prints them with printf(). */
static PyObject *
sockaddr_make_host(const struct in_addr *host)
{
    const unsigned char *bytes = (const unsigned char *)host;
    char text[INET_ADDRSTRLEN], *end = text;
    for (int i = 0; i < 4; i++) {
        unsigned value = bytes[i];
        if (value >= 100) {
            *end++ = (char)('0' + value / 100);
        }
        if (value >= 10) {
            *end++ = (char)('0' + value / 10 % 10);
        }
        *end++ = (char)('0' + value % 10);
        *end++ = '.';
    }
    Py_ssize_t size = end - 1 - text;
    PyObject *result = PyUnicode_New(size, 127);
    if (result != NULL) {
        memcpy(PyUnicode_1BYTE_DATA(result), text, (size_t)size);
    }
    return result;
}

PyObject *
tc_sockaddr_pair(PyObject *first, PyObject *address)
{
    PyObject *pair = first == NULL || address == NULL ? NULL : PyTuple_New(2);
    if (pair == NULL) {
        Py_XDECREF(first);
        Py_XDECREF(address);
        return NULL;
    }
    PyTuple_SET_ITEM(pair, 0, first);
    PyTuple_SET_ITEM(pair, 1, address);
    return pair;
}

PyObject *
tc_sockaddr_make(const tc_sockaddr *addr)
{
    char text[INET6_ADDRSTRLEN];
    if (addr->size == 0) {
        Py_RETURN_NONE;
    }
    switch (addr->u.any.sa_family) {
    case AF_INET: {
        const struct sockaddr_in *in = &addr->u.in;
        PyObject *host = sockaddr_make_host(&in->sin_addr);
        return host == NULL ? NULL
                            : tc_sockaddr_pair(
                                host, PyLong_FromLong(ntohs(in->sin_port)));
    }
    case AF_INET6: {
        const struct sockaddr_in6 *in6 = &addr->u.in6;
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        return Py_BuildValue("sHkk", text, ntohs(in6->sin6_port),
                             (unsigned long)ntohl(in6->sin6_flowinfo),
                             (unsigned long)in6->sin6_scope_id);
    }
    default:
        return sockaddr_make_unix(addr);
    }
}

/* --- the memo ------------------------------------------------------- */

/* May a tuple made of this be taken for one that was parsed? The standard
   library does not send to every address that it makes. */
static int
memo_fits(const tc_sockaddr *addr)
{
    return addr->size > 0
           && (size_t)addr->size <= sizeof(((tc_sockaddr_memo *)NULL)->raw)
           && (addr->u.any.sa_family == AF_INET
               || (addr->u.any.sa_family == AF_INET6
                   && addr->u.in6.sin6_flowinfo == 0));
}

static void
memo_set(tc_sockaddr_memo *memo, PyObject *address, const tc_sockaddr *addr)
{
    if (memo_fits(addr)) {
        memo->size = addr->size;
        memcpy(memo->raw, &addr->u, addr->size);
        Py_XSETREF(memo->address, Py_NewRef(address));
    }
}

int
tc_sockaddr_parse_memo(tc_sockaddr_memo *memo, int family, PyObject *address,
                       tc_sockaddr *out)
{
    if (address == memo->address) {
        out->size = memo->size;
        memcpy(&out->u, memo->raw, memo->size);
        return 1;
    }
    if (!tc_sockaddr_parse(family, address, out)) {
        return 0;
    }
    /* It may be handed out as what a datagram came from. Only of INET there
       is one tuple for each address; of INET6 many will do for sending. */
    if (family == AF_INET) {
        memo_set(memo, address, out);
    }
    return 1;
}

PyObject *
tc_sockaddr_make_memo(tc_sockaddr_memo *memo, const tc_sockaddr *addr)
{
    if (memo->address != NULL && addr->size == memo->size
        && memcmp(&addr->u, memo->raw, memo->size) == 0) {
        return Py_NewRef(memo->address);
    }
    PyObject *address = tc_sockaddr_make(addr);
    if (address != NULL) {
        memo_set(memo, address, addr);
    }
    return address;
}

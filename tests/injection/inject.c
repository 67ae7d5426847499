/* inject.c - makes allocations and system calls fail, on demand.
 *
 * Preloaded, so that the calls of everything in the process come here, and
 * imported by worker.py as the module `inject`, which says what is to fail.
 * Nothing fails, and nothing is counted, but between arm() and disarm().
 *
 * No data of the interpreter is referred to, only functions: those are looked
 * up when they are first called, so that other programs can be started with
 * this preloaded.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what is to fail ---- */

/* Of each name, the calls are counted apart. */
#define NAMES(X) \
    X(memory) X(native_memory) \
    X(epoll_create1) X(epoll_ctl) X(epoll_wait) X(poll) \
    X(kqueue) X(kevent) \
    X(eventfd) X(pipe2) X(pipe) X(socketpair) X(socket) X(accept4) X(bind) \
    X(listen) X(connect) X(shutdown) X(close) X(fcntl) X(ioctl) X(open) \
    X(getsockopt) X(setsockopt) X(getsockname) X(getpeername) \
    X(read) X(write) X(recv) X(recvfrom) X(recvmsg) X(send) X(sendto) \
    X(sendmsg) X(pthread_create) X(pidfd_open) X(waitid) X(fork)

enum {
#define X(name) CALL_##name,
    NAMES(X)
#undef X
    CALL_COUNT
};

static const char *const names[] = {
#define X(name) #name,
    NAMES(X)
#undef X
};

static struct {
    bool on;
    pid_t process;             /* children are left alone */
    int what;                  /* one of CALL_..., or -1: count only */
    long first, count;         /* these calls of it fail, the first is 1 */
    int error;                 /* with this errno */
    long failed;               /* so many have */
    long spared;               /* so many were due, and did not */
    long piped;                /* after so many allocations came a pipe */
    long made[CALL_COUNT];
} plan;

static uintptr_t native_first, native_last;

static bool
is_native(void *address)
{
    return native_first <= (uintptr_t)address
           && (uintptr_t)address < native_last;
}

/* Where CPython itself, to 3.13, does not survive that memory is wanting; a
   program of a few lines shows it without any extension module:
   - functions that cannot be made drop a reference to their code too many;
   - cells that cannot be made leave references to arguments behind;
   - os.pipe() does not close what it cannot return;
   - what repr() cannot leave stays in a list of what it is in;
   - warnings.warn() does not notice that it got no frame;
   - an exception to whose traceback a frame cannot be added is lost. */
static bool
is_spared(void)
{
    void *stack[12];
    int n = backtrace(stack, 12);
    const char *callee = "";
    for (int i = 2; i < n; i++) {
        Dl_info info;
        if (dladdr(stack[i], &info) == 0 || info.dli_sname == NULL) {
            continue;
        }
        if (strcmp(info.dli_sname, "PyTraceBack_Here") == 0
            || (strcmp(info.dli_sname, "_PyEval_EvalFrameDefault") == 0
                && strcmp(callee, "_PyObject_GC_NewVar") == 0)) {
            return true;
        }
        callee = info.dli_sname;
        if (strncmp(info.dli_sname, "PyFunction_New", 14) == 0
            || strcmp(info.dli_sname, "PyCell_New") == 0
            || strcmp(info.dli_sname, "Py_ReprLeave") == 0
            || (strstr(info.dli_sname, "Py_BuildValue") != NULL
                && plan.made[CALL_memory] - plan.piped < 5)
            || (strcmp(info.dli_sname, "PyFrame_GetBack") == 0 && i + 1 < n
                && !is_native(stack[i + 1]))) {
            return true;
        }
    }
    return false;
}

/* Where a debugger can stop to see what is about to fail. */
static void __attribute__((noinline))
injected(void)
{
    __asm__ volatile("");
}

/* To be called once in each call of `what`. With errno set if it is to fail. */
static bool
due(int what)
{
    if (!plan.on || getpid() != plan.process) {
        return false;
    }
    long nth = __atomic_add_fetch(&plan.made[what], 1, __ATOMIC_RELAXED);
    if (what != plan.what || nth < plan.first
        || nth - plan.first >= plan.count) {
        return false;
    }
    if (what == CALL_memory && is_spared()) {
        __atomic_add_fetch(&plan.spared, 1, __ATOMIC_RELAXED);
        return false;
    }
    __atomic_add_fetch(&plan.failed, 1, __ATOMIC_RELAXED);
    injected();
    errno = plan.error;
    return true;
}

/* ---- system calls ---- */

static void *
real(void **slot, const char *name)
{
    if (*slot == NULL) {
        *slot = dlsym(RTLD_NEXT, name);
        /* In the kqueue of the tests, which is in the extension module. */
        if (*slot == NULL) {
            *slot = dlsym(dlopen(getenv("INJECT_NATIVE"), RTLD_LAZY), name);
        }
    }
    return *slot;
}

#define WRAP_AS(symbol, what, type, failed, params, args) \
    type symbol params; \
    type symbol params \
    { \
        static void *slot; \
        type (*call) params = (type (*) params)real(&slot, #symbol); \
        return due(CALL_##what) ? (failed) : call args; \
    }
#define WRAP(name, type, params, args) \
    WRAP_AS(name, name, type, -1, params, args)

WRAP(epoll_create1, int, (int flags), (flags))
WRAP(epoll_ctl, int, (int ep, int op, int fd, struct epoll_event *event),
     (ep, op, fd, event))
WRAP(epoll_wait, int, (int ep, struct epoll_event *events, int n, int ms),
     (ep, events, n, ms))
WRAP(poll, int, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms))
WRAP(eventfd, int, (unsigned int value, int flags), (value, flags))
WRAP(pipe, int, (int fds[2]), (fds))
WRAP(socketpair, int, (int domain, int type, int protocol, int fds[2]),
     (domain, type, protocol, fds))
WRAP(socket, int, (int domain, int type, int protocol),
     (domain, type, protocol))
WRAP(accept4, int, (int fd, struct sockaddr *name, socklen_t *size, int flags),
     (fd, name, size, flags))
WRAP(bind, int, (int fd, const struct sockaddr *name, socklen_t size),
     (fd, name, size))
WRAP(listen, int, (int fd, int backlog), (fd, backlog))
WRAP(connect, int, (int fd, const struct sockaddr *name, socklen_t size),
     (fd, name, size))
WRAP(shutdown, int, (int fd, int how), (fd, how))
WRAP(getsockopt, int,
     (int fd, int level, int option, void *value, socklen_t *size),
     (fd, level, option, value, size))
WRAP(setsockopt, int,
     (int fd, int level, int option, const void *value, socklen_t size),
     (fd, level, option, value, size))
WRAP(getsockname, int, (int fd, struct sockaddr *name, socklen_t *size),
     (fd, name, size))
WRAP(getpeername, int, (int fd, struct sockaddr *name, socklen_t *size),
     (fd, name, size))
WRAP(read, ssize_t, (int fd, void *data, size_t size), (fd, data, size))
WRAP(recv, ssize_t, (int fd, void *data, size_t size, int flags),
     (fd, data, size, flags))
WRAP(recvfrom, ssize_t,
     (int fd, void *data, size_t size, int flags, struct sockaddr *name,
      socklen_t *name_size),
     (fd, data, size, flags, name, name_size))
WRAP(recvmsg, ssize_t, (int fd, struct msghdr *msg, int flags),
     (fd, msg, flags))
WRAP(send, ssize_t, (int fd, const void *data, size_t size, int flags),
     (fd, data, size, flags))
WRAP(sendmsg, ssize_t, (int fd, const struct msghdr *msg, int flags),
     (fd, msg, flags))
WRAP(waitid, int, (idtype_t type, id_t id, siginfo_t *info, int options),
     (type, id, info, options))
WRAP(fork, pid_t, (void), ())
WRAP_AS(pthread_create, pthread_create, int, plan.error,
        (pthread_t *thread, const pthread_attr_t *attributes,
         void *(*function)(void *), void *arg),
        (thread, attributes, function, arg))
WRAP(kqueue, int, (void), ())
WRAP(kevent, int,
     (int fd, const void *changes, int n_changes, void *events, int n_events,
      const struct timespec *timeout),
     (fd, changes, n_changes, events, n_events, timeout))

int
pipe2(int fds[2], int flags)
{
    static void *slot;
    int (*call)(int[2], int) = real(&slot, "pipe2");
    int result = due(CALL_pipe2) ? -1 : call(fds, flags);
    plan.piped = plan.made[CALL_memory];
    return result;
}

/* A byte that wakes a run goes from the process to itself: it has not lost the
   other end. */
static bool
is_lie(const void *data, size_t size)
{
    return size == 1 && *(const char *)data < 2 && plan.error != EINTR
           && plan.error != ENOBUFS && plan.error != ENOMEM;
}

ssize_t
write(int fd, const void *data, size_t size)
{
    static void *slot;
    ssize_t (*call)(int, const void *, size_t) = real(&slot, "write");
    return !is_lie(data, size) && due(CALL_write) ? -1
                                                  : call(fd, data, size);
}

ssize_t
sendto(int fd, const void *data, size_t size, int flags,
       const struct sockaddr *name, socklen_t name_size)
{
    static void *slot;
    ssize_t (*call)(int, const void *, size_t, int, const struct sockaddr *,
                    socklen_t) = real(&slot, "sendto");
    return !is_lie(data, size) && due(CALL_sendto)
               ? -1
               : call(fd, data, size, flags, name, name_size);
}

/* These have one argument more or none; to hand on one too many is harmless. */
#define WRAP_OPEN_ENDED(symbol, what, first, type) \
    int symbol(first a, type b, ...); \
    int symbol(first a, type b, ...) \
    { \
        static void *slot; \
        int (*call)(first, type, ...) = real(&slot, #symbol); \
        va_list list; \
        va_start(list, b); \
        long c = va_arg(list, long); \
        va_end(list); \
        return due(CALL_##what) ? -1 : call(a, b, c); \
    }

WRAP_OPEN_ENDED(fcntl, fcntl, int, int)
WRAP_OPEN_ENDED(fcntl64, fcntl, int, int)
WRAP_OPEN_ENDED(ioctl, ioctl, int, unsigned long)
WRAP_OPEN_ENDED(open, open, const char *, int)
WRAP_OPEN_ENDED(open64, open, const char *, int)

/* A close() that fails has closed. */
int
close(int fd)
{
    static void *slot;
    int (*call)(int) = real(&slot, "close");
    bool fails = due(CALL_close);
    int result = call(fd);
    if (fails) {
        errno = plan.error;
        result = -1;
    }
    return result;
}

long
syscall(long number, ...)
{
    static void *slot;
    long (*call)(long, ...) = real(&slot, "syscall");
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(list, long);
    }
    va_end(list);
    if (number == SYS_pidfd_open && due(CALL_pidfd_open)) {
        return -1;
    }
    return call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- memory, as the interpreter hands it out ---- */

static PyMemAllocatorEx originals[3];

static void *
memory_malloc(void *ctx, size_t size)
{
    PyMemAllocatorEx *original = ctx;
    return due(CALL_memory) ? NULL : original->malloc(original->ctx, size);
}

static void *
memory_calloc(void *ctx, size_t n, size_t size)
{
    PyMemAllocatorEx *original = ctx;
    return due(CALL_memory) ? NULL : original->calloc(original->ctx, n, size);
}

static void *
memory_realloc(void *ctx, void *block, size_t size)
{
    PyMemAllocatorEx *original = ctx;
    return due(CALL_memory) ? NULL
                            : original->realloc(original->ctx, block, size);
}

static void
memory_free(void *ctx, void *block)
{
    PyMemAllocatorEx *original = ctx;
    original->free(original->ctx, block);
}

static void
memory_wrap(void)
{
    for (int domain = 0; domain < 3; domain++) {
        PyMemAllocatorEx *original = &originals[domain];
        PyMem_GetAllocator((PyMemAllocatorDomain)domain, original);
        PyMemAllocatorEx wrapped = {original, memory_malloc, memory_calloc,
                                    memory_realloc, memory_free};
        PyMem_SetAllocator((PyMemAllocatorDomain)domain, &wrapped);
    }
}

/* ---- memory, as our extension module gets it from the C library ---- */

static int
native_look(struct dl_phdr_info *info, size_t Py_UNUSED(size),
            void *Py_UNUSED(arg))
{
    if (strstr(info->dlpi_name, "/trio_c/_native") == NULL) {
        return 0;
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) {
            native_first = info->dlpi_addr + part->p_vaddr;
            native_last = native_first + part->p_memsz;
        }
    }
    return 1;
}

/* A sanitizer has an allocator of its own. */
#ifndef WITHOUT_MALLOC
static bool
native_due(void *caller)
{
    return is_native(caller) && due(CALL_native_memory);
}

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

void *
malloc(size_t size)
{
    return native_due(__builtin_return_address(0)) ? NULL
                                                   : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
    return native_due(__builtin_return_address(0))
               ? NULL
               : __libc_calloc(count, size);
}

void *
realloc(void *block, size_t size)
{
    return native_due(__builtin_return_address(0))
               ? NULL
               : __libc_realloc(block, size);
}
#endif

/* ---- the module ---- */

/* arm(name, first, count, errno). An unknown name: calls are counted. */
static PyObject *
inject_arm(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    long first, count;
    int error;
    if (!PyArg_ParseTuple(args, "slli", &name, &first, &count, &error)) {
        return NULL;
    }
    memset(&plan, 0, sizeof(plan));
    plan.what = -1;
    for (int i = 0; i < CALL_COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            plan.what = i;
        }
    }
    plan.first = first;
    plan.count = count;
    plan.error = error;
    plan.process = getpid();
    dl_iterate_phdr(native_look, NULL);
    plan.on = true;
    return PyLong_FromLong(0);
}

/* disarm(): needs no memory. */
static PyObject *
inject_disarm(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    plan.on = false;
    return PyLong_FromLong(0);
}

/* result() -> (how many calls have failed, and were spared, {name: how many were made}) */
static PyObject *
inject_result(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyObject *made = PyDict_New();
    for (int i = 0; made != NULL && i < CALL_COUNT; i++) {
        PyObject *n = PyLong_FromLong(plan.made[i]);
        if (n == NULL || PyDict_SetItemString(made, names[i], n) < 0) {
            Py_CLEAR(made);
        }
        Py_XDECREF(n);
    }
    return made == NULL ? NULL : Py_BuildValue("llN", plan.failed, plan.spared, made);
}

static PyMethodDef inject_methods[] = {
    {"arm", inject_arm, METH_VARARGS, NULL},
    {"disarm", inject_disarm, METH_NOARGS, NULL},
    {"result", inject_result, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef inject_module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "inject",
    .m_size = -1,
    .m_methods = inject_methods,
};

PyMODINIT_FUNC
PyInit_inject(void)
{
    void *stack[1];
    /* The first call loads a library. */
    (void)backtrace(stack, 1);
    memory_wrap();
    return PyModule_Create(&inject_module);
}

/* When memory or descriptors run out: an error, nothing leaked, and what was
 * there before still works.
 *
 * The program is linked with --wrap, so the allocator's functions come here.
 */
#define _GNU_SOURCE

#include "base/heap.h"
#include "tests/poll_support.h"

#include <errno.h>
#include <stdlib.h>
#if SYSTEM_IS_POSIX
#  include <fcntl.h>
#  include <sys/resource.h>
#endif

/* How many allocations succeed before all fail; -1: all succeed. */
static int failures_countdown = -1;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);

static bool
failures_due(void)
{
    if (failures_countdown > 0) {
        failures_countdown--;
    }
    return failures_countdown == 0;
}

void *
__wrap_malloc(size_t size)
{
    return failures_due() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return failures_due() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *pointer, size_t size)
{
    return failures_due() ? NULL : __real_realloc(pointer, size);
}

/* The next call makes `good` allocations and fails in the one after. */
static void
failures_after(int good)
{
    failures_countdown = good + 1;
}

static void
failures_off(void)
{
    failures_countdown = -1;
}

static void
test_heap_push(const void *arg)
{
    enum { COUNT = 200 };
    tc_heap_node nodes[COUNT];
    tc_heap heap;
    int refused = 0;

    (void)arg;
    tc_heap_init(&heap);
    for (int i = 0; i < COUNT; i++) {
        size_t size = tc_heap_size(&heap);
        int err;

        tc_heap_init_node(&nodes[i]);
        nodes[i].key = (double)(COUNT - i);
        failures_after(0);
        err = tc_heap_push(&heap, &nodes[i]);
        failures_off();
        if (err < 0) {
            CHECK_EQ(err, -ENOMEM);
            CHECK(!tc_heap_contains(&nodes[i]));
            CHECK_EQ(tc_heap_size(&heap), size);
            refused++;
            CHECK_EQ(tc_heap_push(&heap, &nodes[i]), 0);
        }
    }
    CHECK_EQ(refused, 5);       /* at 0, 16, 32, 64 and 128 */
    /* A block that cannot be shrunk is kept. */
    failures_after(0);
    for (int i = COUNT - 1; i >= 0; i--) {
        CHECK(tc_heap_top(&heap) == &nodes[i]);
        tc_heap_remove(&heap, &nodes[i]);
    }
    failures_off();
    CHECK_EQ(heap.capacity, 256);
    tc_heap_fini(&heap);
}

static void
test_open_memory(const void *arg)
{
    const tc_poll_ops *ops = arg;
    tc_poll *poll = NULL;
    int first = lowest_free_fd();
    int good = 0;

    for (;; good++) {
        int err;

        failures_after(good);
        err = ops->open(&poll);
        failures_off();
        if (err == 0) {
            break;
        }
        CHECK_EQ(err, -ENOMEM);
        CHECK(poll == NULL);
        CHECK_EQ(lowest_free_fd(), first);
    }
    CHECK(good > 0);
    expect_none(poll);
    ops->close(poll);
    CHECK_EQ(lowest_free_fd(), first);
    ops->close(NULL);
}

#if SYSTEM_IS_POSIX
static void
test_open_descriptors(const void *arg)
{
    const tc_poll_ops *ops = arg;
    int first = lowest_free_fd();
    struct rlimit limit;
    tc_poll *poll = NULL;
    int used = 0;

    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    for (;; used++) {
        int err;

        limit.rlim_cur = (rlim_t)first + (rlim_t)used;
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
        err = ops->open(&poll);
        limit.rlim_cur = (rlim_t)first + 20;
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (err == 0) {
            break;
        }
        CHECK_EQ(err, -EMFILE);
        CHECK(poll == NULL);
        CHECK_EQ(lowest_free_fd(), first);
    }
    CHECK(used >= 1);
    /* No child program inherits what was opened. */
    for (int fd = first; fd < first + used; fd++) {
        CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    }
    ops->close(poll);
    CHECK_EQ(lowest_free_fd(), first);
}
#endif

/* Arming and waiting with an allocator that fails at every point in turn. */
static void
test_arm_and_wait(const void *arg)
{
    enum { COUNT = 100 };
    const tc_poll_ops *ops = arg;
    tc_poll_event events[COUNT];
    tc_poll *poll = NULL;
    int fds[COUNT];
    int ends[2];
    int seen = 0;

    CHECK_EQ(ops->open(&poll), 0);
    make_pipe(ends);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = dup_fd(ends[1]);
        for (int good = 0;; good++) {
            int err;

            failures_after(good);
            err = ops->arm(poll, fds[i], TC_POLL_WRITE, (uint64_t)i);
            failures_off();
            if (err == 0) {
                break;
            }
            CHECK_EQ(err, -ENOMEM);
            /* Nothing is armed for it, and all others still are. */
            CHECK_EQ(poll_wait(poll, events, COUNT, 0), i);
            for (int k = 0; k < i; k++) {
                poll_arm(poll, fds[k], TC_POLL_WRITE, (uint64_t)k);
            }
        }
    }
    for (int good = 0;; good++) {
        failures_after(good);
        seen = poll_wait(poll, events, COUNT, 0);
        failures_off();
        if (seen >= 0) {
            break;
        }
        CHECK_EQ(seen, -ENOMEM);
    }
    CHECK_EQ(seen, COUNT);
    for (int i = 0; i < COUNT; i++) {
        close_fd(fds[i]);
    }
    close_fd(ends[0]);
    close_fd(ends[1]);
    ops->close(poll);
}

#define ON_ANY_BACKEND(name, ops) \
    {name "/open_memory", test_open_memory, ops}, \
    {name "/arm_and_wait", test_arm_and_wait, ops}

#define ON_BACKEND(name, ops) \
    ON_ANY_BACKEND(name, ops), \
    {name "/open_descriptors", test_open_descriptors, ops}

int
main(int argc, char **argv)
{
    static const tc_test tests[] = {
        {"heap/push", test_heap_push, NULL},
#if TC_POLL_HAVE_EPOLL
        ON_BACKEND("epoll", &tc_poll_ops_epoll),
#endif
#if TC_POLL_HAVE_KQUEUE
        ON_BACKEND("kqueue", &tc_poll_ops_kqueue),
#endif
#if TC_POLL_HAVE_POLL
        ON_BACKEND("poll", &tc_poll_ops_poll),
#endif
#if TC_POLL_HAVE_IOCP
        ON_ANY_BACKEND("iocp", &tc_poll_ops_iocp),
#endif
    };

    return tc_test_main(argc, argv, tests, ARRAY_LENGTH(tests));
}

/* What the completion port can do beyond the contract of all pollers
 * (poll/iocp.h), and what it does of its own: many polls, ends.
 *
 * The program is linked with --wrap, to count blocks of memory: there is no
 * leak checker where it runs.
 */
#include "poll/iocp.h"
#include "tests/poll_support.h"

#include <errno.h>
#include <stdatomic.h>
#include <windows.h>

#define KEY 7

/* ---- memory ---- */

static atomic_long blocks;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *block);

void *
__wrap_malloc(size_t size)
{
    atomic_fetch_add(&blocks, 1);
    return __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    atomic_fetch_add(&blocks, 1);
    return __real_calloc(count, size);
}

void
__wrap_free(void *block)
{
    atomic_fetch_sub(&blocks, block != NULL);
    __real_free(block);
}

/* ---- reports ---- */

/* The next wait reports that something has come for others, once. */
static void
expect_raw(tc_poll *poll)
{
    expect_one(poll, TC_POLL_RAW, 0);
}

static void
expect_taken(tc_poll *poll, uintptr_t key, OVERLAPPED *overlapped,
             uint32_t bytes)
{
    tc_iocp_completion completion;

    CHECK_EQ(tc_iocp_take(poll, &completion, 1), 1);
    CHECK_EQ(completion.key, key);
    CHECK(completion.overlapped == overlapped);
    CHECK_EQ(completion.bytes, bytes);
}

static void
expect_nothing_to_take(tc_poll *poll)
{
    tc_iocp_completion completion;

    CHECK_EQ(tc_iocp_take(poll, &completion, 1), 0);
}

/* ---- packets of others ---- */

static void
case_posts(tc_poll *poll)
{
    OVERLAPPED *const odd = (OVERLAPPED *)(uintptr_t)0x1235;

    expect_nothing_to_take(poll);
    CHECK_EQ(tc_iocp_post(poll, 0, NULL, 0), 0);
    CHECK_EQ(tc_iocp_post(poll, TC_IOCP_KEY_MAX, odd, UINT32_MAX), 0);
    CHECK(PostQueuedCompletionStatus(tc_iocp_port(poll), 3, 2, odd));
    expect_raw(poll);
    expect_raw(poll);                   /* until they are taken */
    expect_taken(poll, 0, NULL, 0);
    expect_raw(poll);
    expect_taken(poll, TC_IOCP_KEY_MAX, odd, UINT32_MAX);
    expect_taken(poll, 2, odd, 3);
    expect_nothing_to_take(poll);
    expect_none(poll);
}

/* More than one wait can fetch, in their order, and nothing else is lost. */
static void
case_many_posts(tc_poll *poll)
{
    enum { COUNT = 1000 };
    int fds[2];
    int taken = 0;
    int woken = 0;
    int written = 0;

    make_tcp_pair(fds);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(tc_iocp_post(poll, KEY, NULL, (uint32_t)i), 0);
        if (i == COUNT / 2) {
            poll_arm(poll, fds[0], TC_POLL_WRITE, 5);
            poll_wake(poll);
        }
    }
    while (taken < COUNT || woken == 0 || written == 0) {
        tc_poll_event events[3];
        tc_iocp_completion completions[100];
        int n = poll_wait(poll, events, 3, TC_POLL_FOREVER);
        int raw = 0;

        CHECK(n >= 1 && n <= 3);
        for (int i = 0; i < n; i++) {
            raw += events[i].token == TC_POLL_RAW;
            woken += events[i].token == TC_POLL_WAKE;
            written += events[i].token == 5;
        }
        CHECK(raw <= 1);
        n = tc_iocp_take(poll, completions, 100);
        CHECK((n > 0) == (raw > 0));
        for (int i = 0; i < n; i++) {
            CHECK_EQ(completions[i].bytes, taken++);
        }
    }
    CHECK_EQ(woken, 1);
    CHECK_EQ(written, 1);
    expect_none(poll);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

/* While nobody takes what has come, everything else goes on. */
static void
case_untaken(tc_poll *poll)
{
    tc_poll_event events[4];
    int fds[2];

    make_tcp_pair(fds);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(tc_iocp_post(poll, KEY, NULL, 0), 0);
    }
    expect_raw(poll);
    poll_arm(poll, fds[0], TC_POLL_WRITE, 1);
    CHECK_EQ(poll_wait(poll, events, 4, TC_POLL_FOREVER), 2);
    CHECK_EQ(events[0].token, TC_POLL_RAW);
    CHECK_EQ(events[1].token, 1);
    for (int i = 0; i < 3; i++) {
        expect_taken(poll, KEY, NULL, 0);
    }
    expect_none(poll);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

/* ---- operations of others ---- */

static void
make_named_pipe(HANDLE *reader, HANDLE *writer)
{
    char name[64];

    wsprintfA(name, "\\\\.\\pipe\\trio_c-test-%lu", GetCurrentProcessId());
    *reader = CreateNamedPipeA(
        name, PIPE_ACCESS_INBOUND | FILE_FLAG_OVERLAPPED, PIPE_TYPE_BYTE, 1,
        4096, 4096, 0, NULL);
    CHECK(*reader != INVALID_HANDLE_VALUE);
    *writer = CreateFileA(name, GENERIC_WRITE, 0, NULL, OPEN_EXISTING,
                          FILE_FLAG_OVERLAPPED, NULL);
    CHECK(*writer != INVALID_HANDLE_VALUE);
}

static void
begin_read(HANDLE reader, char *buffer, DWORD size, OVERLAPPED *operation)
{
    *operation = (OVERLAPPED){0};
    CHECK(!ReadFile(reader, buffer, size, NULL, operation));
    CHECK_EQ(GetLastError(), ERROR_IO_PENDING);
}

static void
case_operations(tc_poll *poll)
{
    OVERLAPPED reading;
    OVERLAPPED writing = {0};
    HANDLE reader;
    HANDLE writer;
    char buffer[10];

    make_named_pipe(&reader, &writer);
    CHECK_EQ(tc_iocp_register(poll, reader, KEY), 0);
    begin_read(reader, buffer, sizeof(buffer), &reading);
    expect_none(poll);
    CHECK(WriteFile(writer, "hello", 5, NULL, &writing)
          || GetLastError() == ERROR_IO_PENDING);
    expect_raw(poll);
    expect_taken(poll, KEY, &reading, 5);
    CHECK_EQ(tc_iocp_error(&reading), 0);
    expect_none(poll);                  /* the writer is not registered */

    begin_read(reader, buffer, sizeof(buffer), &reading);
    CHECK(CancelIoEx(reader, &reading));
    expect_raw(poll);
    expect_taken(poll, KEY, &reading, 0);
    CHECK_EQ(tc_iocp_error(&reading), ERROR_OPERATION_ABORTED);

    begin_read(reader, buffer, sizeof(buffer), &reading);
    CloseHandle(writer);
    expect_raw(poll);
    expect_taken(poll, KEY, &reading, 0);
    CHECK_EQ(tc_iocp_error(&reading), ERROR_BROKEN_PIPE);
    expect_none(poll);
    CloseHandle(reader);
    CHECK_EQ(tc_iocp_register(poll, reader, KEY), ERROR_INVALID_HANDLE);
}

/* ---- polls ---- */

/* More than one handle of the driver takes. */
static void
case_devices(tc_poll *poll)
{
    enum { COUNT = 1200 };
    static tc_poll_event events[COUNT + 1];
    static int fds[COUNT];
    static bool seen[COUNT];
    int ends[2];

    make_tcp_pair(ends);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = dup_fd(ends[0]);
    }
    for (int round = 0; round < 3; round++) {
        int count = 0;

        /* All given up, at first while their table grows. */
        for (int i = 0; i < COUNT; i++) {
            poll_arm(poll, fds[i], TC_POLL_READ, (uint64_t)i);
        }
        for (int i = 0; i < COUNT; i++) {
            poll_forget(poll, fds[i]);
        }
        put(ends[1], 1);
        until_ready(ends[0], TC_POLL_READ);
        expect_none(poll);
        take(ends[0], 1);
        for (int i = 0; i < COUNT; i++) {
            poll_arm(poll, fds[i], TC_POLL_READ, (uint64_t)i);
            seen[i] = false;
        }
        expect_none(poll);
        put(ends[1], 1);
        while (count < COUNT) {
            int n = poll_wait(poll, events, COUNT + 1, TC_POLL_FOREVER);

            CHECK(n > 0);
            for (int k = 0; k < n; k++) {
                CHECK(events[k].token < COUNT && !seen[events[k].token]);
                CHECK_EQ(events[k].ready, TC_POLL_READ);
                seen[events[k].token] = true;
            }
            count += n;
        }
        expect_none(poll);
        take(ends[0], 1);
    }
    for (int i = 0; i < COUNT; i++) {
        close_fd(fds[i]);
    }
    close_fd(ends[0]);
    close_fd(ends[1]);
}

/* Packets that mean nothing hide no others. */
static void
case_hidden(tc_poll *poll)
{
    tc_poll_event event;
    int fds[2];

    make_tcp_pair(fds);
    for (int stale = 0; stale < 5; stale++) {
        for (int i = 0; i < stale; i++) {
            poll_arm(poll, fds[0], TC_POLL_READ, 1);
            poll_forget(poll, fds[0]);
        }
        poll_wake(poll);
        CHECK_EQ(poll_wait(poll, &event, 1, 0), 1);
        CHECK_EQ(event.token, TC_POLL_WAKE);
    }
    close_fd(fds[0]);
    close_fd(fds[1]);
}

typedef struct brief_wait {
    tc_poll *poll;
    atomic_bool returned;
} brief_wait;

static DWORD WINAPI
brief_wait_main(void *arg)
{
    brief_wait *self = arg;
    tc_poll_event event;

    CHECK_EQ(poll_wait(self->poll, &event, 1, 1000000), 0);
    atomic_store(&self->returned, true);
    return 0;
}

/* A wait ends in time though the owner sees to it that the port is never
 * empty: for each packet that the wait can take there is another. */
static void
case_changes_forever(tc_poll *poll)
{
    brief_wait other = {.poll = poll};
    HANDLE thread;
    int fds[2];

    make_tcp_pair(fds);
    for (int i = 0; i < 3000; i++) {
        poll_arm(poll, fds[0], TC_POLL_READ, 1);
    }
    thread = CreateThread(NULL, 0, brief_wait_main, &other, 0, NULL);
    CHECK(thread != NULL);
    while (!atomic_load(&other.returned)) {
        for (int i = 0; i < 10; i++) {
            poll_arm(poll, fds[0], TC_POLL_READ, 1);
        }
    }
    CHECK_EQ(WaitForSingleObject(thread, INFINITE), WAIT_OBJECT_0);
    CloseHandle(thread);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

/* A socket that is closed without notice wakes who waits for it, once. */
static void
case_local_close(tc_poll *poll)
{
    int fds[2];

    make_tcp_pair(fds);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    expect_none(poll);
    close_fd(fds[0]);
    expect_one(poll, 1, TC_POLL_ERR);
    expect_none(poll);
    close_fd(fds[1]);
}

/* What is no socket: a handle of another kind, and a closed one. */
static void
case_no_sockets(tc_poll *poll)
{
    HANDLE event = CreateEventA(NULL, TRUE, TRUE, NULL);
    HANDLE reader;
    HANDLE writer;

    make_named_pipe(&reader, &writer);
    CHECK_EQ(poll->ops->arm(poll, (int)(intptr_t)event, BOTH, 1), -EBADF);
    CHECK_EQ(poll->ops->arm(poll, (int)(intptr_t)reader, BOTH, 1), -EBADF);
    CHECK_EQ(poll->ops->arm(poll, (int)(intptr_t)writer, BOTH, 1), -EBADF);
    CHECK_EQ(poll->ops->arm(poll, 0, BOTH, 1), -EBADF);
    CHECK_EQ(poll->ops->forget(poll, (int)(intptr_t)event), 0);
    expect_none(poll);
    CloseHandle(event);
    CloseHandle(reader);
    CloseHandle(writer);
}

/* Closing with polls in flight, done, replaced and forgotten, and with packets
 * of others; the sockets have nothing to do with it. */
static void
case_close(tc_poll *other)
{
    const tc_poll_ops *ops = other->ops;
    long blocks_before = atomic_load(&blocks);
    int fds[40][2];

    for (int i = 0; i < 40; i++) {
        make_tcp_pair(fds[i]);
    }
    for (int round = 0; round < 20; round++) {
        tc_poll *poll = NULL;

        CHECK_EQ(ops->open(&poll), 0);
        for (int i = 0; i < 40; i++) {
            poll_arm(poll, fds[i][0], i % 3 ? TC_POLL_READ : TC_POLL_WRITE, 1);
            if (i % 4 == 0) {
                poll_arm(poll, fds[i][0], BOTH, 1);
            }
            if (i % 5 == 0) {
                poll_forget(poll, fds[i][0]);
            }
            CHECK_EQ(tc_iocp_post(poll, KEY, NULL, 0), 0);
        }
        poll_wake(poll);
        if (round % 2) {
            tc_poll_event events[10];

            CHECK_EQ(poll_wait(poll, events, 10, TC_POLL_FOREVER) > 0, 1);
        }
        ops->close(poll);
        CHECK_EQ(atomic_load(&blocks), blocks_before);
    }
    for (int i = 0; i < 40; i++) {
        put(fds[i][0], 1);
        take(fds[i][1], 1);
        close_fd(fds[i][0]);
        close_fd(fds[i][1]);
    }
}

/* What is replaced or forgotten is given back, and takes no room of the
 * driver's handles. */
static void
case_given_back(tc_poll *poll)
{
    enum { ROUNDS = 1500 };
    long blocks_before = atomic_load(&blocks);
    DWORD before;
    DWORD after;
    int fds[2];

    make_tcp_pair(fds);
    CHECK(GetProcessHandleCount(GetCurrentProcess(), &before));
    for (int i = 0; i < ROUNDS; i++) {
        poll_arm(poll, fds[0], TC_POLL_READ, 1);
        if (i % 2) {
            poll_forget(poll, fds[0]);
        }
        if (i % 100 == 99) {
            expect_none(poll);
            CHECK_EQ(atomic_load(&blocks), blocks_before);
        }
    }
    CHECK(GetProcessHandleCount(GetCurrentProcess(), &after));
    CHECK_EQ(after, before);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

/* Handles are given back. */
static void
case_handles(tc_poll *other)
{
    const tc_poll_ops *ops = other->ops;
    DWORD before = 0;
    DWORD after;

    for (int round = 0; round < 10; round++) {
        tc_poll *poll = NULL;
        int fds[2];

        make_tcp_pair(fds);
        CHECK_EQ(ops->open(&poll), 0);
        poll_arm(poll, fds[0], TC_POLL_READ, 1);
        ops->close(poll);
        close_fd(fds[0]);
        close_fd(fds[1]);
        CHECK(GetProcessHandleCount(GetCurrentProcess(), &after));
        if (round > 1) {
            CHECK_EQ(after, before);
        }
        before = after;
    }
}

int
main(int argc, char **argv)
{
    static const tc_poll_case cases[] = {
        {"posts", case_posts, 0},
        {"many_posts", case_many_posts, 0},
        {"untaken", case_untaken, 0},
        {"operations", case_operations, 0},
        {"devices", case_devices, 0},
        {"hidden", case_hidden, 0},
        {"changes_forever", case_changes_forever, 0},
        {"local_close", case_local_close, 0},
        {"no_sockets", case_no_sockets, 0},
        {"given_back", case_given_back, 0},
        {"close", case_close, 0},
        {"handles", case_handles, 0},
    };

    return tc_poll_cases_on("iocp", argc, argv, cases, ARRAY_LENGTH(cases));
}

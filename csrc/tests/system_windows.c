/* The system, if it is Windows, or wine. */
#include "tests/system.h"

#if !SYSTEM_IS_POSIX

#include "poll/poll.h"

#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>

#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_PATH_LENGTH 4096

/* Of a low number, for replace_fd(). */
static HANDLE spare_handle;

/* ---- processes ---- */

void
system_start(void)
{
    WSADATA unused;

    CHECK_EQ(WSAStartup(MAKEWORD(2, 2), &unused), 0);
    /* Lines end as elsewhere, and a crash asks nobody what to do. */
    _setmode(_fileno(stdout), _O_BINARY);
    _setmode(_fileno(stderr), _O_BINARY);
    spare_handle = CreateEventA(NULL, TRUE, FALSE, NULL);
    CHECK(spare_handle != NULL);
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
}

bool
system_run_apart(const char *program, const tc_test *test, size_t index)
{
    wchar_t path[MAX_PATH_LENGTH];
    wchar_t command[MAX_PATH_LENGTH + 32];
    STARTUPINFOW startup = {.cb = sizeof(startup)};
    PROCESS_INFORMATION child;
    DWORD status = 1;

    (void)program;
    (void)test;
    fflush(NULL);
    if (GetModuleFileNameW(NULL, path, MAX_PATH_LENGTH) == 0) {
        return false;
    }
    swprintf(command, MAX_PATH_LENGTH + 32, L"\"%ls\" -i %u", path,
             (unsigned)index);
    if (!CreateProcessW(path, command, NULL, NULL, TRUE, 0, NULL, NULL,
                        &startup, &child)) {
        fprintf(stderr, "CreateProcess: error %lu\n", GetLastError());
        return false;
    }
    if (WaitForSingleObject(child.hProcess, SYSTEM_TIMEOUT_S * 1000)
        != WAIT_OBJECT_0) {
        fprintf(stderr, "it hangs\n");
        TerminateProcess(child.hProcess, 1);
    }
    else {
        GetExitCodeProcess(child.hProcess, &status);
        if (status > 1) {
            fprintf(stderr, "ended with status 0x%08lx\n", status);
        }
    }
    CloseHandle(child.hThread);
    CloseHandle(child.hProcess);
    return status == 0;
}

/* ---- sockets ---- */

static SOCKET
socket_of(int fd)
{
    return (SOCKET)(intptr_t)fd;
}

static int
fd_of(SOCKET socket)
{
    int fd = (int)(intptr_t)socket;

    CHECK(socket != INVALID_SOCKET);
    CHECK(socket_of(fd) == socket);
    return fd;
}

static int
make_socket(void)
{
    u_long yes = 1;
    SOCKET new_socket = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(new_socket != INVALID_SOCKET);
    CHECK_EQ(ioctlsocket(new_socket, FIONBIO, &yes), 0);
    return fd_of(new_socket);
}

int
make_tcp_listener(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = make_socket();

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_EQ(bind(socket_of(fd), (struct sockaddr *)&address,
                  sizeof(address)),
             0);
    CHECK_EQ(listen(socket_of(fd), 10), 0);
    return fd;
}

/* Begins to connect fd to where the listener listens. */
static void
connect_to(int fd, int listener)
{
    struct sockaddr_in address;
    int length = sizeof(address);

    CHECK_EQ(getsockname(socket_of(listener), (struct sockaddr *)&address,
                         &length),
             0);
    if (connect(socket_of(fd), (struct sockaddr *)&address, sizeof(address))
        != 0) {
        CHECK_EQ(WSAGetLastError(), WSAEWOULDBLOCK);
    }
}

int
make_tcp_client(int listener)
{
    int fd = make_socket();

    connect_to(fd, listener);
    return fd;
}

int
make_refused_client(void)
{
    int bound = make_socket();
    int fd = make_socket();
    struct sockaddr_in address = {.sin_family = AF_INET};

    /* Bound, so that nobody else gets the port, but not listening. */
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_EQ(bind(socket_of(bound), (struct sockaddr *)&address,
                  sizeof(address)),
             0);
    connect_to(fd, bound);
    return fd;
}

int
accept_from(int listener)
{
    u_long yes = 1;
    SOCKET new_socket;

    until_ready(listener, TC_POLL_READ);
    new_socket = accept(socket_of(listener), NULL, NULL);
    CHECK(new_socket != INVALID_SOCKET);
    CHECK_EQ(ioctlsocket(new_socket, FIONBIO, &yes), 0);
    return fd_of(new_socket);
}

/* The listener stays, so that of the two ends the first one gets the lowest
 * free number, as elsewhere. */
void
make_tcp_pair(int fds[2])
{
    static int listener = -1;
    BOOL yes = TRUE;

    if (listener < 0) {
        listener = make_tcp_listener();
    }
    fds[0] = make_tcp_client(listener);
    fds[1] = accept_from(listener);
    until_ready(fds[0], TC_POLL_WRITE);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(setsockopt(socket_of(fds[i]), IPPROTO_TCP, TCP_NODELAY,
                            (const char *)&yes, sizeof(yes)),
                 0);
    }
}

void
make_socketpair(int fds[2])
{
    make_tcp_pair(fds);
}

void
make_pipe(int fds[2])
{
    make_tcp_pair(fds);
}

int
dup_fd(int fd)
{
    WSAPROTOCOL_INFOW info;

    CHECK_EQ(WSADuplicateSocketW(socket_of(fd), GetCurrentProcessId(), &info),
             0);
    return fd_of(WSASocketW(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO,
                            FROM_PROTOCOL_INFO, &info, 0,
                            WSA_FLAG_OVERLAPPED));
}

void
replace_fd(int fd, int by)
{
    /* The lowest free number is taken first, and duplicating takes one for a
     * moment, before the one that stays. */
    CloseHandle(spare_handle);
    close_fd(fd);
    CHECK_EQ(dup_fd(by), fd);
    spare_handle = CreateEventA(NULL, TRUE, FALSE, NULL);
}

void
close_fd(int fd)
{
    CHECK_EQ(closesocket(socket_of(fd)), 0);
}

void
reset_fd(int fd)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};

    CHECK_EQ(setsockopt(socket_of(fd), SOL_SOCKET, SO_LINGER,
                        (const char *)&linger, sizeof(linger)),
             0);
    close_fd(fd);
}

void
shut_fd(int fd, bool reading)
{
    (void)shutdown(socket_of(fd), reading ? SD_RECEIVE : SD_SEND);
}

/* ---- bytes ---- */

long
write_fd(int fd, const void *bytes, size_t size)
{
    return send(socket_of(fd), bytes, (int)size, 0);
}

long
read_fd(int fd, void *bytes, size_t size)
{
    return recv(socket_of(fd), bytes, (int)size, 0);
}

bool
would_block(void)
{
    return WSAGetLastError() == WSAEWOULDBLOCK;
}

void
put(int fd, int count)
{
    while (count-- > 0) {
        CHECK_EQ(write_fd(fd, "x", 1), 1);
    }
}

void
take(int fd, int count)
{
    char byte;

    while (count-- > 0) {
        until_ready(fd, TC_POLL_READ);
        CHECK_EQ(read_fd(fd, &byte, 1), 1);
    }
}

void
fill(int fd)
{
    static const char bytes[65536];

    /* What was taken may be passed on a moment later and make room again. */
    for (int i = 0; i < 3; i++) {
        while (write_fd(fd, bytes, sizeof(bytes)) > 0) {
        }
        CHECK(would_block());
        Sleep(2);
    }
}

int
drain(int fd)
{
    char bytes[65536];
    long n;
    int total = 0;

    while ((n = read_fd(fd, bytes, sizeof(bytes))) > 0) {
        total += (int)n;
    }
    CHECK(n == 0 || would_block());
    return total;
}

/* ---- looking ---- */

/* Through select(), which knows nothing of completion ports. */
static uint32_t
look(int fd, uint32_t interest, struct timeval *timeout)
{
    fd_set reads;
    fd_set writes;
    fd_set errors;

    FD_ZERO(&reads);
    FD_ZERO(&writes);
    FD_ZERO(&errors);
    if (interest & TC_POLL_READ) {
        FD_SET(socket_of(fd), &reads);
    }
    if (interest & TC_POLL_WRITE) {
        FD_SET(socket_of(fd), &writes);
    }
    FD_SET(socket_of(fd), &errors);
    CHECK(select(0, &reads, &writes, &errors, timeout) >= 0);
    return (FD_ISSET(socket_of(fd), &reads) ? TC_POLL_READ : 0u)
           | (FD_ISSET(socket_of(fd), &writes) ? TC_POLL_WRITE : 0u);
}

void
until_ready(int fd, uint32_t directions)
{
    uint32_t seen = 0;

    while ((seen & directions) != directions) {
        seen |= look(fd, directions & ~seen, NULL);
    }
}

uint32_t
look_at(int fd, uint32_t interest)
{
    struct timeval none = {0, 0};

    return look(fd, interest, &none);
}

int
lowest_free_fd(void)
{
    int fd = make_socket();

    close_fd(fd);
    return fd;
}

#endif

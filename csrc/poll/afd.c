/* AFD polls.
 *
 * Facts about AFD, the driver behind Windows' sockets, that this file relies
 * on (it is not in the manuals; event loops have used it for many years):
 *   - A handle of the driver that belongs to no socket can poll sockets of
 *     others.  Opening any name below \Device\Afd gives one.
 *   - A poll is level-triggered when it is submitted and completes once, with
 *     the events found.  At a completion port that is a packet in any case,
 *     also if it completes at once.
 *   - A poll that is not exclusive does not disturb others of the same socket.
 *   - The cost of a poll grows with the number of those in flight on the same
 *     handle, so that thousands on one would cost more than linearly.
 *   - It wants the socket of the base provider, not one that a layered
 *     provider (a filter, by now a rarity) has wrapped around it.
 *   - Closing the socket ends its polls with LOCAL_CLOSE.
 */
#include "poll/afd.h"

#if TC_POLL_HAVE_IOCP

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <winternl.h>

#define AFD_DEVICE_NAME L"\\\\.\\GLOBALROOT\\Device\\Afd\\trio_c"
#define AFD_IOCTL_POLL 0x00012024ul

/* Polls per handle. */
#define AFD_DEVICE_MAX 500

/* How many providers may be layered. */
#define AFD_LAYERS_MAX 32

#define AFD_RECEIVE 0x0001u
#define AFD_SEND 0x0004u
#define AFD_DISCONNECT 0x0008u          /* the peer has shut down */
#define AFD_ABORT 0x0010u               /* the connection was reset */
#define AFD_LOCAL_CLOSE 0x0020u
#define AFD_ACCEPT 0x0080u
#define AFD_CONNECT_FAIL 0x0100u

#define AFD_STATUS_CANCELLED ((NTSTATUS)0xc0000120l)

/* Older SDKs lack some of these. */
#define AFD_SIO_BASE_HANDLE 0x48000022ul
#define AFD_SIO_BSP_HANDLE_SELECT 0x4800001cul
#define AFD_SIO_BSP_HANDLE_POLL 0x4800001dul

_Static_assert(offsetof(tc_afd_op, overlapped) == 0,
               "completions name an operation by its OVERLAPPED");
_Static_assert(offsetof(OVERLAPPED, InternalHigh)
                   == offsetof(IO_STATUS_BLOCK, Information),
               "an OVERLAPPED begins with an IO_STATUS_BLOCK");

int
tc_afd_error(DWORD code)
{
    switch (code) {
    case ERROR_SUCCESS:
        return 0;
    case ERROR_INVALID_HANDLE:
    case WSAENOTSOCK:
    case WSAEBADF:
        return -EBADF;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_NO_SYSTEM_RESOURCES:
    case ERROR_NOT_ENOUGH_QUOTA:
    case ERROR_WORKING_SET_QUOTA:
    case ERROR_COMMITMENT_LIMIT:
    case WSAENOBUFS:
        return -ENOMEM;
    case ERROR_TOO_MANY_OPEN_FILES:
    case WSAEMFILE:
        return -EMFILE;
    case ERROR_ACCESS_DENIED:
    case WSAEACCES:
        return -EACCES;
    case ERROR_INVALID_PARAMETER:
        return -EINVAL;
    default:
        return -EIO;
    }
}

/* ---- devices ---- */

/* Open one more device, the first in the list. */
static int
afd_device_open(tc_afd *afd)
{
    tc_afd_device *device = calloc(1, sizeof(*device));
    int err;

    if (device == NULL) {
        return -ENOMEM;
    }
    device->handle = CreateFileW(AFD_DEVICE_NAME, SYNCHRONIZE,
                                 FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                                 OPEN_EXISTING, FILE_FLAG_OVERLAPPED, NULL);
    if (device->handle == INVALID_HANDLE_VALUE) {
        err = tc_afd_error(GetLastError());
        goto error_free;
    }
    /* Nobody waits for the handle itself: no need to signal it each time. */
    if (CreateIoCompletionPort(device->handle, afd->port, afd->key, 0) == NULL
        || !SetFileCompletionNotificationModes(
            device->handle, FILE_SKIP_SET_EVENT_ON_HANDLE)) {
        err = tc_afd_error(GetLastError());
        goto error_close;
    }
    device->next = afd->devices;
    afd->devices = device;
    return 0;

error_close:
    (void)CloseHandle(device->handle);
error_free:
    free(device);
    return err;
}

/* Make the first device one that can take an operation. */
static int
afd_device_choose(tc_afd *afd)
{
    for (tc_afd_device **at = &afd->devices; *at != NULL; at = &(*at)->next) {
        tc_afd_device *device = *at;

        if (device->in_flight < AFD_DEVICE_MAX) {
            *at = device->next;
            device->next = afd->devices;
            afd->devices = device;
            return 0;
        }
    }
    return afd_device_open(afd);
}

int
tc_afd_open(tc_afd *afd, HANDLE port, ULONG_PTR key)
{
    afd->port = port;
    afd->key = key;
    afd->devices = NULL;
    afd->in_flight = 0;
    return afd_device_open(afd);
}

void
tc_afd_close(tc_afd *afd)
{
    while (afd->devices != NULL) {
        tc_afd_device *device = afd->devices;

        afd->devices = device->next;
        (void)CloseHandle(device->handle);
        free(device);
    }
}

void
tc_afd_cancel_all(tc_afd *afd)
{
    for (tc_afd_device *device = afd->devices; device != NULL;
         device = device->next) {
        (void)CancelIoEx(device->handle, NULL);
    }
}

/* ---- sockets ---- */

/* Ask the provider for a handle that it knows.  0 or the error code. */
static DWORD
afd_ask_handle(SOCKET socket, DWORD question, SOCKET *answer)
{
    DWORD size;

    if (WSAIoctl(socket, question, NULL, 0, answer, sizeof(*answer), &size,
                 NULL, NULL)
        == 0) {
        return 0;
    }
    return (DWORD)WSAGetLastError();
}

/* The socket that the driver knows.
 *
 * Some layered providers refuse to tell, to keep others from going round
 * them, but must let select() and WSAPoll() work: so these are asked what
 * they would use, layer by layer.  A provider that does not support the
 * questions is no layered one, and the socket is its own base. */
static int
afd_base_socket(SOCKET socket, SOCKET *out)
{
    static const DWORD questions[] = {AFD_SIO_BSP_HANDLE_POLL,
                                      AFD_SIO_BSP_HANDLE_SELECT};

    for (int layer = 0; layer < AFD_LAYERS_MAX; layer++) {
        SOCKET below = socket;
        DWORD code = afd_ask_handle(socket, AFD_SIO_BASE_HANDLE, out);

        if (code == 0) {
            return 0;
        }
        if (code == WSAENOTSOCK) {
            return -EBADF;
        }
        for (int i = 0; i < 2 && below == socket; i++) {
            if (afd_ask_handle(socket, questions[i], &below) != 0) {
                below = socket;
            }
        }
        if (below == socket) {
            *out = socket;
            return code == WSAEOPNOTSUPP ? 0 : tc_afd_error(code);
        }
        socket = below;
    }
    return -EIO;
}

/* ---- operations ---- */

static ULONG
afd_events(uint32_t interest)
{
    ULONG events = AFD_ABORT | AFD_CONNECT_FAIL | AFD_LOCAL_CLOSE;

    if (interest & TC_POLL_READ) {
        events |= AFD_RECEIVE | AFD_ACCEPT | AFD_DISCONNECT;
    }
    if (interest & TC_POLL_WRITE) {
        events |= AFD_SEND;
    }
    return events;
}

static uint32_t
afd_ready_bits(ULONG events)
{
    uint32_t ready = 0;

    if (events & (AFD_RECEIVE | AFD_ACCEPT | AFD_DISCONNECT)) {
        ready |= TC_POLL_READ;
    }
    if (events & AFD_SEND) {
        ready |= TC_POLL_WRITE;
    }
    if (events & AFD_ABORT) {
        ready |= TC_POLL_HUP | TC_POLL_ERR;
    }
    if (events & (AFD_CONNECT_FAIL | AFD_LOCAL_CLOSE)) {
        ready |= TC_POLL_ERR;
    }
    return ready;
}

int
tc_afd_submit(tc_afd *afd, tc_afd_op *op, int fd, uint32_t interest)
{
    SOCKET base;
    NTSTATUS status;
    int err = afd_base_socket((SOCKET)(intptr_t)fd, &base);

    if (err < 0) {
        return err;
    }
    err = afd_device_choose(afd);
    if (err < 0) {
        return err;
    }
    op->device = afd->devices;
    op->overlapped = (OVERLAPPED){.Internal = (ULONG_PTR)STATUS_PENDING};
    op->request = (tc_afd_request){
        .timeout.QuadPart = INT64_MAX,
        .count = 1,
        .socket = (HANDLE)base,
        .events = afd_events(interest),
    };
    /* Not DeviceIoControl(): its result does not tell a failure, which
     * leaves no packet behind, from a warning, which does. */
    status = NtDeviceIoControlFile(
        op->device->handle, NULL, NULL, &op->overlapped,
        (IO_STATUS_BLOCK *)(void *)&op->overlapped, AFD_IOCTL_POLL,
        &op->request, sizeof(op->request), &op->request,
        sizeof(op->request));
    if (NT_ERROR(status)) {
        return tc_afd_error(RtlNtStatusToDosError(status));
    }
    op->device->in_flight++;
    afd->in_flight++;
    return 0;
}

void
tc_afd_cancel(tc_afd_op *op)
{
    /* If it fails, the operation is over and its packet in the queue. */
    (void)CancelIoEx(op->device->handle, &op->overlapped);
}

uint32_t
tc_afd_finish(tc_afd *afd, tc_afd_op *op)
{
    NTSTATUS status = (NTSTATUS)op->overlapped.Internal;

    op->device->in_flight--;
    afd->in_flight--;
    if (status == AFD_STATUS_CANCELLED) {
        return 0;
    }
    if (NT_ERROR(status)) {
        return TC_POLL_ERR;
    }
    return op->request.count > 0 ? afd_ready_bits(op->request.events) : 0;
}

#endif

"""Functions of Windows through cffi, at Trio's private path.

The library itself does not use this: it is for programs and tests that reach
for it, and needs cffi to be installed.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import cffi

ffi: Any = cffi.FFI()

# HANDLE, DWORD and their like are known to cffi.
ffi.cdef(
    """
    typedef struct {
        ULONG_PTR Internal;
        ULONG_PTR InternalHigh;
        union {
            struct {
                DWORD Offset;
                DWORD OffsetHigh;
            } DUMMYSTRUCTNAME;
            PVOID Pointer;
        } DUMMYUNIONNAME;
        HANDLE hEvent;
    } OVERLAPPED, *LPOVERLAPPED;

    typedef struct {
        ULONG_PTR lpCompletionKey;
        LPOVERLAPPED lpOverlapped;
        ULONG_PTR Internal;
        DWORD dwNumberOfBytesTransferred;
    } OVERLAPPED_ENTRY, *LPOVERLAPPED_ENTRY;

    typedef void *LPSECURITY_ATTRIBUTES;
    typedef UINT_PTR SOCKET;

    BOOL WINAPI CancelIoEx(HANDLE, LPOVERLAPPED);
    BOOL WINAPI CloseHandle(HANDLE);
    HANDLE WINAPI CreateEventA(LPSECURITY_ATTRIBUTES, BOOL, BOOL, LPCSTR);
    HANDLE WINAPI CreateFileW(
        LPCWSTR, DWORD, DWORD, LPSECURITY_ATTRIBUTES, DWORD, DWORD, HANDLE);
    HANDLE WINAPI CreateIoCompletionPort(HANDLE, HANDLE, ULONG_PTR, DWORD);
    BOOL WINAPI DeviceIoControl(
        HANDLE, DWORD, LPVOID, DWORD, LPVOID, DWORD, LPDWORD, LPOVERLAPPED);
    BOOL WINAPI GetQueuedCompletionStatusEx(
        HANDLE, LPOVERLAPPED_ENTRY, ULONG, PULONG, DWORD, BOOL);
    BOOL WINAPI PostQueuedCompletionStatus(
        HANDLE, DWORD, ULONG_PTR, LPOVERLAPPED);
    BOOL WINAPI ReadFile(HANDLE, LPVOID, DWORD, LPDWORD, LPOVERLAPPED);
    BOOL WINAPI ResetEvent(HANDLE);
    BOOL WINAPI SetConsoleCtrlHandler(void *, BOOL);
    BOOL WINAPI SetEvent(HANDLE);
    BOOL WINAPI SetFileCompletionNotificationModes(HANDLE, UCHAR);
    DWORD WINAPI WaitForMultipleObjects(DWORD, const HANDLE *, BOOL, DWORD);
    DWORD WINAPI WaitForSingleObject(HANDLE, DWORD);
    BOOL WINAPI WriteFile(HANDLE, LPCVOID, DWORD, LPDWORD, LPOVERLAPPED);

    ULONG WINAPI RtlNtStatusToDosError(LONG);

    int WINAPI WSAGetLastError(void);
    int WINAPI WSAIoctl(
        SOCKET, DWORD, LPVOID, DWORD, LPVOID, DWORD, LPDWORD, LPOVERLAPPED,
        void *);
    """
)

if TYPE_CHECKING:
    CData: TypeAlias = Any
    CType: TypeAlias = Any
    Handle: TypeAlias = Any
    HandleArray: TypeAlias = Any
else:
    CData = ffi.CData
    CType = ffi.CType

    # A pointer is a handle.
    def Handle(obj):
        return obj

    HandleArray = Handle

kernel32: Any = ffi.dlopen("kernel32.dll")
ntdll: Any = ffi.dlopen("ntdll.dll")
ws2_32: Any = ffi.dlopen("ws2_32.dll")

INVALID_HANDLE_VALUE = ffi.cast("HANDLE", -1)


class ErrorCodes(enum.IntEnum):
    """What waits and failures are called."""

    WAIT_OBJECT_0 = 0
    WAIT_ABANDONED = 0x80
    WAIT_TIMEOUT = 0x102
    STATUS_TIMEOUT = WAIT_TIMEOUT
    WAIT_FAILED = 0xFFFFFFFF
    ERROR_INVALID_HANDLE = 6
    ERROR_INVALID_PARAMETER = 87
    ERROR_ABANDONED_WAIT_0 = 735
    ERROR_OPERATION_ABORTED = 995
    ERROR_IO_PENDING = 997
    ERROR_NOT_FOUND = 1168
    ERROR_NOT_SOCKET = 10038


class FileFlags(enum.IntFlag):
    """How to open a file."""

    GENERIC_READ = 0x80000000
    SYNCHRONIZE = 0x00100000
    FILE_FLAG_OVERLAPPED = 0x40000000
    FILE_SHARE_READ = 1
    FILE_SHARE_WRITE = 2
    FILE_SHARE_DELETE = 4
    CREATE_NEW = 1
    CREATE_ALWAYS = 2
    OPEN_EXISTING = 3
    OPEN_ALWAYS = 4
    TRUNCATE_EXISTING = 5


class AFDPollFlags(enum.IntFlag):
    """What a socket can be ready for."""

    AFD_POLL_RECEIVE = 0x0001
    AFD_POLL_RECEIVE_EXPEDITED = 0x0002
    AFD_POLL_SEND = 0x0004
    AFD_POLL_DISCONNECT = 0x0008
    AFD_POLL_ABORT = 0x0010
    AFD_POLL_LOCAL_CLOSE = 0x0020
    AFD_POLL_CONNECT = 0x0040
    AFD_POLL_ACCEPT = 0x0080
    AFD_POLL_CONNECT_FAIL = 0x0100
    AFD_POLL_QOS = 0x0200
    AFD_POLL_GROUP_QOS = 0x0400
    AFD_POLL_ROUTING_INTERFACE_CHANGE = 0x0800
    AFD_POLL_EVENT_ADDRESS_LIST_CHANGE = 0x1000


class WSAIoctls(enum.IntEnum):
    """Which socket stands behind a socket."""

    SIO_BASE_HANDLE = 0x48000022
    SIO_BSP_HANDLE_SELECT = 0x4800001C
    SIO_BSP_HANDLE_POLL = 0x4800001D


class CompletionModes(enum.IntFlag):
    """What a completion does."""

    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS = 1
    FILE_SKIP_SET_EVENT_ON_HANDLE = 2


class IoControlCodes(enum.IntEnum):
    """Requests to devices."""

    IOCTL_AFD_POLL = 0x00012024


def _handle(obj: int | CData) -> Handle:
    """An int as a HANDLE; anything else as it is."""
    return ffi.cast("HANDLE", obj) if isinstance(obj, int) else obj


def handle_array(count: int) -> HandleArray:
    """Room for `count` handles."""
    return ffi.new(f"HANDLE[{count}]")


def raise_winerror(
    winerror: int | None = None,
    *,
    filename: str | None = None,
    filename2: str | None = None,
) -> NoReturn:
    """Raise the OSError of that number, or of the last call that failed."""
    found = ffi.getwinerror() if winerror is None else ffi.getwinerror(winerror)
    if found is None:
        raise RuntimeError("No error set?")
    number, text = found
    if winerror is not None:
        number = winerror
    raise OSError(0, text, filename, number, filename2)

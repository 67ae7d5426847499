/* The one function of Windows' bcryptprimitives.dll that programs import,
 * for a wine that has no such DLL (wine 8): without it no wheel whose code is
 * Rust, cryptography's among them, can be imported there.
 */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI
ProcessPrng(PBYTE data, SIZE_T size)
{
    while (size > 0) {
        ULONG part = size < 65536 ? (ULONG)size : 65536;

        if (!RtlGenRandom(data, part)) {
            return FALSE;
        }
        data += part;
        size -= part;
    }
    return TRUE;
}

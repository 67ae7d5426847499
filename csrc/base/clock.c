/* The monotonic clock, per system, the one that Python's time.perf_counter()
 * reads.  Holds no state.
 *
 * POSIX: CLOCK_MONOTONIC, which stands still while Linux is suspended and
 * cannot fail with a valid clock and address.
 * Linux also has one that is read without asking the processor for the time:
 * as of the last tick of the kernel's timer.
 * macOS: its CLOCK_MONOTONIC counts microseconds, and goes on while the system
 * sleeps; CLOCK_UPTIME_RAW does neither, and is what kqueue's timeouts go by.
 * Windows: QueryPerformanceCounter, whose frequency is fixed at boot; neither
 * call fails since Windows XP.
 */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE           /* clock_gettime */
#endif

#include "base/clock.h"

#ifdef _WIN32

#include <windows.h>

double
tc_clock_monotonic(void)
{
    LARGE_INTEGER frequency;
    LARGE_INTEGER counter;
    LONGLONG whole;

    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&counter);
    /* Divided apart, so that a long uptime costs no precision. */
    whole = counter.QuadPart / frequency.QuadPart;
    return (double)whole
           + (double)(counter.QuadPart % frequency.QuadPart)
             / (double)frequency.QuadPart;
}

/* The shortest sleep above 0 is a tick of the system, milliseconds; 0 lets
 * whoever is ready to run go first. */
void
tc_clock_nap(void)
{
    Sleep(0);
}

#else

#include <time.h>

#ifdef __APPLE__
#  define CLOCK_OF_PYTHON CLOCK_UPTIME_RAW
#else
#  define CLOCK_OF_PYTHON CLOCK_MONOTONIC
#endif

double
tc_clock_monotonic(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_OF_PYTHON, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A real sleep: sched_yield() returns before the other thread is up. */
void
tc_clock_nap(void)
{
    struct timespec moment = {0, 1000};

    (void)nanosleep(&moment, NULL);
}

#endif

double
tc_clock_coarse(void)
{
#ifdef CLOCK_MONOTONIC_COARSE
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
#else
    return tc_clock_monotonic();
#endif
}

/* The monotonic clock: never steps back, has no meaning between processes.
 * And the shortest of sleeps. */
#ifndef TC_BASE_CLOCK_H
#define TC_BASE_CLOCK_H

/* Seconds since an arbitrary start.  Any thread; async-signal-safe. */
double tc_clock_monotonic(void);

/* The same, some milliseconds late, for a fraction of the time where the
   system has such a clock. */
double tc_clock_coarse(void);

/* Sleeps for the shortest time in which another thread that is ready gets to
 * run. */
void tc_clock_nap(void);

#endif /* TC_BASE_CLOCK_H */

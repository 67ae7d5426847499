/* The monotonic clock: never steps back, has no meaning between processes. */
#ifndef TC_BASE_CLOCK_H
#define TC_BASE_CLOCK_H

/* Seconds since an arbitrary start.  Any thread; async-signal-safe. */
double tc_clock_monotonic(void);

/* The same, some milliseconds late, for a fraction of the time where the
   system has such a clock. */
double tc_clock_coarse(void);

#endif /* TC_BASE_CLOCK_H */

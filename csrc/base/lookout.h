/* Looking out for what another thread is about to do, before sleeping for it.
 *
 * To sleep and be woken takes longer than many an answer: a core that has
 * nothing else to do goes to sleep, too.  So whoever expects one soon looks
 * for it a little while, about as long as sleeping would cost, and lets
 * others run between two looks.  Where that was in vain it is left out the
 * next times, more of them with each failure: who waits for long calls spends
 * next to nothing on it.
 *
 *     tc_lookout_begin(&lookout);
 *     while (tc_lookout_goes_on(&lookout)) {
 *         if (it_is_there()) {
 *             tc_lookout_succeed(&lookout);
 *             return;
 *         }
 *     }
 *     sleep_for_it();
 *
 * One thread at a time; zeros are a good beginning.
 */
#ifndef TC_BASE_LOOKOUT_H
#define TC_BASE_LOOKOUT_H

#include <stdbool.h>

/* Seconds, and how many times in a row it may be left out. */
#define TC_LOOKOUT_DURATION 50e-6
#define TC_LOOKOUT_MAX_OMITTED 127

typedef struct tc_lookout {
    double until;               /* 0: not looking */
    unsigned char omitted;      /* so many times after the last failure... */
    unsigned char left;         /* ...of which so many are still to come */
} tc_lookout;

void tc_lookout_begin(tc_lookout *self);
/* Lets other threads run.  False when it is time to sleep. */
bool tc_lookout_goes_on(tc_lookout *self);
/* It is there; if it took too long, that is a failure all the same. */
void tc_lookout_succeed(tc_lookout *self);

#endif /* TC_BASE_LOOKOUT_H */

/* A small pseudo-random generator (xorshift64*).
 *
 * For coin flips and for repeatable tests, not for secrets.  The state is
 * never 0.  No locking.
 */
#ifndef TC_BASE_RANDOM_H
#define TC_BASE_RANDOM_H

#include <stdint.h>

typedef struct tc_random {
    uint64_t s;         /* never 0 */
} tc_random;

/* Any seed will do, 0 and neighbours included: it is mixed first
 * (splitmix64's finaliser, a bijection, of which only one seed gives 0). */
static inline void
tc_random_seed(tc_random *random, uint64_t seed)
{
    uint64_t z = seed + UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    random->s = z != 0 ? z : 1;
}

/* 64 random bits; the high ones are the better ones. */
static inline uint64_t
tc_random_next(tc_random *random)
{
    uint64_t s = random->s;

    s ^= s >> 12;
    s ^= s << 25;
    s ^= s >> 27;
    random->s = s;
    return s * UINT64_C(0x2545f4914f6cdd1d);
}

#endif /* TC_BASE_RANDOM_H */

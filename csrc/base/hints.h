/* What the compiler cannot know. */
#ifndef TC_BASE_HINTS_H
#define TC_BASE_HINTS_H

/* A function that runs seldom: kept out of line and away from the others. */
#if defined(__GNUC__)
#  define TC_COLD __attribute__((cold, noinline))
#else
#  define TC_COLD
#endif

/* Begin to bring a cache line in; any address will do. */
#if defined(__GNUC__)
#  define TC_PREFETCH(address) __builtin_prefetch(address)
#else
#  define TC_PREFETCH(address) ((void)(address))
#endif

/* One in each thread. */
#if defined(_MSC_VER)
#  define TC_THREAD_LOCAL __declspec(thread)
#else
#  define TC_THREAD_LOCAL _Thread_local
#endif

#endif /* TC_BASE_HINTS_H */

/* Has this process been forked off since? */
#ifndef TC_BASE_FORK_H
#define TC_BASE_FORK_H

/* Begin to count; again and again is harmless.  0 or -errno. */
int tc_fork_watch(void);

/* How many fork()s lie between the start of counting and this process: a
 * child reads one more than its parent.  Any thread; a load. */
unsigned tc_fork_count(void);

#endif /* TC_BASE_FORK_H */

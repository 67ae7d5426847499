/* What the system's tools show for a thread. */
#ifndef TC_BASE_THREAD_NAME_H
#define TC_BASE_THREAD_NAME_H

/* With its NUL: all that Linux keeps. */
#define TC_THREAD_NAME_SIZE 16

/* `ident` is the thread as the system's threads library knows it; some systems
 * can only name the thread that asks, and name that.  Without the name that it
 * should have a thread runs as well: nothing is said of failures, nor where
 * there is no such thing. */
void tc_thread_name_set(unsigned long ident,
                        const char name[TC_THREAD_NAME_SIZE]);

#endif /* TC_BASE_THREAD_NAME_H */

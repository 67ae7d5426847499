/* What is the case with a descriptor or a process: the part of the kqueue for
 * tests that asks Linux.
 */
#ifndef TC_TESTS_KQUEUE_LOOK_H
#define TC_TESTS_KQUEUE_LOOK_H

#include "sys/event.h"

#include <stdbool.h>
#include <sys/types.h>

/* Tells files apart that have had the same number. */
typedef struct file_identity {
    dev_t device;
    ino_t inode;
    int access;                 /* the ends of a pipe share the rest */
} file_identity;

/* False if there is no such descriptor. */
bool file_identify(int fd, file_identity *identity);
bool file_is(int fd, const file_identity *identity);

/* A file that is always ready, which epoll does not take. */
bool look_is_file(int fd);

/* The errno with which EV_ADD is refused, or 0. */
int look_refuses(int fd, short filter);

/* Does the event, of EVFILT_READ or EVFILT_WRITE, hold?  Sets data, fflags and
 * EV_EOF. */
bool look_descriptor(int fd, struct kevent *event);

/* The same of EVFILT_PROC. */
bool look_process(int pidfd, struct kevent *event);

#endif /* TC_TESTS_KQUEUE_LOOK_H */

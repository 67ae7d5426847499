/* The list of backends in this build, the best one first. */
#include "poll/poll.h"

#include <stddef.h>
#include <string.h>

static const tc_poll_ops *const poll_backends[] = {
#if TC_POLL_HAVE_EPOLL
    &tc_poll_ops_epoll,
#endif
#if TC_POLL_HAVE_KQUEUE
    &tc_poll_ops_kqueue,
#endif
#if TC_POLL_HAVE_POLL
    &tc_poll_ops_poll,
#endif
#if TC_POLL_HAVE_IOCP
    &tc_poll_ops_iocp,
#endif
};

const tc_poll_ops *
tc_poll_default_ops(void)
{
    return poll_backends[0];
}

const tc_poll_ops *
tc_poll_ops_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof(poll_backends) / sizeof(poll_backends[0]);
         i++) {
        if (strcmp(poll_backends[i]->name, name) == 0) {
            return poll_backends[i];
        }
    }
    return NULL;
}

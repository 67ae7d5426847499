/* Intrusive circular doubly linked list.
 *
 * A list is a head link; members embed links.  Invariants:
 *   - an initialised link is always part of a ring, if only its own;
 *   - link->next->prev == link and link->prev->next == link;
 *   - a head and an unlinked member look the same: they point at themselves,
 *     so removing twice is harmless and "linked" is one comparison.
 * Links are borrowed: the list owns nothing and allocates nothing.  A linked
 * object must not move in memory.  No locking: whoever shares a list guards
 * it.
 */
#ifndef TC_BASE_LIST_H
#define TC_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tc_link {
    struct tc_link *prev;       /* borrowed */
    struct tc_link *next;       /* borrowed */
} tc_link;

/* The object of type `type` whose member `member` lies at `ptr`. */
#define TC_CONTAINER_OF(ptr, type, member) \
    ((type *)((char *)(ptr) - offsetof(type, member)))

/* Make `link` an empty list or an unlinked member. */
static inline void
tc_list_init(tc_link *link)
{
    link->prev = link;
    link->next = link;
}

static inline bool
tc_list_is_empty(const tc_link *head)
{
    return head->next == head;
}

static inline bool
tc_link_is_linked(const tc_link *link)
{
    return link->next != link;
}

/* Put `link`, which must be unlinked, behind the last member. */
static inline void
tc_list_append(tc_link *head, tc_link *link)
{
    tc_link *last = head->prev;

    link->prev = last;
    link->next = head;
    last->next = link;
    head->prev = link;
}

/* Put `link`, which must be unlinked, before the first member. */
static inline void
tc_list_prepend(tc_link *head, tc_link *link)
{
    tc_list_append(head->next, link);
}

/* Take `link` out of whatever list it is in; harmless if it is in none. */
static inline void
tc_list_remove(tc_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    tc_list_init(link);
}

/* Move all members of `src` behind those of `dst`, in order. */
static inline void
tc_list_splice(tc_link *dst, tc_link *src)
{
    tc_link *first = src->next;
    tc_link *last = src->prev;

    if (first == src) {
        return;
    }
    first->prev = dst->prev;
    dst->prev->next = first;
    last->next = dst;
    dst->prev = last;
    tc_list_init(src);
}

/* The first member (borrowed), or NULL. */
static inline tc_link *
tc_list_first(const tc_link *head)
{
    return head->next == head ? NULL : head->next;
}

#endif /* TC_BASE_LIST_H */

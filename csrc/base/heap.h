/* Min-heap of deadlines with exact removal.
 *
 * Members embed a tc_heap_node, which remembers where it sits; so any member
 * can be removed or moved in O(log n), and the heap never holds tombstones.
 * Nodes are borrowed: they must outlive their membership and not move in
 * memory.  Equal keys come out in no particular order.  No locking.
 */
#ifndef TC_BASE_HEAP_H
#define TC_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TC_HEAP_NONE SIZE_MAX

typedef struct tc_heap_node {
    double key;         /* never NaN; while inside, only the heap writes it */
    size_t index;       /* position, or TC_HEAP_NONE while outside */
} tc_heap_node;

/* A copy of the key lies beside the pointer, so that sifting touches no node
 * but those it moves. */
typedef struct tc_heap_entry {
    double key;
    tc_heap_node *node;         /* borrowed */
} tc_heap_entry;

typedef struct tc_heap {
    tc_heap_entry *entries;     /* owned; NULL while capacity is 0 */
    size_t size;
    size_t capacity;
} tc_heap;

void tc_heap_init(tc_heap *heap);

/* Frees the memory.  Nodes still inside (which must be alive) are marked as
 * outside.  The heap is empty and usable afterwards. */
void tc_heap_fini(tc_heap *heap);

/* Insert a node that is outside, under node->key.  0, or -ENOMEM with
 * nothing changed. */
int tc_heap_push(tc_heap *heap, tc_heap_node *node);

/* Take out a node that is inside this heap.  Cannot fail. */
void tc_heap_remove(tc_heap *heap, tc_heap_node *node);

/* Give a node that is inside this heap another key.  Cannot fail. */
void tc_heap_update(tc_heap *heap, tc_heap_node *node, double key);

static inline void
tc_heap_init_node(tc_heap_node *node)
{
    node->key = 0.0;
    node->index = TC_HEAP_NONE;
}

static inline bool
tc_heap_contains(const tc_heap_node *node)
{
    return node->index != TC_HEAP_NONE;
}

/* The node with the smallest key (borrowed), or NULL. */
static inline tc_heap_node *
tc_heap_top(const tc_heap *heap)
{
    return heap->size == 0 ? NULL : heap->entries[0].node;
}

static inline size_t
tc_heap_size(const tc_heap *heap)
{
    return heap->size;
}

#endif /* TC_BASE_HEAP_H */

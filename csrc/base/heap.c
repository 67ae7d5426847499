/* Four-way min-heap with positions kept in the nodes.
 *
 * Invariants, for every i < size:
 *   - entries[i].node->index == i and entries[i].node->key == entries[i].key;
 *   - entries[i].key >= entries[(i - 1) / 4].key, for i > 0;
 *   - size <= capacity, and entries is NULL exactly when capacity is 0.
 * Four children fill a cache line, and the tree is half as deep as a binary
 * one.  Memory shrinks once three quarters are empty, to half: at least a
 * quarter of the capacity must be pushed or removed between two
 * reallocations.
 */
#include "base/heap.h"

#include <errno.h>
#include <stdlib.h>

#define HEAP_ARITY 4u
#define HEAP_MIN_CAPACITY 16u

static inline void
heap_place(tc_heap *heap, size_t index, tc_heap_entry entry)
{
    heap->entries[index] = entry;
    entry.node->index = index;
}

/* The position at `index` is free; `entry` goes there or further up. */
static void
heap_sift_up(tc_heap *heap, size_t index, tc_heap_entry entry)
{
    while (index > 0) {
        size_t parent = (index - 1) / HEAP_ARITY;

        if (!(entry.key < heap->entries[parent].key)) {
            break;
        }
        heap_place(heap, index, heap->entries[parent]);
        index = parent;
    }
    heap_place(heap, index, entry);
}

/* The position at `index` is free; `entry` goes there or further down. */
static void
heap_sift_down(tc_heap *heap, size_t index, tc_heap_entry entry)
{
    for (;;) {
        size_t child = index * HEAP_ARITY + 1;
        size_t end;
        size_t best = child;

        if (child >= heap->size) {
            break;
        }
        end = heap->size - child < HEAP_ARITY ? heap->size
                                              : child + HEAP_ARITY;
        while (++child < end) {
            if (heap->entries[child].key < heap->entries[best].key) {
                best = child;
            }
        }
        if (!(heap->entries[best].key < entry.key)) {
            break;
        }
        heap_place(heap, index, heap->entries[best]);
        index = best;
    }
    heap_place(heap, index, entry);
}

/* The position at `index` is free; `entry` goes wherever it belongs. */
static void
heap_sift(tc_heap *heap, size_t index, tc_heap_entry entry)
{
    if (index > 0
        && entry.key < heap->entries[(index - 1) / HEAP_ARITY].key) {
        heap_sift_up(heap, index, entry);
    }
    else {
        heap_sift_down(heap, index, entry);
    }
}

/* capacity >= size, and not 0. */
static int
heap_resize(tc_heap *heap, size_t capacity)
{
    tc_heap_entry *entries;

    if (capacity > SIZE_MAX / sizeof(*entries)) {
        return -ENOMEM;
    }
    entries = realloc(heap->entries, capacity * sizeof(*entries));
    if (entries == NULL) {
        return -ENOMEM;
    }
    heap->entries = entries;
    heap->capacity = capacity;
    return 0;
}

void
tc_heap_init(tc_heap *heap)
{
    heap->entries = NULL;
    heap->size = 0;
    heap->capacity = 0;
}

void
tc_heap_fini(tc_heap *heap)
{
    for (size_t i = 0; i < heap->size; i++) {
        heap->entries[i].node->index = TC_HEAP_NONE;
    }
    free(heap->entries);
    tc_heap_init(heap);
}

int
tc_heap_push(tc_heap *heap, tc_heap_node *node)
{
    tc_heap_entry entry = {node->key, node};

    if (heap->size == heap->capacity) {
        int err = heap_resize(heap, heap->capacity == 0
                                        ? HEAP_MIN_CAPACITY
                                        : heap->capacity * 2);

        if (err < 0) {
            return err;
        }
    }
    heap_sift_up(heap, heap->size++, entry);
    return 0;
}

void
tc_heap_remove(tc_heap *heap, tc_heap_node *node)
{
    size_t index = node->index;
    tc_heap_entry last = heap->entries[--heap->size];

    node->index = TC_HEAP_NONE;
    if (last.node != node) {
        heap_sift(heap, index, last);
    }
    if (heap->capacity > HEAP_MIN_CAPACITY
        && heap->size <= heap->capacity / 4) {
        /* If this fails, the larger block serves as well. */
        (void)heap_resize(heap, heap->capacity / 2);
    }
}

void
tc_heap_update(tc_heap *heap, tc_heap_node *node, double key)
{
    tc_heap_entry entry = {key, node};

    node->key = key;
    heap_sift(heap, node->index, entry);
}

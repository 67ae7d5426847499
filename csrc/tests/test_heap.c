/* base/heap.h, against a plain unsorted array. */
#include "base/heap.h"

#include "base/random.h"
#include "tests/harness.h"

#include <math.h>
#include <stdlib.h>

/* The invariants at the top of heap.c. */
static void
check_invariants(const tc_heap *heap)
{
    CHECK(heap->size <= heap->capacity);
    CHECK_EQ(heap->entries == NULL, heap->capacity == 0);
    for (size_t i = 0; i < heap->size; i++) {
        CHECK_EQ(heap->entries[i].node->index, i);
        CHECK(heap->entries[i].node->key == heap->entries[i].key);
        if (i > 0) {
            CHECK(heap->entries[i].key >= heap->entries[(i - 1) / 4].key);
        }
    }
}

static void
push(tc_heap *heap, tc_heap_node *node, double key)
{
    node->key = key;
    CHECK_EQ(tc_heap_push(heap, node), 0);
    CHECK(tc_heap_contains(node));
}

static void
test_empty(const void *arg)
{
    tc_heap heap;
    tc_heap_node node;

    (void)arg;
    tc_heap_init(&heap);
    tc_heap_init_node(&node);
    CHECK(tc_heap_top(&heap) == NULL);
    CHECK_EQ(tc_heap_size(&heap), 0);
    CHECK(!tc_heap_contains(&node));
    push(&heap, &node, 1.0);
    CHECK(tc_heap_top(&heap) == &node);
    tc_heap_remove(&heap, &node);
    CHECK(!tc_heap_contains(&node));
    CHECK(tc_heap_top(&heap) == NULL);
    tc_heap_fini(&heap);
}

static void
test_extremes(const void *arg)
{
    static const double keys[] = {0.0, INFINITY, -INFINITY, 1e308, -1e308,
                                  -0.0, 5e-324, INFINITY, -INFINITY};
    enum { COUNT = sizeof(keys) / sizeof(keys[0]) };
    tc_heap_node nodes[COUNT];
    tc_heap heap;
    double last = -INFINITY;

    (void)arg;
    tc_heap_init(&heap);
    for (int i = 0; i < COUNT; i++) {
        push(&heap, &nodes[i], keys[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        tc_heap_node *top = tc_heap_top(&heap);

        CHECK(top->key >= last);
        last = top->key;
        tc_heap_remove(&heap, top);
    }
    CHECK(last == INFINITY);
    CHECK_EQ(tc_heap_size(&heap), 0);
    tc_heap_fini(&heap);
}

/* fini lets go of what is still inside; the heap can be used again. */
static void
test_fini(const void *arg)
{
    tc_heap heap;
    tc_heap_node nodes[20];

    (void)arg;
    tc_heap_init(&heap);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20; i++) {
            push(&heap, &nodes[i], 20.0 - i);
        }
        tc_heap_fini(&heap);
        CHECK_EQ(tc_heap_size(&heap), 0);
        for (int i = 0; i < 20; i++) {
            CHECK(!tc_heap_contains(&nodes[i]));
        }
    }
    tc_heap_fini(&heap);
}

/* Memory follows the size down, and not at every step. */
static void
test_shrink(const void *arg)
{
    enum { COUNT = 100000 };
    tc_heap_node *nodes = malloc(COUNT * sizeof(*nodes));
    tc_heap heap;
    size_t capacity;
    int changes = 0;

    (void)arg;
    CHECK(nodes != NULL);
    tc_heap_init(&heap);
    for (int i = 0; i < COUNT; i++) {
        push(&heap, &nodes[i], i * 7919 % COUNT);
    }
    check_invariants(&heap);
    capacity = heap.capacity;
    for (int i = 0; i < COUNT; i++) {
        CHECK(tc_heap_top(&heap)->key == i);
        tc_heap_remove(&heap, tc_heap_top(&heap));
        CHECK(heap.capacity <= 16 || heap.capacity / 4 < heap.size + 1);
        changes += heap.capacity != capacity;
        capacity = heap.capacity;
    }
    CHECK(capacity <= 16);
    CHECK(changes <= 17);

    /* Going to and fro across a limit does not reallocate each time. */
    for (int i = 0; i < 33; i++) {
        push(&heap, &nodes[i], i);
    }
    capacity = heap.capacity;
    for (int i = 0; i < 100; i++) {
        tc_heap_remove(&heap, &nodes[32]);
        CHECK_EQ(heap.capacity, capacity);
        push(&heap, &nodes[32], i);
        CHECK_EQ(heap.capacity, capacity);
    }
    tc_heap_fini(&heap);
    free(nodes);
}

/* Few distinct keys now and then, so that ties are common. */
static double
random_key(tc_random *random)
{
    uint64_t bits = tc_random_next(random);

    return bits & 1 ? (double)((bits >> 32) % 16)
                    : (double)(bits >> 11) * 0x1p-53 * 16.0;
}

static void
test_random(const void *arg)
{
    enum { COUNT = 400, STEPS = 300000 };
    tc_heap_node nodes[COUNT];
    double keys[COUNT];         /* the model; NaN: outside */
    tc_heap heap;
    tc_random random;
    size_t size = 0;

    (void)arg;
    tc_random_seed(&random, tc_test_seed());
    tc_heap_init(&heap);
    for (int i = 0; i < COUNT; i++) {
        tc_heap_init_node(&nodes[i]);
        keys[i] = NAN;
    }
    for (int step = 0; step < STEPS; step++) {
        /* Phases of growing and of shrinking. */
        bool growing = step / 5000 % 2 == 0;
        uint64_t bits = tc_random_next(&random);
        int i = (int)((bits >> 8) % COUNT);

        if (isnan(keys[i])) {
            if (growing || bits >> 62 == 0) {
                keys[i] = random_key(&random);
                push(&heap, &nodes[i], keys[i]);
                size++;
            }
        }
        else if (bits >> 63) {
            keys[i] = random_key(&random);
            tc_heap_update(&heap, &nodes[i], keys[i]);
            CHECK(nodes[i].key == keys[i]);
        }
        else if (!growing || (bits >> 61 & 1) == 0) {
            tc_heap_remove(&heap, &nodes[i]);
            keys[i] = NAN;
            size--;
        }

        CHECK_EQ(tc_heap_size(&heap), size);
        CHECK_EQ(tc_heap_contains(&nodes[i]), !isnan(keys[i]));
        if (step % 16 == 0) {
            double least = INFINITY;

            check_invariants(&heap);
            for (int j = 0; j < COUNT; j++) {
                CHECK_EQ(tc_heap_contains(&nodes[j]), !isnan(keys[j]));
                least = fmin(least, keys[j]);
            }
            if (size > 0) {
                CHECK(tc_heap_top(&heap)->key == least);
            }
            else {
                CHECK(tc_heap_top(&heap) == NULL);
            }
        }
    }
    tc_heap_fini(&heap);
}

/* Everything comes out sorted, whatever has been updated before. */
static void
test_sorted(const void *arg)
{
    enum { COUNT = 5000 };
    static tc_heap_node nodes[COUNT];
    tc_heap heap;
    tc_random random;
    double last = -INFINITY;

    (void)arg;
    tc_random_seed(&random, tc_test_seed());
    tc_heap_init(&heap);
    for (int i = 0; i < COUNT; i++) {
        push(&heap, &nodes[i], random_key(&random));
    }
    for (int i = 0; i < COUNT; i += 3) {
        tc_heap_update(&heap, &nodes[i], random_key(&random));
    }
    for (int i = 0; i < COUNT; i++) {
        tc_heap_node *top = tc_heap_top(&heap);

        CHECK(top->key >= last);
        last = top->key;
        tc_heap_remove(&heap, top);
    }
    CHECK(tc_heap_top(&heap) == NULL);
    tc_heap_fini(&heap);
}

int
main(int argc, char **argv)
{
    static const tc_test tests[] = {
        {"heap/empty", test_empty, NULL},
        {"heap/extremes", test_extremes, NULL},
        {"heap/fini", test_fini, NULL},
        {"heap/shrink", test_shrink, NULL},
        {"heap/random", test_random, NULL},
        {"heap/sorted", test_sorted, NULL},
    };

    return tc_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}

/* base/list.h, against a plain array. */
#include "base/list.h"

#include "base/random.h"
#include "tests/harness.h"

typedef struct list_item {
    int number;
    tc_link link;
} list_item;

/* The list holds exactly these items, in this order, both ways round. */
static void
check_content(const tc_link *head, list_item *const *items, int count)
{
    const tc_link *link = head;

    for (int i = 0; i < count; i++) {
        CHECK(link->next == &items[i]->link);
        CHECK(link->next->prev == link);
        link = link->next;
        CHECK(TC_CONTAINER_OF(link, list_item, link) == items[i]);
        CHECK(tc_link_is_linked(link));
    }
    CHECK(link->next == head);
    CHECK(head->prev == link);
    CHECK_EQ(tc_list_is_empty(head), count == 0);
    CHECK(tc_list_first(head) == (count == 0 ? NULL : &items[0]->link));
}

static void
test_empty(const void *arg)
{
    tc_link head;
    tc_link link;

    (void)arg;
    tc_list_init(&head);
    tc_list_init(&link);
    check_content(&head, NULL, 0);
    CHECK(!tc_link_is_linked(&link));
    tc_list_remove(&link);
    tc_list_remove(&link);
    CHECK(!tc_link_is_linked(&link));
}

static void
test_order(const void *arg)
{
    list_item a, b, c;
    list_item *const expected[] = {&c, &a, &b};
    list_item *const without_a[] = {&c, &b};
    tc_link head;

    (void)arg;
    tc_list_init(&head);
    tc_list_append(&head, &a.link);
    tc_list_append(&head, &b.link);
    tc_list_prepend(&head, &c.link);
    check_content(&head, expected, 3);
    tc_list_remove(&a.link);
    CHECK(!tc_link_is_linked(&a.link));
    check_content(&head, without_a, 2);
    tc_list_remove(&a.link);
    check_content(&head, without_a, 2);
}

static void
test_splice(const void *arg)
{
    list_item items[4];
    list_item *const expected[] = {&items[0], &items[1], &items[2],
                                   &items[3]};
    tc_link dst;
    tc_link src;

    (void)arg;
    tc_list_init(&dst);
    tc_list_init(&src);
    tc_list_splice(&dst, &src);
    check_content(&dst, NULL, 0);
    check_content(&src, NULL, 0);

    tc_list_append(&src, &items[0].link);
    tc_list_append(&src, &items[1].link);
    tc_list_splice(&dst, &src);
    check_content(&dst, expected, 2);
    check_content(&src, NULL, 0);

    tc_list_splice(&dst, &src);
    check_content(&dst, expected, 2);

    tc_list_append(&src, &items[2].link);
    tc_list_append(&src, &items[3].link);
    tc_list_splice(&dst, &src);
    check_content(&dst, expected, 4);
    check_content(&src, NULL, 0);
}

/* The model: a queue of items, as an array. */
#define LIST_ITEMS 40

typedef struct list_model {
    tc_link head;
    list_item *items[LIST_ITEMS];
    int count;
} list_model;

static void
model_insert(list_model *model, int at, list_item *item)
{
    for (int i = model->count; i > at; i--) {
        model->items[i] = model->items[i - 1];
    }
    model->items[at] = item;
    model->count++;
}

static void
model_remove(list_model *model, const list_item *item)
{
    int kept = 0;

    for (int i = 0; i < model->count; i++) {
        if (model->items[i] != item) {
            model->items[kept++] = model->items[i];
        }
    }
    model->count = kept;
}

static void
test_random(const void *arg)
{
    list_item items[LIST_ITEMS];
    list_model models[2];
    tc_random random;

    (void)arg;
    tc_random_seed(&random, tc_test_seed());
    for (int i = 0; i < LIST_ITEMS; i++) {
        items[i].number = i;
        tc_list_init(&items[i].link);
    }
    for (int i = 0; i < 2; i++) {
        tc_list_init(&models[i].head);
        models[i].count = 0;
    }
    for (int step = 0; step < 50000; step++) {
        uint64_t bits = tc_random_next(&random);
        list_item *item = &items[(bits >> 8) % LIST_ITEMS];
        list_model *model = &models[bits >> 63];
        list_model *other = &models[1 - (bits >> 63)];

        if ((bits >> 32) % 50 == 0) {
            tc_list_splice(&model->head, &other->head);
            for (int i = 0; i < other->count; i++) {
                model_insert(model, model->count, other->items[i]);
            }
            other->count = 0;
        }
        else if (tc_link_is_linked(&item->link)) {
            tc_list_remove(&item->link);
            model_remove(model, item);
            model_remove(other, item);
        }
        else if ((bits >> 40) & 1) {
            tc_list_append(&model->head, &item->link);
            model_insert(model, model->count, item);
        }
        else {
            tc_list_prepend(&model->head, &item->link);
            model_insert(model, 0, item);
        }
        check_content(&models[0].head, models[0].items, models[0].count);
        check_content(&models[1].head, models[1].items, models[1].count);
    }
}

int
main(int argc, char **argv)
{
    static const tc_test tests[] = {
        {"list/empty", test_empty, NULL},
        {"list/order", test_order, NULL},
        {"list/splice", test_splice, NULL},
        {"list/random", test_random, NULL},
    };

    return tc_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}

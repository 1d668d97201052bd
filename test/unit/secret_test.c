/* A token that is exchanged while other threads read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/sync.h"

static void expect_secret(struct secret *secret, const char *value)
{
    struct text text = {0};
    text_append(&text, "=");
    secret_append(secret, &text);
    assert_false(text.failed);
    assert_string_equal(text.data + 1, value);
    text_fini(&text);
}

static void test_exchange_reports_changes(void **state)
{
    (void)state;
    struct secret *secret = secret_create(NULL);
    expect_secret(secret, "");
    char *value = strdup("");
    assert_false(secret_exchange(secret, &value));
    assert_null(value);
    value = strdup("one");
    assert_true(secret_exchange(secret, &value));
    assert_string_equal(value, "");
    free(value);
    expect_secret(secret, "one");
    value = strdup("one");
    assert_false(secret_exchange(secret, &value));
    free(value);
    value = NULL;
    assert_true(secret_exchange(secret, &value));
    assert_string_equal(value, "one");
    free(value);
    expect_secret(secret, "");
    secret_destroy(secret);
    secret_destroy(NULL);
}

enum { READERS = 3, EXCHANGES = 5000 };

static struct secret *shared;
static atomic_bool done;

/* Each value repeats one letter, so a torn one would be noticed. */
static void *read_values(void *argument)
{
    while (!atomic_load(&done)) {
        struct text text = {0};
        secret_append(shared, &text);
        assert_int_equal(text.length_bytes, 64);
        for (size_t i = 1; i < text.length_bytes; i++)
            assert_int_equal(text.data[i], text.data[0]);
        text_fini(&text);
    }
    return argument;
}

static char *make_value(int number)
{
    char *value = calloc(65, 1);
    assert_non_null(value);
    memset(value, 'a' + number % 26, 64);
    return value;
}

static void test_readers_never_see_a_torn_value(void **state)
{
    (void)state;
    pthread_t threads[READERS];
    char *value = make_value(0);
    shared = secret_create(value);
    free(value);
    atomic_store(&done, false);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(thread_start(&threads[i], "read", read_values, NULL, NULL), 0);
    for (int i = 1; i < EXCHANGES; i++) {
        value = make_value(i);
        assert_true(secret_exchange(shared, &value));
        free(value);
    }
    atomic_store(&done, true);
    for (int i = 0; i < READERS; i++)
        thread_join(threads[i]);
    secret_destroy(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchange_reports_changes),
        cmocka_unit_test(test_readers_never_see_a_torn_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

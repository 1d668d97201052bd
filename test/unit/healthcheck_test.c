/* The URL that the healthcheck command requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"

static void expect_url(const char *host, unsigned port, const char *expected)
{
    struct text url = {0};
    healthcheck_append_url(&url, host, port);
    assert_false(url.failed);
    assert_string_equal(url.data, expected);
    text_fini(&url);
}

static void test_names_and_addresses_are_kept(void **state)
{
    (void)state;
    expect_url("127.0.0.1", 3001, "http://127.0.0.1:3001/health");
    expect_url("localhost", 1, "http://localhost:1/health");
    expect_url("10.0.0.7", 65535, "http://10.0.0.7:65535/health");
}

static void test_wildcard_address_becomes_loopback(void **state)
{
    (void)state;
    expect_url("0.0.0.0", 3001, "http://127.0.0.1:3001/health");
    expect_url("::", 3001, "http://[::1]:3001/health");
    expect_url("0:0:0:0:0:0:0:0", 3001, "http://[::1]:3001/health");
}

static void test_ipv6_is_bracketed(void **state)
{
    (void)state;
    expect_url("::1", 3001, "http://[::1]:3001/health");
    expect_url("fe80::1%eth0", 3001, "http://[fe80::1%25eth0]:3001/health");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_addresses_are_kept),
        cmocka_unit_test(test_wildcard_address_becomes_loopback),
        cmocka_unit_test(test_ipv6_is_bracketed),
    };
    return cmocka_run_group_tests_name("healthcheck", tests, NULL, NULL);
}

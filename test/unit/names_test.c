/* Which names a request may need, by its URL and the proxy variables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/names.h"

/* The names as libcurl is told to forget them, or their addresses; "" if libcurl does it all. */
static void expect_names(const char *url, const char *expected)
{
    struct names names = {0};
    struct text found = {0};
    names_find(&names, url, false);
    for (unsigned i = 0; i < names.count; i++) {
        text_append(&found, i > 0 ? " " : "");
        names_write(&names.items[i], &found);
    }
    assert_int_equal(names_are_missing(&names), names.count > 0);
    assert_string_equal(found.data != NULL ? found.data : "", expected);
    text_fini(&found);
    names_fini(&names);
}

static int clear_proxies(void **state)
{
    static const char *const variables[] = {
        "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    (void)state;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    return 0;
}

static void test_host_and_port_come_from_the_url(void **state)
{
    (void)state;
    expect_names("http://gateway", "-gateway:80");
    expect_names("https://happy-cat-1.convex.cloud/api/action", "-happy-cat-1.convex.cloud:443");
    expect_names("HTTPS://my_gateway.:18789/v1", "-my_gateway.:18789");
    expect_names("http://xlocalhost/", "-xlocalhost:80");
}

static void test_addresses_are_not_looked_up(void **state)
{
    (void)state;
    expect_names("http://127.0.0.1:18789/v1", "");
    expect_names("http://[2001:db8::1]:18789/v1", "");
    expect_names("http://localhost:18789/v1", "");
    expect_names("https://a.LocalHost", "");
}

static void test_proxy_comes_before_the_host(void **state)
{
    (void)state;
    setenv("https_proxy", "http://user:p@ss@proxy.test:3128/", 1);
    expect_names("https://convex.test", "-proxy.test:3128 -convex.test:443");
    expect_names("http://convex.test", "-convex.test:80");
    expect_names("https://192.0.2.1", "-proxy.test:3128 192.0.2.1:443:192.0.2.1");
    setenv("https_proxy", "https://proxy.test", 1);
    expect_names("https://convex.test", "-proxy.test:443 -convex.test:443");
    setenv("https_proxy", "proxy.test", 1);
    expect_names("https://convex.test", "-proxy.test:1080 -convex.test:443");
    setenv("https_proxy", "192.0.2.1:3128", 1);
    expect_names("https://convex.test", "192.0.2.1:3128:192.0.2.1 -convex.test:443");
    expect_names("https://192.0.2.7", "");
}

static void test_unusual_proxy_is_left_to_libcurl(void **state)
{
    (void)state;
    setenv("https_proxy", "http://[2001:db8::1]:3128", 1);
    expect_names("https://convex.test", "");
    setenv("https_proxy", "http://m\xC3\xBCnchen.test:3128", 1);
    expect_names("https://convex.test", "");
}

static void test_variables_count_as_for_libcurl(void **state)
{
    (void)state;
    setenv("HTTP_PROXY", "http://header.test:1", 1);
    expect_names("http://convex.test", "-convex.test:80");
    setenv("ALL_PROXY", "http://all.test:2", 1);
    expect_names("http://convex.test", "-all.test:2 -convex.test:80");
    setenv("HTTPS_PROXY", "http://upper.test:3", 1);
    expect_names("https://convex.test", "-upper.test:3 -convex.test:443");
    setenv("https_proxy", "http://lower.test:4", 1);
    expect_names("https://convex.test", "-lower.test:4 -convex.test:443");
    setenv("https_proxy", "", 1);
    expect_names("https://convex.test", "-upper.test:3 -convex.test:443");
}

#define NAMES_TEST(test) cmocka_unit_test_setup(test, clear_proxies)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NAMES_TEST(test_host_and_port_come_from_the_url),
        NAMES_TEST(test_addresses_are_not_looked_up),
        NAMES_TEST(test_proxy_comes_before_the_host),
        NAMES_TEST(test_unusual_proxy_is_left_to_libcurl),
        NAMES_TEST(test_variables_count_as_for_libcurl),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}

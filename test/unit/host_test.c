/* Names in authorities, and which of them could be somebody else's entry in the DNS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/host.h"
#include "serve/host_access.h"

static struct text_span span_of(const char *string)
{
    return (struct text_span){string, strlen(string)};
}

static void test_name_is_without_port_brackets_and_last_dot(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"localhost", "localhost"},
        {"runtime:3001", "runtime"},
        {"a.example.:80", "a.example"},
        {"127.0.0.1:3001", "127.0.0.1"},
        {"[::1]:3001", "::1"},
        {"[::1]", "::1"},
        {"[::1", "["},
        {":3001", ""},
        {".", "."},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text_span name = host_name(span_of(cases[i][0]));
        assert_int_equal(name.length_bytes, strlen(cases[i][1]));
        assert_memory_equal(name.bytes, cases[i][1], name.length_bytes);
    }
}

static void test_only_names_with_dots_are_domains(void **state)
{
    (void)state;
    static const char *const domains[] = {"evil.example", "evil.example:3001", "EVIL.example.",
        "127.0.0.1.evil.example", "127.0.0.1x", "1.2.3", "0x7f.1", "127.0.0.256", "127.1:3001",
        "[evil.example]", "[::1.evil]", "127.0.0.1%eth0", ".", "a..b", "10.0.0.1,evil"};
    static const char *const others[] = {"localhost", "localhost.", "runtime:3001", "127.0.0.1",
        "127.0.0.1:3001", "10.1.2.3", "[::1]:3001", "[fe80::1%eth0.5]", "[::ffff:127.0.0.1]:80", "",
        ":3001"};
    for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++)
        if (!host_is_domain(host_name(span_of(domains[i]))))
            fail_msg("%s is a domain", domains[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (host_is_domain(host_name(span_of(others[i]))))
            fail_msg("%s is not a domain", others[i]);
}

static void test_lists_are_searched_by_whole_names(void **state)
{
    (void)state;
    static const char list[] = " a.example,B.lan. ,,\tc.d";
    static const char *const listed[] = {"a.example", "A.EXAMPLE", "b.lan", "c.d", "c.d."};
    static const char *const others[] = {"a.example.evil", "example", "x.a.example", "", "a", "d"};
    for (size_t i = 0; i < sizeof listed / sizeof listed[0]; i++)
        assert_true(host_is_listed(span_of(listed[i]), list));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(host_is_listed(span_of(others[i]), list));
    assert_false(host_is_listed(span_of("a"), ""));
}

/* What the settings allow besides addresses and names without a dot; nothing is looked up. */
static void test_settings_allow_names(void **state)
{
    (void)state;
    char listening[] = "status.example";
    char agents_url[] = "http://Agents.example:3001/base";
    char allowed[] = "board.example, other.lan";
    const struct config config = {
        .health_host = listening,
        .task_status_base_url = agents_url,
        .health_allowed_hosts = allowed,
    };
    static const char *const good[] = {"STATUS.example:3001", "agents.example", "board.example.",
        "other.lan:80", "localhost", "10.0.0.1:1"};
    static const char *const bad[] = {"x.status.example", "status.example.evil.example",
        "3001.example", "agents.example.lan", "board.example,"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(host_access_check(
            &config, &(struct http_server_request){.authority = span_of(good[i])}));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(host_access_check(
            &config, &(struct http_server_request){.authority = span_of(bad[i])}));
    assert_true(host_access_check(&config, &(struct http_server_request){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_is_without_port_brackets_and_last_dot),
        cmocka_unit_test(test_only_names_with_dots_are_domains),
        cmocka_unit_test(test_settings_allow_names),
        cmocka_unit_test(test_lists_are_searched_by_whole_names),
    };
    return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}

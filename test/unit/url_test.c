/* URL parsing: the parts of valid URLs, and the reasons for refusing others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "config/url.h"

static void test_valid_urls_are_split(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host;
        unsigned port;
        bool is_https;
    } cases[] = {
        {"http://h", "h", 80, false},
        {"HTTPS://H.example/", "H.example", 443, true},
        {"http://127.0.0.1:1", "127.0.0.1", 1, false},
        {"http://[::1]:65535/a/b", "::1", 65535, false},
        {"https://[2001:db8::1]", "2001:db8::1", 443, true},
        {"http://a_b-c.d.:080", "a_b-c.d.", 80, false},
        {"http://h/a%20b@c:d", "h", 80, false},
        {"http://1.2.3.4.example", "1.2.3.4.example", 80, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct url url;
        assert_null(url_parse(cases[i].url, &url));
        assert_int_equal(url.host.length_bytes, strlen(cases[i].host));
        assert_memory_equal(url.host.bytes, cases[i].host, url.host.length_bytes);
        assert_int_equal(url.port, cases[i].port);
        assert_int_equal(url.is_https, cases[i].is_https);
        assert_true(url_host_is(&url, cases[i].host));
    }
}

static void test_invalid_urls_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "begin with"},
        {"//h", "begin with"},
        {"http:h", "begin with"},
        {"file:///h", "begin with"},
        {" http://h", "white space"},
        {"http://h/a b", "white space"},
        {"http://h\n", "white space"},
        {"http://", "no host"},
        {"http:///a", "no host"},
        {"http://:80", "no host"},
        {"http://h:", "port"},
        {"http://h:0", "port"},
        {"http://h:65536", "port"},
        {"http://h:99999999999999999999", "port"},
        {"http://h:8x", "port"},
        {"http://h:-1", "port"},
        {"http://a:b:1", "port"},
        {"http://::1", "no host"},
        {"http://[::1", "without ']'"},
        {"http://[]", "IPv6"},
        {"http://[127.0.0.1]", "IPv6"},
        {"http://[fe80::1%25eth0]", "IPv6"},
        {"http://[::1]80", "after its ']'"},
        {"http://[::1]:", "port"},
        {"http://u@h", "user name"},
        {"http://u:p@h", "user name"},
        {"http://@h", "user name"},
        {"http://h?a", "query"},
        {"http://h#a", "query"},
        {"http://h/a?b", "query"},
        {"http://h/a#b", "query"},
        {"http://a..b", "empty label"},
        {"http://.a", "empty label"},
        {"http://.", "host"},
        {"http://a%41", "characters"},
        {"http://h\\a", "characters"},
        {"http://\xC3\xA4.example", "characters"},
        {"http://256.1.1.1", "IPv4"},
        {"http://1.2.3", "IPv4"},
        {"http://80", "IPv4"},
        {"http://h/\xC3\xA4", "escaped"},
        {"http://h/a\\b", "escaped"},
        {"http://h/%4", "hexadecimal"},
        {"http://h/%zz", "hexadecimal"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct url url;
        const char *wrong = url_parse(cases[i][0], &url);
        if (wrong == NULL || strstr(wrong, cases[i][1]) == NULL)
            fail_msg("%s: %s", cases[i][0], wrong != NULL ? wrong : "accepted");
    }
    char long_label[100] = "http://";
    memset(long_label + 7, 'a', 64);
    struct url url;
    assert_non_null(url_parse(long_label, &url));
    long_label[7 + 63] = '\0';
    assert_null(url_parse(long_label, &url));
}

static void expect_locality(const char *string, bool is_local)
{
    struct url url;
    assert_null(url_parse(string, &url));
    if (url_is_local(&url) != is_local)
        fail_msg("%s", string);
}

static void test_local_hosts_are_known(void **state)
{
    (void)state;
    static const char *const local[] = {"http://localhost", "http://LOCALHOST:1",
        "http://127.0.0.1", "http://127.1.2.3", "http://0.0.0.0", "http://[::1]",
        "http://openclaw-gateway:18789", "http://host.docker.internal", "http://a.localhost",
        "http://10.0.0.1", "http://10.255.255.255/x", "http://172.16.0.1", "http://172.31.255.255",
        "http://192.168.1.1:80", "http://169.254.1.1", "http://[fe80::1]", "http://[fd12::1]",
        "http://[fc00::1]", "http://[::ffff:10.1.1.1]", "http://gateway.LOCAL", "http://a.b.local.",
        "http://gateway.agents.svc", "http://gateway.agents.svc.cluster.local",
        "http://db.corp.internal", "http://gw-moved.test:1", "http://nowhere.invalid",
        "http://nas.home.arpa"};
    static const char *const remote[] = {"http://example.com", "http://9.255.255.255",
        "http://11.0.0.1", "http://172.15.0.1", "http://172.32.0.1", "http://192.169.0.1",
        "http://169.255.0.1", "http://100.64.0.1", "http://126.0.0.1", "http://128.0.0.1",
        "http://127.example.com", "http://localhost.example.com", "http://[::ffff:9.9.9.9]",
        "http://[2001:db8::1]", "http://[fec0::1]", "http://svc.example", "http://a.locals"};
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
        expect_locality(local[i], true);
    for (size_t i = 0; i < sizeof remote / sizeof remote[0]; i++)
        expect_locality(remote[i], false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_urls_are_split),
        cmocka_unit_test(test_invalid_urls_are_refused_with_a_reason),
        cmocka_unit_test(test_local_hosts_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

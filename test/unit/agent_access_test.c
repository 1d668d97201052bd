/* Who may use the agents' API: peers, session keys with and without tags; and where it is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_tools/api_address.h"
#include "base/sync.h"
#include "serve/agent_access.h"

static bool allows(const char *address)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, address, &ipv4.sin_addr) == 1)
        return peer_is_private((struct sockaddr *)&ipv4);
    assert_int_equal(inet_pton(AF_INET6, address, &ipv6.sin6_addr), 1);
    return peer_is_private((struct sockaddr *)&ipv6);
}

static void test_only_private_peers_are_let_in(void **state)
{
    (void)state;
    static const char *const private[] = {"127.0.0.1", "127.255.255.255", "10.0.0.0",
        "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.1", "192.168.255.255",
        "169.254.1.1", "::1", "::ffff:127.0.0.1", "::ffff:10.1.2.3", "::ffff:192.168.0.9",
        "fc00::1", "fdff::1", "fe80::1", "febf::1"};
    static const char *const public[] = {"0.0.0.0", "126.255.255.255", "128.0.0.1", "9.255.255.255",
        "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "8.8.8.8",
        "169.253.255.255", "169.255.0.0", "255.255.255.255", "::", "::2", "::ffff:8.8.8.8",
        "::ffff:172.32.0.1", "::127.0.0.1", "2001:db8::1", "fbff::1", "fe00::1", "fec0::1",
        "ff02::1"};
    for (size_t i = 0; i < sizeof private / sizeof private[0]; i++)
        if (!allows(private[i]))
            fail_msg("%s is private", private[i]);
    for (size_t i = 0; i < sizeof public / sizeof public[0]; i++)
        if (allows(public[i]))
            fail_msg("%s is not private", public[i]);
    const struct sockaddr other = {.sa_family = AF_UNIX};
    assert_false(peer_is_private(&other));
}

struct fixture {
    struct config config;
    struct capability *capability;
    struct wake_schedule *schedule;
    struct agent_access access;
};

static char account[] = "Acc1";

static int setup(void **state)
{
    static struct fixture fixture;
    static struct agent agents[] = {
        {.id = "a1", .slug = "Jarvis", .flags = {.can_mark_done = true}},
        {.id = "a2", .slug = "friday"},
        {.id = "a3", .slug = "twin"},
        {.id = "a4", .slug = "TWIN"},
    };
    struct wake_changes changes;
    const struct agent_list list = {.agents = agents, .count = 4};
    fixture = (struct fixture){.config = {.account_id = account, .agent_api_tags = 1}};
    assert_int_equal(capability_create(&fixture.capability, NULL, NULL), 0);
    assert_int_equal(wake_schedule_create(&fixture.schedule, NULL), 0);
    assert_int_equal(
        wake_schedule_update(fixture.schedule, &list, clock_monotonic_ms(), &changes, NULL), 0);
    fixture.access = (struct agent_access){&fixture.config, fixture.capability, fixture.schedule};
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    capability_destroy(fixture->capability);
    wake_schedule_destroy(fixture->schedule);
    return 0;
}

/* The slug that the credential gives access for, with the tag of agent_id unless that is NULL. */
static const char *accepted(const struct fixture *fixture, const char *key, const char *agent_id)
{
    static struct agent agent;
    char tag[CAPABILITY_TAG_BYTES];
    char credential[512];
    size_t key_bytes;
    snprintf(credential, sizeof credential, "%s", key);
    if (agent_id != NULL) {
        capability_tag(fixture->capability, key, agent_id, tag);
        snprintf(credential, sizeof credential, "%s~%s", key, tag);
    }
    if (!agent_access_check(&fixture->access, credential, &agent, &key_bytes))
        return "";
    assert_int_equal(key_bytes, strcspn(credential, "~"));
    return agent.slug;
}

static void test_tag_decides(void **state)
{
    struct fixture *fixture = *state;
    assert_string_equal(accepted(fixture, "agent:jarvis:task:t1:acc1:v1", "a1"), "Jarvis");
    assert_string_equal(accepted(fixture, "agent:jarvis:system:acc1:v12", "a1"), "Jarvis");
    assert_string_equal(accepted(fixture, "agent:jarvis:some key", "a1"), "Jarvis");
    assert_string_equal(accepted(fixture, "agent:jarvis:task:t1:acc1:v1", "a2"), "");
    assert_string_equal(accepted(fixture, "agent:jarvis:task:t1:acc1:v1", NULL), "");
    assert_string_equal(accepted(fixture, "agent:jarvis:task:t1:acc2:v1", "a1"), "");
    assert_string_equal(accepted(fixture, "agent:nobody:task:t1:acc1:v1", "a1"), "");
    assert_string_equal(accepted(fixture, "agent:twin:task:t1:acc1:v1", "a3"), "");
    assert_string_equal(accepted(fixture, "agent:main:jarvis:task:t1:acc1:v1", "a1"), "");
    assert_string_equal(accepted(fixture, "", "a1"), "");
    assert_string_equal(accepted(fixture, "~", NULL), "");
}

static void test_fallback_answers_for_others(void **state)
{
    struct fixture *fixture = *state;
    static char friday[] = "friday";
    fixture->config.fallback_agent = friday;
    assert_string_equal(accepted(fixture, "agent:friday:jarvis:task:t1:acc1:v1", "a1"), "Jarvis");
    assert_string_equal(accepted(fixture, "agent:friday:task:t1:acc1:v1", "a2"), "friday");
    assert_string_equal(accepted(fixture, "agent:friday:jarvis:key", "a1"), "Jarvis");
    assert_string_equal(accepted(fixture, "agent:friday:jarvis:key", "a2"), "friday");
    fixture->config.agent_api_tags = 0;
    assert_string_equal(accepted(fixture, "agent:friday:jarvis:system:acc1:v1", NULL), "Jarvis");
    assert_string_equal(accepted(fixture, "agent:friday:system:acc1:v1", NULL), "friday");
}

static void test_without_tags_the_account_has_to_be_named(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.agent_api_tags = 0;
    assert_string_equal(accepted(fixture, "agent:jarvis:task:t1:acc1:v1", NULL), "Jarvis");
    assert_string_equal(accepted(fixture, "agent:jarvis:task:t1:acc1:v1", "a2"), "Jarvis");
    assert_string_equal(accepted(fixture, "agent:jarvis:task:t1:acc2:v1", NULL), "");
    assert_string_equal(accepted(fixture, "agent:jarvis:some key", NULL), "");
    assert_string_equal(accepted(fixture, "agent:nobody:system:acc1:v1", NULL), "");
}

static void expect_url(const struct config *config, const char *expected)
{
    struct text text = {0};
    agent_api_base_url(config, 3001, &text);
    assert_string_equal(text.data, expected);
    text_fini(&text);
}

static void test_agents_are_told_an_address_to_connect_to(void **state)
{
    (void)state;
    static char *const hosts[][2] = {
        {"127.0.0.1", "http://127.0.0.1:3001"},
        {"0.0.0.0", "http://127.0.0.1:3001"},
        {"::", "http://127.0.0.1:3001"},
        {"::1", "http://[::1]:3001"},
        {"fe80::1%eth0", "http://[fe80::1%25eth0]:3001"},
        {"runtime", "http://runtime:3001"},
    };
    static char url[] = "https://runtime.example/api";
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        expect_url(&(struct config){.health_host = hosts[i][0]}, hosts[i][1]);
    expect_url(&(struct config){.health_host = hosts[0][0], .task_status_base_url = url}, url);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_private_peers_are_let_in),
        TEST(test_tag_decides),
        TEST(test_fallback_answers_for_others),
        TEST(test_without_tags_the_account_has_to_be_named),
        cmocka_unit_test(test_agents_are_told_an_address_to_connect_to),
    };
    return cmocka_run_group_tests_name("agent_access", tests, NULL, NULL);
}

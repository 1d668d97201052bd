/*
 * What the board's page relies on: people make agents there, which then come alive; it says who
 * will read a message and whether the runtime is there; and its tour breaks the gateway for a while
 * and kills the runtime.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../lib/backend_call.h"
#include "../../lib/board.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

static void test_agents_are_made_with_all_their_texts(void **state)
{
    struct test_env *env = *state;
    test_env_list_agents(env, true);
    backend_set_up(env, "seed", "{'skills':[{'slug':'cooking','contentMarkdown':'Boil.'}]}");
    json_t *made = backend_control(env, "agents",
        "{'slug':'karen-2','name':'Karen','role':'Writer','icon':'pen','soul':'calm',"
        "'identity':'a writer','user':'Ada','model':'m1','heartbeatInterval':5,'orchestrator':true,"
        "'flags':{'canCreateTasks':true},"
        "'skills':['cooking',{'slug':'rhymes','name':'Rhymes','contentMarkdown':'Rhyme.'}]}");
    value_must_be(env, made, "id", "'$Karen'");
    value_must_be(env, made, "slug", "'karen-2'");
    value_must_be(env, made, "skillIds", "['$cooking','$rhymes']");
    json_t *profiles = backend_value(env, "listAgentsForRuntime", "{}");
    value_must_be(env, profiles, "0._id", "'$Karen'");
    value_must_be(env, profiles, "0.role", "'Writer'");
    value_must_be(env, profiles, "0.effectiveSoulContent", "'calm'");
    value_must_be(env, profiles, "0.effectiveIdentityContent", "'a writer'");
    value_must_be(env, profiles, "0.effectiveUserMd", "'Ada'");
    value_must_be(env, profiles, "0.openclawConfig.model", "'m1'");
    value_must_be(env, profiles, "0.resolvedSkills.0.contentMarkdown", "'Boil.'");
    value_must_be(env, profiles, "0.resolvedSkills.1.contentMarkdown", "'Rhyme.'");
    json_t *agents = backend_value(env, "listAgents", "{}");
    value_must_be(env, agents, "0.heartbeatInterval", "5");
    value_must_be(env, agents, "0.icon", "'pen'");
    value_must_be(env, agents, "0.effectiveBehaviorFlags.canCreateTasks", "true");
    value_must_be(env, agents, "0.effectiveBehaviorFlags.canMentionAgents", "true");
    json_t *orchestrator = backend_value(env, "getOrchestratorAgentId", "{}");
    value_must_be(env, orchestrator, "orchestratorAgentId", "'$Karen'");
    json_decref(orchestrator);
    json_decref(agents);
    json_decref(profiles);
    json_decref(made);
}

/* What a change does not name stays; null removes a text, and a default takes its place. */
static void test_agents_are_changed(void **state)
{
    struct test_env *env = *state;
    test_env_list_agents(env, true);
    backend_set_up(env, "agents",
        "{'slug':'karen','name':'Karen','soul':'calm','identity':'a writer','orchestrator':true,"
        "'skills':[{'slug':'rhymes','contentMarkdown':'Rhyme.'}]}");
    backend_set_up(env, "agents/change",
        "{'agent':'karen','slug':'karin','name':'Karin','soul':null,'model':'m2',"
        "'orchestrator':false,'skills':[{'slug':'rhymes','contentMarkdown':'Do not rhyme.'}]}");
    json_t *profiles = backend_value(env, "listAgentsForRuntime", "{}");
    value_must_be(env, profiles, "0.slug", "'karin'");
    value_must_be(env, profiles, "0.name", "'Karin'");
    value_must_be(env, profiles, "0.role", "'Helper'");
    value_must_be(env, profiles, "0.effectiveSoulContent", "'# Soul\\n\\nKarin (Helper)\\n'");
    value_must_be(env, profiles, "0.effectiveIdentityContent", "'a writer'");
    value_must_be(env, profiles, "0.openclawConfig.model", "'m2'");
    value_must_be(env, profiles, "0.resolvedSkills.0.contentMarkdown", "'Do not rhyme.'");
    value_must_be(env, profiles, "0.resolvedSkills.1", "");
    json_t *orchestrator = backend_value(env, "getOrchestratorAgentId", "{}");
    value_must_be(env, orchestrator, "orchestratorAgentId", "null");
    json_decref(orchestrator);
    json_decref(profiles);
}

static void test_removed_agents_are_gone_from_the_board(void **state)
{
    struct test_env *env = *state;
    test_env_list_agents(env, true);
    backend_set_up(env, "agents", "{'slug':'karen','orchestrator':true}");
    backend_set_up(env, "seed", "{'tasks':[{'title':'work','assign':['karen']}]}");
    json_t *removed = backend_control(env, "agents/remove", "{'agent':'karen'}");
    value_must_be(env, removed, "deleted", "3");
    json_t *board = test_env_get(env, "/sandbox/state");
    value_must_be(env, board, "agents", "[]");
    value_must_be(env, board, "notifications", "[]");
    value_must_be(env, board, "subscriptions", "[]");
    value_must_be(env, board, "tasks.0.assignedAgentIds", "[]");
    value_must_be(env, board, "accounts.0.settings.orchestratorAgentId", "");
    json_decref(board);
    json_decref(removed);
    json_t *agents = backend_value(env, "listAgents", "{}");
    assert_int_equal(json_array_size(agents), 0);
    json_decref(agents);
}

/* Requests that are refused, and what the answer says. */
static const struct {
    const char *path;
    const char *body;
    const char *error;
    int status;
} wrong_agents[] = {
    {"", "{'name':'Karen'}", "slug is missing", 400},
    {"", "{'slug':'a/b'}", "slug must be 1 to 64 letters, digits, - and _, not \"a/b\"", 400},
    {"", "{'slug':''}", "slug must be a string that is not empty", 400},
    {"", "{'slug':'jarvis'}", "there is an agent with the slug jarvis already", 400},
    {"", "{'slug':'x','soul':1}", "soul must be a string, or null for none", 400},
    {"", "{'slug':'x','skills':['none']}", "skills must be an array of names", 400},
    {"", "{'slug':'x','flags':{'canMarkDone':1}}", "flags must be an object of booleans", 400},
    {"", "{'slug':'x','heartbeatInterval':-1}", "heartbeatInterval must be a number", 400},
    {"", "{'slug':'x','soulContent':'calm'}", "agents have no member soulContent", 400},
    {"", "{'slug':'x','agent':'jarvis'}", "agents have no member agent", 400},
    {"/change", "{'agent':'nobody'}", "agent matches nothing", 404},
    {"/change", "{'agent':'jarvis','name':'','role':'x'}", "name must be a string", 400},
    {"/change", "{'agent':'jarvis','slug':'friday'}", "slug friday already", 400},
    {"/remove", "{'agent':'nobody'}", "agent matches nothing", 404},
};

static void test_wrong_agents_are_refused_and_change_nothing(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'},{'slug':'friday'}]}");
    json_t *before = test_env_get(env, "/sandbox/state");
    for (size_t i = 0; i < sizeof wrong_agents / sizeof wrong_agents[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "/sandbox/agents%s", wrong_agents[i].path);
        json_t *answer = backend_post(
            env, path, NULL, backend_json(env, wrong_agents[i].body), wrong_agents[i].status);
        assert_non_null(strstr(value_string(answer, "message"), wrong_agents[i].error));
        json_decref(answer);
    }
    json_t *after = test_env_get(env, "/sandbox/state");
    assert_true(json_equal(before, after));
    json_decref(after);
    json_decref(before);
}

static void test_agents_are_made_on_version_1_only(void **state)
{
    json_t *answer = backend_post(
        *state, "/sandbox/agents", NULL, backend_json(*state, "{'slug':'karen'}"), 400);
    value_must_be(*state, answer, "code", "'WrongVersion'");
    json_decref(answer);
}

/* Settings as in the demo: the intervals that the documents let people shorten. */
static const char *const demo_settings[] = {
    "DELIVERY_INTERVAL=1000", "AGENT_SYNC_INTERVAL=5000", NULL};

/* A person makes an agent, who answers a mention within 10 s and is awake. */
static void test_new_agent_answers_within_10_s(void **state)
{
    struct test_env *env = *state;
    test_env_list_agents(env, true);
    test_env_start_runtime(env, demo_settings);
    backend_set_up(env, "agents", "{'slug':'karen','name':'Karen','soul':'You write.'}");
    long replies = test_env_stat(env, NULL, "replies");
    char condition[64];
    int count;
    snprintf(condition, sizeof condition, "replies=%ld&timeout_ms=%d", replies + 1,
        10000 * process_timeout_scale());
    json_t *posted =
        backend_control(env, "message", "{'task':'Plan the launch','content':'@karen hello'}");
    assert_true(test_env_check(env, condition));
    json_t *messages = board_documents(env, "messages");
    const json_t *reply =
        board_message_for(messages, value_string(posted, "notifications.0"), &count);
    assert_int_equal(count, 1);
    value_must_be(env, reply, "authorId", "'$karen'");
    assert_non_null(strstr(board_string(reply, "content"), "karen here"));
    json_decref(messages);
    json_decref(posted);
}

/* It is woken as well: the first wake-up comes with the next reading of the list of agents. */
static void test_new_agent_is_woken(void **state)
{
    struct test_env *env = *state;
    test_env_list_agents(env, true);
    test_env_start_runtime(env, STRINGS("AGENT_SYNC_INTERVAL=100"));
    backend_set_up(env, "agents", "{'slug':'karen','heartbeatInterval':0.005}");
    test_env_wait_calls(env, "updateAgentHeartbeat", 1);
    json_t *agents = board_documents(env, "agents");
    value_must_be(env, agents, "0.status", "'online'");
    assert_true(json_is_number(value_at(agents, "0.lastHeartbeat")));
    json_decref(agents);
}

static void must_be_read_by(struct test_env *env, const char *content, const char *readers)
{
    json_t *answer = backend_control(env, "readers", "{'task':'work','content':'%s'}", content);
    value_must_be(env, answer, "readers", readers);
    json_decref(answer);
}

/* Who reads a message is said by the rules that decide it. */
static void test_readers_are_those_who_are_notified(void **state)
{
    struct test_env *env = *state;
    bool is_v1 = test_env_is_v1(env);
    backend_set_up(
        env, "seed", "{'agents':[{'slug':'jarvis'},{'slug':'friday'}],'tasks':[{'title':'work'}]}");
    must_be_read_by(env, "hello", "[]");
    backend_set_up(env, "message", "{'task':'work','author':'jarvis','content':'I follow this'}");
    json_t *before = test_env_get(env, "/sandbox/state");
    must_be_read_by(env, "hello", "[{'id':'$jarvis','kind':'agent','type':'thread_update'}]");
    must_be_read_by(env, "@friday hello",
        is_v1 ? "[{'id':'$friday','kind':'agent','type':'mention'}]"
              : "[{'id':'$friday','kind':'agent','type':'mention'},"
                "{'id':'$jarvis','kind':'agent','type':'thread_update'}]");
    json_t *after = test_env_get(env, "/sandbox/state");
    assert_true(json_equal(before, after));
    json_decref(after);
    json_decref(before);
    backend_set_up(env, "status", "{'task':'work','status':'done'}");
    must_be_read_by(
        env, "hello", is_v1 ? "[]" : "[{'id':'$jarvis','kind':'agent','type':'thread_update'}]");
}

/* Fails the test unless a message is answered by as many notifications as it has readers. */
static void test_readers_get_a_notification_each(void **state)
{
    struct test_env *env = *state;
    static const char *const contents[] = {"hello", "@friday hello", "@all", "`@friday`"};
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis'},{'slug':'friday'}],"
        "'tasks':[{'title':'work','assign':['jarvis']}]}");
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        json_t *said =
            backend_control(env, "readers", "{'task':'work','content':'%s'}", contents[i]);
        json_t *posted =
            backend_control(env, "message", "{'task':'work','content':'%s'}", contents[i]);
        size_t notified = json_array_size(value_at(posted, "notifications")) +
                          json_array_size(value_at(posted, "patched"));
        assert_int_equal(json_array_size(value_at(said, "readers")), notified);
        json_decref(posted);
        json_decref(said);
    }
}

static void presence_must_be(struct test_env *env, const char *word)
{
    json_t *runtime = test_env_get(env, "/sandbox/runtime");
    assert_string_equal(value_string(runtime, "presence"), word);
    json_decref(runtime);
}

static void wait_for_presence(struct test_env *env, const char *word)
{
    for (int left = TEST_WAIT_MS / 50; left > 0; left--) {
        json_t *runtime = test_env_get(env, "/sandbox/runtime");
        bool is = strcmp(value_string(runtime, "presence"), word) == 0;
        json_decref(runtime);
        if (is)
            return;
        /* A wait of the sandbox that is never met: it ends after 50 ms. */
        assert_false(test_env_check(env, "change=1000000000&timeout_ms=50"));
    }
    fail_msg("the runtime's presence did not become %s", word);
}

static void test_presence_follows_the_runtime(void **state)
{
    struct test_env *env = *state;
    presence_must_be(env, "none");
    test_env_start_runtime(env, NULL);
    wait_for_presence(env, "online");
    test_env_stop_runtime(env);
    wait_for_presence(env, "stopped");
}

static void write_pid_file(const struct test_env *env, const char *content)
{
    char path[TMP_DIR_BYTES + 32];
    snprintf(path, sizeof path, "%s/runtime.pid", env->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void refuse_to_kill(struct test_env *env, const char *code)
{
    json_t *answer = backend_post(env, "/sandbox/runtime/kill", NULL, backend_json(env, "{}"), 400);
    assert_string_equal(value_string(answer, "code"), code);
    json_decref(answer);
}

/* A supervised runtime is killed once; its end shows at once, and so does the next process. */
static void test_supervised_runtime_is_killed(void **state)
{
    struct test_env *env = *state;
    char pid[32];
    test_env_start_runtime(env, NULL);
    wait_for_presence(env, "lost");
    refuse_to_kill(env, "NotSupervised");
    snprintf(pid, sizeof pid, "%d\n", (int)env->runtime.pid);
    write_pid_file(env, pid);
    wait_for_presence(env, "online");
    json_t *killed = backend_control(env, "runtime/kill", "{}");
    assert_int_equal(json_integer_value(json_object_get(killed, "killed")), env->runtime.pid);
    json_decref(killed);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    presence_must_be(env, "lost");
    refuse_to_kill(env, "NotSupervised");
    process_fini(&env->runtime);
    test_env_start_runtime(env, NULL);
    snprintf(pid, sizeof pid, "%d", (int)env->runtime.pid);
    write_pid_file(env, pid);
    wait_for_presence(env, "online");
}

static void test_bad_pid_files_kill_nothing(void **state)
{
    struct test_env *env = *state;
    static const char *const contents[] = {"", "0", "1", "-1", "x", "99999999999999999999", "12 13",
        "111111111111111111111111111111111111111111"};
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        write_pid_file(env, contents[i]);
        refuse_to_kill(env, "NotSupervised");
    }
}

static void test_unsupervised_runtime_is_not_killed(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    wait_for_presence(env, "online");
    json_t *runtime = test_env_get(env, "/sandbox/runtime");
    value_must_be(env, runtime, "killable", "false");
    json_decref(runtime);
    refuse_to_kill(env, "NotSupervised");
}

/* URLs of the runtime's page, and whether the page may link to them. */
static const struct {
    const char *url;
    bool accepted;
} urls[] = {
    {"'http://127.0.0.1:3001/'", true},
    {"'https://runtime.example/x'", true},
    {"null", true},
    {"'javascript:alert(1)'", false},
    {"'http://a b/'", false},
    {"''", false},
    {"1", false},
};

static void test_address_of_the_runtime_is_a_link(void **state)
{
    struct test_env *env = *state;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        char body[128];
        snprintf(body, sizeof body, "{'runtime_url':%s}", urls[i].url);
        json_decref(backend_post(
            env, "/sandbox/settings", NULL, backend_json(env, body), urls[i].accepted ? 200 : 400));
        if (!urls[i].accepted)
            continue;
        json_t *runtime = test_env_get(env, "/sandbox/runtime");
        value_must_be(env, runtime, "url", urls[i].url);
        json_decref(runtime);
    }
}

/* The gateway is broken for as long as the rule says, and then the message is answered. */
static void test_rule_ends_after_its_time(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    test_env_start_runtime(env, NULL);
    backend_set_up(env, "faults",
        "{'gateway':[{'name':'tour','before_checks':true,'action':'status','status':503,"
        "'for_ms':4000}]}");
    json_t *faults = test_env_get(env, "/sandbox/faults");
    assert_in_range(json_integer_value(value_at(faults, "rules.0.left_ms")), 1, 4000);
    json_decref(faults);
    board_load_one(env, id);
    test_env_wait(env, "posts=1");
    assert_int_equal(test_env_stat(env, NULL, "replies"), 0);
    test_env_wait(env, "replies=1");
    assert_int_equal(board_requests_for(env, id), 1);
    faults = test_env_get(env, "/sandbox/faults");
    value_must_be(env, faults, "rules", "[]");
    json_decref(faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_agents_are_made_with_all_their_texts),
        V1(test_agents_are_changed),
        V1(test_removed_agents_are_gone_from_the_board),
        V1(test_wrong_agents_are_refused_and_change_nothing),
        TEST_IN_ENV(test_agents_are_made_on_version_1_only),
        TEST_IN_ENV_WITH(test_new_agent_answers_within_10_s, .backend = "v1", .demo = true),
        V1(test_new_agent_is_woken),
        TEST_ON_BOTH(test_readers_are_those_who_are_notified),
        TEST_ON_BOTH(test_readers_get_a_notification_each),
        TEST_ON_BOTH(test_presence_follows_the_runtime),
        TEST_IN_ENV_WITH(test_supervised_runtime_is_killed, .backend = "v1", .supervised = true),
        TEST_IN_ENV_WITH(test_bad_pid_files_kill_nothing, .supervised = true),
        V1(test_unsupervised_runtime_is_not_killed),
        TEST_IN_ENV(test_address_of_the_runtime_is_a_link),
        V1(test_rule_ends_after_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What the files of agents' profiles hold, the gateway's list of agents, and what is said when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../lib/alloc_fault.h"
#include "../lib/test_file.h"
#include "../lib/tmp_dir.h"
#include "agents/profiles.h"
#include "base/json.h"

enum { PATH_BYTES = TMP_DIR_BYTES + 256, LISTING_BYTES = 16384 };

struct fixture {
    char dir[TMP_DIR_BYTES];
    char root[TMP_DIR_BYTES + 16];
    char agents_file[TMP_DIR_BYTES + 64];
    struct config config;
    struct stats stats;
    atomic_bool abort;
    struct profiles profiles;
};

/*
 * A slow disk, without the wait: each fsync and each look at the monotonic clock moves that clock
 * on by so much.
 */
static int64_t fsync_takes_ms;
static int64_t look_takes_ms;
static int64_t passed_ms;
static size_t fsyncs;

/* Replaces the C library's functions, at the linker's level so that it affects only this program.
 */
int fake_fsync(int fd) __asm__("fsync");
int fake_clock_gettime(clockid_t clock, struct timespec *time) __asm__("clock_gettime");

int fake_fsync(int fd)
{
    fsyncs++;
    passed_ms += fsync_takes_ms;
    return (int)syscall(SYS_fsync, fd);
}

int fake_clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (clock != CLOCK_MONOTONIC || result != 0)
        return result;
    passed_ms += look_takes_ms;
    time->tv_sec += (time_t)(passed_ms / 1000);
    time->tv_nsec += (long)(passed_ms % 1000) * 1000000;
    time->tv_sec += time->tv_nsec / 1000000000;
    time->tv_nsec %= 1000000000;
    return 0;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->dir);
    snprintf(fixture->root, sizeof fixture->root, "%s/agents", fixture->dir);
    snprintf(fixture->agents_file, sizeof fixture->agents_file, "%s/mission-control-agents.json",
        fixture->dir);
    fixture->config = (struct config){.profile_sync = true,
        .workspace_root = fixture->root,
        .workspace_root_in_gateway = "/seen/agents",
        .agents_file = fixture->agents_file};
    stats_init(&fixture->stats);
    fixture->profiles = (struct profiles){
        .config = &fixture->config, .stats = &fixture->stats, .abort = &fixture->abort};
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    fsync_takes_ms = 0;
    look_takes_ms = 0;
    profiles_fini(&fixture->profiles);
    stats_fini(&fixture->stats);
    tmp_dir_remove(fixture->dir);
    free(fixture);
    return 0;
}

static bool sync_as(struct fixture *fixture, const char *rows, enum gateway_generation generation)
{
    json_t *list = json_loads(rows, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(list);
    bool written = profiles_write(&fixture->profiles, list, generation);
    json_decref(list);
    return written;
}

static bool sync_agents(struct fixture *fixture, const char *rows)
{
    return sync_as(fixture, rows, GATEWAY_CURRENT);
}

static char *read_in(const struct fixture *fixture, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", fixture->dir, name);
    return test_file_read(path);
}

static void expect_file(const struct fixture *fixture, const char *name, const char *content)
{
    char *found = read_in(fixture, name);
    assert_string_equal(found, content);
    free(found);
}

static void write_in(const struct fixture *fixture, const char *name, const char *content)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", fixture->dir, name);
    test_file_write(path, content);
}

static bool is_there(const struct fixture *fixture, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", fixture->dir, name);
    return access(path, F_OK) == 0;
}

static const char *trouble(const struct fixture *fixture)
{
    return fixture->profiles.trouble;
}

#define JARVIS                                                                        \
    "{\"_id\":\"k57a\",\"slug\":\"Jarvis\",\"name\":\"Jarvis\\nthe First\","          \
    "\"effectiveSoulContent\":\"  calm \\n\",\"effectiveUserMd\":\"Ada\","            \
    "\"effectiveIdentityContent\":\"\",\"openclawConfig\":{\"model\":\"kimi-k2.5\"}," \
    "\"resolvedSkills\":[{\"slug\":\"haggle\",\"name\":\"Haggling\","                 \
    "\"description\":\"to\\nhaggle\",\"contentMarkdown\":\"Ask for less.\"},"         \
    "{\"slug\":\"list\",\"name\":\"Listed only\"}]}"
#define FRIDAY "{\"_id\":\"k57b\",\"slug\":\"friday\",\"name\":\"Friday\"}"

static void test_each_file_has_what_the_board_says(void **state)
{
    struct fixture *fixture = *state;
    assert_true(sync_agents(fixture, "[" JARVIS "]"));
    assert_string_equal(trouble(fixture), "");
    expect_file(fixture, "agents/jarvis/SOUL.md", "calm\n");
    expect_file(fixture, "agents/jarvis/USER.md", "Ada\n");
    expect_file(fixture, "agents/jarvis/IDENTITY.md", "# Identity\n\nYou are Jarvis the First.\n");
    char *tools = read_in(fixture, "agents/jarvis/TOOLS.md");
    assert_non_null(strstr(tools, "- **Haggling** (haggle) — to haggle\n"));
    assert_non_null(strstr(tools, "- **Listed only** (list)\n"));
    free(tools);
    expect_file(fixture, "agents/jarvis/skills/haggle/SKILL.md",
        "---\nname: \"Haggling\"\ndescription: \"to haggle\"\n---\n\nAsk for less.\n");
    assert_false(is_there(fixture, "agents/jarvis/skills/list"));
    assert_true(is_there(fixture, "agents/jarvis/deliverables"));
    expect_file(fixture, "agents/jarvis/memory/WORKING.md", "# Current work\n");
    char *instructions = read_in(fixture, "agents/jarvis/AGENTS.md");
    assert_non_null(strstr(instructions, "Work done"));
    free(instructions);
    char *routine = read_in(fixture, "agents/jarvis/HEARTBEAT.md");
    assert_non_null(strstr(routine, "HEARTBEAT_OK"));
    free(routine);
}

/* An empty soul makes no file; the memory has a file for each of three days. */
static void test_an_agent_without_texts_gets_the_defaults(void **state)
{
    struct fixture *fixture = *state;
    sync_agents(fixture, "[" FRIDAY "]");
    assert_false(is_there(fixture, "agents/friday/SOUL.md"));
    char *tools = read_in(fixture, "agents/friday/TOOLS.md");
    assert_non_null(strstr(tools, "- No assigned skills\n"));
    free(tools);
    for (int day = -1; day <= 1; day++) {
        time_t at = time(NULL) + day * (time_t)86400;
        struct tm utc;
        char name[64];
        gmtime_r(&at, &utc);
        strftime(name, sizeof name, "agents/friday/memory/%Y-%m-%d.md", &utc);
        assert_true(is_there(fixture, name));
    }
}

static void test_what_agents_remember_is_never_written_over(void **state)
{
    struct fixture *fixture = *state;
    sync_agents(fixture, "[" JARVIS "]");
    write_in(fixture, "agents/jarvis/MEMORY.md", "mine");
    write_in(fixture, "agents/jarvis/memory/WORKING.md", "mine, too");
    write_in(fixture, "agents/jarvis/memory/SOUL.md", "and this");
    write_in(fixture, "agents/jarvis/SOUL.md", "spoilt");
    sync_agents(fixture, "[" JARVIS "]");
    expect_file(fixture, "agents/jarvis/MEMORY.md", "mine");
    expect_file(fixture, "agents/jarvis/memory/WORKING.md", "mine, too");
    expect_file(fixture, "agents/jarvis/memory/SOUL.md", "and this");
    expect_file(fixture, "agents/jarvis/SOUL.md", "calm\n");
}

static void test_skills_keep_their_own_front_matter(void **state)
{
    (void)state;
    static const struct {
        const char *skill;
        const char *expected;
    } cases[] = {
        {"{\"slug\":\"s\",\"name\":\"N\",\"contentMarkdown\":\"---\\nname: own\\n---\\nText\"}",
            "---\ndescription: \"s\"\nname: own\n---\nText\n"},
        {"{\"slug\":\"s\",\"name\":\"N\",\"contentMarkdown\":"
         "\"---\\nname: own\\ndescription: d\\n---\\nText\"}",
            "---\nname: own\ndescription: d\n---\nText\n"},
        {"{\"slug\":\"s\",\"name\":\"N \\\"x\\\": y\",\"contentMarkdown\":\"---\\n---\\nT\"}",
            "---\nname: \"N \\\"x\\\": y\"\ndescription: \"s\"\n---\nT\n"},
        {"{\"slug\":\"s\",\"name\":\"N\",\"contentMarkdown\":\"---\\nnever ended\"}",
            "---\nname: \"N\"\ndescription: \"s\"\n---\n\n---\nnever ended\n"},
        {"{\"slug\":\"s\",\"name\":\"N\",\"contentMarkdown\":\"  \"}", ""},
        {"{\"slug\":\"s\",\"contentMarkdown\":7}", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text text = {0};
        json_t *skill = json_loads(cases[i].skill, 0, NULL);
        assert_non_null(skill);
        profile_append_skill(&text, skill);
        assert_false(text.failed);
        assert_string_equal(text.data != NULL ? text.data : "", cases[i].expected);
        text_fini(&text);
        json_decref(skill);
    }
}

static void test_the_operators_files_replace_ours(void **state)
{
    struct fixture *fixture = *state;
    write_in(fixture, "AGENTS.md", "Our rules.\n");
    sync_agents(fixture, "[" FRIDAY "]");
    expect_file(fixture, "agents/friday/AGENTS.md", "Our rules.\n");
    write_in(fixture, "HEARTBEAT.md", "Sleep.\n");
    sync_agents(fixture, "[" FRIDAY "]");
    expect_file(fixture, "agents/friday/HEARTBEAT.md", "Sleep.\n");
}

/* An agent that can write beside the root must not choose what the runtime reads to all. */
static void test_a_linked_file_of_the_operator_is_not_read(void **state)
{
    struct fixture *fixture = *state;
    char link[TMP_DIR_BYTES + 32];
    write_in(fixture, "secret", "the token");
    snprintf(link, sizeof link, "%s/AGENTS.md", fixture->dir);
    assert_int_equal(symlink("secret", link), 0);
    sync_agents(fixture, "[" FRIDAY "]");
    snprintf(link, sizeof link, "%s/agents/friday/AGENTS.md", fixture->dir);
    assert_int_not_equal(access(link, F_OK), 0);
}

/* A skill that is listed twice is written once, and nothing at the next sync. */
static void test_a_skill_listed_twice_is_written_once(void **state)
{
    struct fixture *fixture = *state;
    static const char agents[] =
        "[{\"_id\":\"k57agent0f\",\"slug\":\"friday\",\"name\":\"Friday\",\"resolvedSkills\":["
        "{\"slug\":\"s\",\"name\":\"S\",\"contentMarkdown\":\"one\"},"
        "{\"slug\":\"s\",\"name\":\"S\",\"contentMarkdown\":\"two\"}]}]";
    sync_agents(fixture, agents);
    char *skill = read_in(fixture, "agents/friday/skills/s/SKILL.md");
    assert_non_null(strstr(skill, "one"));
    free(skill);
}

static void test_the_gateway_gets_the_agents_in_its_form(void **state)
{
    struct fixture *fixture = *state;
    sync_agents(fixture, "[" JARVIS "," FRIDAY "]");
    expect_file(fixture, "mission-control-agents.json",
        "{\"agents\":{\"entries\":{"
        "\"jarvis\":{\"workspace\":\"/seen/agents/jarvis\",\"identity\":{\"name\":\"Jarvis\\nthe "
        "First\"}},"
        "\"friday\":{\"workspace\":\"/seen/agents/friday\",\"identity\":{\"name\":\"Friday\"}}}}}"
        "\n");
    /* A release that is not known counts as a current one. */
    assert_false(sync_as(fixture, "[" JARVIS "," FRIDAY "]", GATEWAY_UNKNOWN));
    assert_true(sync_as(fixture, "[" FRIDAY "]", GATEWAY_OLD));
    expect_file(fixture, "mission-control-agents.json",
        "{\"agents\":{\"list\":[{\"id\":\"friday\",\"workspace\":\"/seen/agents/friday\","
        "\"identity\":{\"name\":\"Friday\"}}]}}\n");
    assert_true(sync_agents(fixture, "[]"));
    expect_file(fixture, "mission-control-agents.json", "{\"agents\":{\"entries\":{}}}\n");
    /* The files of agents that are gone stay. */
    expect_file(fixture, "agents/jarvis/SOUL.md", "calm\n");
}

static void test_only_models_that_the_gateway_has_are_named(void **state)
{
    struct fixture *fixture = *state;
    static const char models_file[] = "mission-control-models.json";
    static const char *const without[] = {
        "{\"gpt-5-nano\":\"openai/gpt-5-nano\"}", "{\"kimi-k2.5\":7}", "[]", "{", ""};
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++) {
        write_in(fixture, models_file, without[i]);
        sync_agents(fixture, "[" JARVIS "]");
        char *found = read_in(fixture, "mission-control-agents.json");
        assert_null(strstr(found, "model"));
        free(found);
        assert_string_equal(trouble(fixture), "");
    }
    write_in(fixture, models_file, "{\"kimi-k2.5\":\"moonshotai/kimi-k2.5\"}");
    assert_true(sync_agents(fixture, "[" JARVIS "]"));
    char *found = read_in(fixture, "mission-control-agents.json");
    assert_non_null(strstr(found, ",\"model\":\"moonshotai/kimi-k2.5\"}"));
    free(found);
}

/* Slugs that would lead out of the root, into sessions of others, or into one folder. */
static void test_agents_with_bad_slugs_are_left_out(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.fallback_agent = "main";
    sync_agents(fixture,
        "[{\"_id\":\"k1\",\"slug\":\"../x\"},{\"_id\":\"k2\",\"slug\":\"..\"},"
        "{\"_id\":\"k3\",\"slug\":\"a/b\"},{\"_id\":\"k4\",\"slug\":\"\"},"
        "{\"_id\":\"k5\"},{\"_id\":\"k6\",\"slug\":7},{\"_id\":\"../k\",\"slug\":\"ok\"},"
        "{\"_id\":\"k7\",\"slug\":\"Twice\"},{\"_id\":\"k8\",\"slug\":\"twice\"},"
        "{\"_id\":\"k9\",\"slug\":\"main\"},{\"_id\":\"k10\",\"slug\":\"cron\"},7,null," FRIDAY
        "]");
    expect_file(fixture, "mission-control-agents.json",
        "{\"agents\":{\"entries\":{\"friday\":{\"workspace\":\"/seen/agents/friday\","
        "\"identity\":{\"name\":\"Friday\"}}}}}\n");
    assert_false(is_there(fixture, "x"));
    assert_false(is_there(fixture, "agents/twice"));
    assert_non_null(strstr(fixture->profiles.skipped, "\"../x\""));
    assert_string_equal(trouble(fixture), "");
    /* The same for a skill, which costs the agent only that skill. */
    sync_agents(fixture, "[{\"_id\":\"k57b\",\"slug\":\"friday\",\"resolvedSkills\":["
                         "{\"slug\":\"../../x\",\"contentMarkdown\":\"a\"},"
                         "{\"slug\":\"good\",\"contentMarkdown\":\"b\"}]}]");
    assert_true(is_there(fixture, "agents/friday/skills/good/SKILL.md"));
    assert_string_equal(fixture->profiles.skipped, "\"../../x\"");
    assert_string_equal(trouble(fixture), "");
}

/* A line for each file and folder, with all that changes when one is written. */
static char listing[LISTING_BYTES];

static int list_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)kind;
    (void)place;
    size_t used = strlen(listing);
    snprintf(listing + used, sizeof listing - used, "%s %ju %jd.%09ld %jd.%09ld\n", path,
        (uintmax_t)status->st_ino, (intmax_t)status->st_mtim.tv_sec, status->st_mtim.tv_nsec,
        (intmax_t)status->st_ctim.tv_sec, status->st_ctim.tv_nsec);
    return 0;
}

static void list_all(const struct fixture *fixture)
{
    listing[0] = '\0';
    assert_int_equal(nftw(fixture->dir, list_one, 8, FTW_PHYS), 0);
    assert_true(strlen(listing) < sizeof listing - 1);
}

/* A temporary file would change the time of its folder. */
static void test_a_sync_without_changes_writes_nothing(void **state)
{
    struct fixture *fixture = *state;
    assert_true(sync_agents(fixture, "[" JARVIS "," FRIDAY "]"));
    list_all(fixture);
    char *before = strdup(listing);
    assert_false(sync_agents(fixture, "[" JARVIS "," FRIDAY "]"));
    list_all(fixture);
    assert_string_equal(listing, before);
    free(before);
}

/* Said and recorded as long as it lasts, but said only once; the other agents get their files. */
static void test_trouble_is_recorded_until_it_ends(void **state)
{
    struct fixture *fixture = *state;
    struct stats_error errors[STATS_SOURCES];
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/agents", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_in(fixture, "agents/jarvis", "a file");
    for (int i = 0; i < 3; i++) {
        sync_agents(fixture, "[" JARVIS "," FRIDAY "]");
        assert_string_equal(trouble(fixture), "jarvis: jarvis is not a folder");
        assert_true(atomic_load(&fixture->stats.profiles_broken));
    }
    stats_errors(&fixture->stats, errors);
    assert_string_equal(errors[STATS_PROFILES].text, "jarvis: jarvis is not a folder");
    assert_true(is_there(fixture, "agents/friday/TOOLS.md"));
    /* It can be asked, whatever is wrong with its files. */
    char *agents = read_in(fixture, "mission-control-agents.json");
    assert_non_null(strstr(agents, "\"jarvis\":{"));
    free(agents);
    snprintf(path, sizeof path, "%s/agents/jarvis", fixture->dir);
    assert_int_equal(unlink(path), 0);
    sync_agents(fixture, "[" JARVIS "," FRIDAY "]");
    assert_string_equal(trouble(fixture), "");
    assert_false(atomic_load(&fixture->stats.profiles_broken));
    stats_errors(&fixture->stats, errors);
    assert_int_equal(errors[STATS_PROFILES].at_ms, 0);
}

static void test_an_agent_never_works_in_the_folder_of_another(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_BYTES];
    sync_agents(fixture, "[" FRIDAY "]");
    snprintf(path, sizeof path, "%s/agents/friday.k57b", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_in(fixture, "agents/friday.k57b/file", "in the way");
    sync_agents(fixture, "[{\"_id\":\"k57new\",\"slug\":\"friday\"}]");
    assert_non_null(strstr(trouble(fixture), "friday: the folder is that of the agent"));
    expect_file(fixture, "mission-control-agents.json", "{\"agents\":{\"entries\":{}}}\n");
}

static void test_an_unusable_place_is_told(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.agents_file = "/nowhere/at/all/agents.json";
    assert_false(sync_agents(fixture, "[" FRIDAY "]"));
    assert_string_equal(trouble(fixture),
        "/nowhere/at/all/agents.json: cannot open its folder: No such file or directory");
    fixture->config.workspace_root = "/dev/null/agents";
    assert_false(sync_agents(fixture, "[" FRIDAY "]"));
    assert_non_null(strstr(trouble(fixture), "OPENCLAW_WORKSPACE_ROOT: cannot open"));
}

static void test_an_aborted_sync_leaves_the_list(void **state)
{
    struct fixture *fixture = *state;
    sync_agents(fixture, "[" FRIDAY "]");
    atomic_store(&fixture->abort, true);
    assert_false(sync_agents(fixture, "[" JARVIS "]"));
    char *agents = read_in(fixture, "mission-control-agents.json");
    assert_non_null(strstr(agents, "friday"));
    free(agents);
}

/* The old list or the new one, but never a part: the gateway would drop the other agents. */
static void test_a_list_without_memory_is_not_written(void **state)
{
    struct fixture *fixture = *state;
    enum gateway_generation generations[] = {GATEWAY_CURRENT, GATEWAY_OLD};
    json_t *rows = json_loads("[" JARVIS "," FRIDAY "]", 0, NULL);
    write_in(fixture, "mission-control-models.json", "{\"kimi-k2.5\":\"moonshotai/kimi-k2.5\"}");
    for (size_t i = 0; i < sizeof generations / sizeof generations[0]; i++) {
        profiles_write(&fixture->profiles, rows, generations[i]);
        char *complete = read_in(fixture, "mission-control-agents.json");
        bool fired = true;
        for (unsigned number = 1; fired; number++) {
            alloc_fault_arm(number);
            profiles_write(&fixture->profiles, rows, generations[i]);
            alloc_fault_disarm();
            fired = alloc_fault_fired();
            expect_file(fixture, "mission-control-agents.json", complete);
            expect_file(fixture, "agents/jarvis/SOUL.md", "calm\n");
        }
        assert_string_equal(trouble(fixture), "");
        free(complete);
    }
    json_decref(rows);
}

/* Rounds. */

enum { MANY = 8 };

/* Rows of agents a0, a1 and so on, with that soul. */
static json_t *many_agents(const char *soul)
{
    json_t *rows = json_array();
    for (int i = 0; i < MANY; i++)
        json_array_append_new(
            rows, json_pack("{s:o, s:o, s:s}", "_id", json_sprintf("k57%d", i), "slug",
                      json_sprintf("a%d", i), "effectiveSoulContent", soul));
    return rows;
}

/* Which of the agents have that soul in their folder, and which the gateway is told of. */
static void agents_must_be(const struct fixture *fixture, const char *soul, const char *expected,
    const char *expected_in_list)
{
    char found[MANY + 1] = "";
    char listed[MANY + 1] = "";
    char *list = read_in(fixture, "mission-control-agents.json");
    for (int i = 0; i < MANY; i++) {
        char name[32];
        char line[32];
        snprintf(name, sizeof name, "agents/a%d/SOUL.md", i);
        snprintf(line, sizeof line, "%s\n", soul);
        char *content = is_there(fixture, name) ? read_in(fixture, name) : NULL;
        bool has_soul = content != NULL && strcmp(content, line) == 0;
        free(content);
        snprintf(name, sizeof name, "\"a%d\":{", i);
        found[i] = has_soul ? '+' : '-';
        listed[i] = strstr(list, name) != NULL ? '+' : '-';
    }
    free(list);
    assert_string_equal(found, expected);
    assert_string_equal(listed, expected_in_list);
}

/* A new agent has to be waited for twice, and the list once; the next sync waits for nothing. */
static void test_few_files_are_waited_for(void **state)
{
    struct fixture *fixture = *state;
    json_t *rows = many_agents("calm");
    fsyncs = 0;
    profiles_write(&fixture->profiles, rows, GATEWAY_CURRENT);
    assert_int_equal(fsyncs, 2 * MANY + 1);
    profiles_write(&fixture->profiles, rows, GATEWAY_CURRENT);
    assert_int_equal(fsyncs, 2 * MANY + 1);
    json_decref(rows);
}

/* Three agents of 20 s each in a round; the list has those that have a folder. */
static void test_a_long_sync_goes_on_in_the_next_round(void **state)
{
    struct fixture *fixture = *state;
    json_t *rows = many_agents("calm");
    fsync_takes_ms = 10000;
    assert_true(profiles_write(&fixture->profiles, rows, GATEWAY_CURRENT));
    assert_true(fixture->stats.profiles_unfinished);
    agents_must_be(fixture, "calm", "+++-----", "+++-----");
    assert_false(is_there(fixture, "agents/a3"));
    assert_true(profiles_write(&fixture->profiles, rows, GATEWAY_CURRENT));
    assert_true(fixture->stats.profiles_unfinished);
    agents_must_be(fixture, "calm", "++++++--", "++++++--");
    assert_true(profiles_write(&fixture->profiles, rows, GATEWAY_CURRENT));
    assert_false(fixture->stats.profiles_unfinished);
    agents_must_be(fixture, "calm", "++++++++", "++++++++");
    /* It was no trouble at any time. */
    assert_int_equal(atomic_load(&fixture->stats.profiles_broken), false);
    assert_string_equal(trouble(fixture), "");
    assert_false(profiles_write(&fixture->profiles, rows, GATEWAY_CURRENT));
    assert_false(fixture->stats.profiles_unfinished);
    json_decref(rows);
}

/* Those at which the round does not come stay in the gateway's list with what they have. */
static void test_a_long_sync_takes_nobody_out_of_the_list(void **state)
{
    struct fixture *fixture = *state;
    json_t *calm = many_agents("calm");
    json_t *wild = many_agents("wild");
    profiles_write(&fixture->profiles, calm, GATEWAY_CURRENT);
    look_takes_ms = PROFILES_ROUND_MS / 2;
    assert_false(profiles_write(&fixture->profiles, wild, GATEWAY_CURRENT));
    assert_true(fixture->stats.profiles_unfinished);
    agents_must_be(fixture, "wild", "++------", "++++++++");
    agents_must_be(fixture, "calm", "--++++++", "++++++++");
    for (int i = 1; i < MANY / 2; i++)
        profiles_write(&fixture->profiles, wild, GATEWAY_CURRENT);
    assert_false(fixture->stats.profiles_unfinished);
    agents_must_be(fixture, "wild", "++++++++", "++++++++");
    json_decref(calm);
    json_decref(wild);
}

/* However slow it is, and whoever goes: each round gets one agent further. */
static void test_each_round_makes_progress(void **state)
{
    struct fixture *fixture = *state;
    json_t *rows = many_agents("calm");
    look_takes_ms = (int64_t)2 * PROFILES_ROUND_MS;
    profiles_write(&fixture->profiles, rows, GATEWAY_CURRENT);
    profiles_write(&fixture->profiles, rows, GATEWAY_CURRENT);
    agents_must_be(fixture, "calm", "++------", "++------");
    /* The one that is next leaves, and one of those that are done: the next round begins anew. */
    json_array_remove(rows, 2);
    json_array_remove(rows, 0);
    for (int i = 0; i < MANY - 2; i++) {
        assert_int_equal(fixture->stats.profiles_unfinished, true);
        profiles_write(&fixture->profiles, rows, GATEWAY_CURRENT);
    }
    assert_false(fixture->stats.profiles_unfinished);
    agents_must_be(fixture, "calm", "++-+++++", "-+-+++++");
    json_decref(rows);
}

/* What is wrong in one round is not forgotten in the next, where all is well. */
static void test_trouble_of_a_round_stays_until_a_whole_sync_went_well(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_BYTES];
    json_t *rows = many_agents("calm");
    json_object_set_new(json_array_get(rows, 0), "slug", json_string("../x"));
    snprintf(path, sizeof path, "%s/agents", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_in(fixture, "agents/a1", "a file");
    look_takes_ms = PROFILES_ROUND_MS / 2;
    for (int i = 0; i < MANY / 2; i++) {
        profiles_write(&fixture->profiles, rows, GATEWAY_CURRENT);
        assert_string_equal(trouble(fixture), "a1: a1 is not a folder");
    }
    assert_false(fixture->stats.profiles_unfinished);
    assert_string_equal(fixture->profiles.skipped, "\"../x\"");
    snprintf(path, sizeof path, "%s/agents/a1", fixture->dir);
    assert_int_equal(unlink(path), 0);
    for (int i = 0; i < MANY / 2; i++) {
        assert_string_equal(trouble(fixture), "a1: a1 is not a folder");
        profiles_write(&fixture->profiles, rows, GATEWAY_CURRENT);
    }
    assert_string_equal(trouble(fixture), "");
    json_decref(rows);
}

int main(void)
{
    json_guard_start();

#define TEST(test) cmocka_unit_test_setup_teardown((test), setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_each_file_has_what_the_board_says),
        TEST(test_an_agent_without_texts_gets_the_defaults),
        TEST(test_what_agents_remember_is_never_written_over),
        TEST(test_skills_keep_their_own_front_matter),
        TEST(test_the_operators_files_replace_ours),
        TEST(test_a_linked_file_of_the_operator_is_not_read),
        TEST(test_a_skill_listed_twice_is_written_once),
        TEST(test_the_gateway_gets_the_agents_in_its_form),
        TEST(test_only_models_that_the_gateway_has_are_named),
        TEST(test_agents_with_bad_slugs_are_left_out),
        TEST(test_a_sync_without_changes_writes_nothing),
        TEST(test_trouble_is_recorded_until_it_ends),
        TEST(test_an_agent_never_works_in_the_folder_of_another),
        TEST(test_an_unusable_place_is_told),
        TEST(test_an_aborted_sync_leaves_the_list),
        TEST(test_a_list_without_memory_is_not_written),
        TEST(test_few_files_are_waited_for),
        TEST(test_a_long_sync_goes_on_in_the_next_round),
        TEST(test_a_long_sync_takes_nobody_out_of_the_list),
        TEST(test_each_round_makes_progress),
        TEST(test_trouble_of_a_round_stays_until_a_whole_sync_went_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Any bytes as a request to the agents' API, over a real connection that is then half-closed: the
 * header with paths and session keys, and the body. "@KEY@" in the input stands for a session key
 * that is valid. The backend cannot be reached, so no request may succeed; each has to be answered
 * with one of the API's statuses or not at all, and the next client has to be served. The text up
 * to the first line end is tried as a session key by itself, too: none may be valid but those with
 * the tag of their session.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sync.h"
#include "http/client.h"
#include "http_talk.h"
#include "serve/agent_access.h"
#include "serve/agent_api.h"

enum { MAX_TRIES = 500, REQUEST_BYTES = 64 * 1024 };

static const char session_key[] = "agent:jarvis:task:t1:acc:v1";
static char account[] = "acc";
static char listening[] = "127.0.0.1";
static char allowed_hosts[] = "api.example, h2";
static struct config config = {
    .account_id = account,
    .health_host = listening,
    .health_allowed_hosts = allowed_hosts,
    .agent_api_tags = 1,
};
static struct stats stats;
static struct capability *capability;
static struct wake_schedule *schedule;
static struct http_server *server;
static char credential[256];
static const atomic_bool never;

static void route_health(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)context, (void)request;
    text_append(&reply->body, "{}");
}

static const struct http_server_route routes[] = {
    {"/health", route_health, NULL},
    {NULL, NULL, NULL},
};

static void make_agents(void)
{
    static struct agent agents[] = {{.id = "a1", .slug = "jarvis"}, {.id = "a2", .slug = "friday"}};
    const struct agent_list list = {.agents = agents, .count = 2};
    struct wake_changes changes;
    char tag[CAPABILITY_TAG_BYTES];
    int failed = capability_create(&capability, NULL, NULL);
    failed = failed != 0 ? failed : wake_schedule_create(&schedule, NULL);
    failed = failed != 0 ? failed : wake_schedule_update(schedule, &list, 0, &changes, NULL);
    assert(failed == 0);
    capability_tag(capability, session_key, "a1", tag);
    snprintf(credential, sizeof credential, "%s~%s", session_key, tag);
}

static void start_api(void)
{
    struct convex *convex;
    struct agent_api *api;
    make_agents();
    stats_init(&stats);
    log_set_level(LOG_LEVEL_ERROR);
    int failed = http_client_library_start(NULL);
    failed = failed != 0 ? failed : convex_create(&convex, "http://127.0.0.1:1", "acc", "t", NULL);
    assert(failed == 0);
    convex_see_version(convex, BACKEND_V1);
    atomic_store(&stats.last_sync_ms, 1);
    const struct agent_api_parts parts = {
        .config = &config,
        .catalog = &tool_catalog,
        .capability = capability,
        .convex = convex,
        .schedule = schedule,
        .stats = &stats,
        .abort = &never,
    };
    failed = agent_api_create(&api, &parts, NULL);
    failed = failed != 0 ? failed
                         : http_server_create(
                               &server, "127.0.0.1", 0, routes, NULL, agent_api_posts(api), NULL);
    failed = failed != 0 ? failed : agent_api_start(api, server, NULL);
    assert(failed == 0);
}

static void check_api_answer(const char *answer)
{
    static const long statuses[] = {
        400, 401, 403, 404, 405, 408, 411, 413, 414, 417, 421, 422, 429, 431, 500, 501, 503, 505};
    static const char continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    while (strncmp(answer, continue_line, sizeof continue_line - 1) == 0)
        answer += sizeof continue_line - 1;
    if (*answer == '\0')
        return;
    assert(strncmp(answer, "HTTP/1.", 7) == 0);
    long status = strtol(answer + 9, NULL, 10);
    bool is_own = status == 200 && strstr(answer, "\r\n\r\n{}") != NULL;
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        is_own = is_own || status == statuses[i];
    /* HEAD /health has no body. */
    assert(is_own || (status == 200 && strstr(answer, "\r\nContent-Length: 2\r\n") != NULL));
}

static void check_next_client(char *answer)
{
    static const char request[] = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
    bool closed = false;
    for (int i = 0; i < MAX_TRIES && !closed; i++)
        http_talk(http_server_port(server), request, sizeof request - 1, answer, &closed);
    assert(closed && strncmp(answer, "HTTP/1.1 200 ", 13) == 0);
}

/* Copies the input with the key in place of each "@KEY@"; returns its length. */
static size_t insert_keys(const uint8_t *data, size_t size, char *request)
{
    static const char place[] = "@KEY@";
    size_t used = 0;
    for (size_t i = 0; i < size && used + sizeof credential < REQUEST_BYTES; i++) {
        bool is_place =
            size - i >= sizeof place - 1 && memcmp(data + i, place, sizeof place - 1) == 0;
        if (is_place) {
            for (const char *at = credential; *at != '\0'; at++)
                request[used++] = *at;
            i += sizeof place - 2;
        } else {
            request[used++] = (char)data[i];
        }
    }
    return used;
}

static void check_key(const char *request, size_t size)
{
    const struct agent_access access = {&config, capability, schedule};
    struct agent agent;
    size_t key_bytes;
    const char *end = memchr(request, '\n', size);
    char *key = strndup(request, end != NULL ? (size_t)(end - request) : size);
    assert(key != NULL);
    if (agent_access_check(&access, key, &agent, &key_bytes))
        assert(strcmp(key, credential) == 0 && strcmp(agent.id, "a1") == 0);
    free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char request[REQUEST_BYTES];
    static char answer[HTTP_TALK_ANSWER_BYTES];
    bool closed;
    if (server == NULL)
        start_api();
    size_t length = insert_keys(data, size, request);
    check_key(request, length);
    http_talk(http_server_port(server), request, length, answer, &closed);
    if (closed)
        check_api_answer(answer);
    check_next_client(answer);
    return 0;
}

/*
 * Allocation failures: the Nth allocation fails, for every N until all succeed. Each time the code
 * must report it, free what it holds (the sanitizer checks), and work when called again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/alloc_fault.h"
#include "../lib/test_file.h"
#include "../lib/tmp_dir.h"
#include "backend/service.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/text.h"
#include "config/config.h"
#include "delivery/journal.h"
#include "delivery/prompt.h"
#include "delivery/reply.h"
#include "delivery/send_queue.h"
#include "gateway/gateway.h"

enum { ROWS = 40 };

static int no_memory_if(bool failed)
{
    return failed ? ERROR_NO_MEMORY : 0;
}

static int attempt_text(unsigned number)
{
    struct text text = {0};
    alloc_fault_arm(number);
    for (int i = 0; i < 1000; i++)
        text_printf(&text, "%d, ", i);
    text_append(&text, "end");
    alloc_fault_disarm();
    bool failed = text.failed;
    assert_true(failed || strcmp(text.data + text.length_bytes - 3, "end") == 0);
    char *taken = text_take(&text);
    assert_int_equal(failed, taken == NULL);
    free(taken);
    return no_memory_if(failed);
}

static const char answer[] =
    "{\"status\":\"completed\",\"output\":[{\"content\":[{\"text\":\"one\"},"
    "{\"text\":\"tw\xFFo\"}]},{\"text\":\" three\"}]}";

static int attempt_json(unsigned number)
{
    json_t *value = NULL;
    struct error error = {0};
    alloc_fault_arm(number);
    int result = json_guard_load(answer, sizeof answer - 1, &value, &error);
    alloc_fault_disarm();
    assert_int_equal(result, error.code);
    assert_int_equal(result == 0, value != NULL);
    json_decref(value);
    return result;
}

static int attempt_reply(unsigned number)
{
    json_t *body;
    const struct reply_context context = {.generation = GATEWAY_OLD};
    struct reply reply;
    assert_int_equal(json_guard_load(answer, sizeof answer - 1, &body, NULL), 0);
    alloc_fault_arm(number);
    int result = reply_read(body, &context, &reply, NULL);
    alloc_fault_disarm();
    assert_int_equal(result == 0, reply.text != NULL);
    free(reply.text);
    json_decref(body);
    return result;
}

static int attempt_prompt(unsigned number)
{
    struct delivery_context context;
    struct text text = {0};
    json_t *value = json_pack("{s:{s:s, s:s, s:s}, s:{s:s}, s:{s:s, s:s}, s:{s:s}}", "notification",
        "_id", "js1", "title", "T", "body", "B", "agent", "slug", "jarvis", "task", "title",
        "A task", "status", "in_progress", "message", "content", "@jarvis look");
    assert_int_equal(delivery_context_read(value, &context, NULL), CONVEX_SUCCESS);
    alloc_fault_arm(number);
    prompt_build(&context, &text);
    alloc_fault_disarm();
    bool failed = text.failed;
    text_fini(&text);
    delivery_context_fini(&context);
    return no_memory_if(failed);
}

/* An HTTP client whose abort flag is set: requests are built but never sent. */
struct aborted_client {
    struct ca_store *store;
    struct http_client *client;
};

static void aborted_client_init(struct aborted_client *aborted_client)
{
    static const atomic_bool stop = true;
    assert_int_equal(ca_store_create(&aborted_client->store, NULL, NULL), 0);
    assert_int_equal(
        http_client_create(&aborted_client->client, aborted_client->store, &stop, NULL), 0);
}

static void aborted_client_fini(struct aborted_client *aborted_client)
{
    http_client_destroy(aborted_client->client);
    ca_store_destroy(aborted_client->store);
}

static int attempt_convex_call(unsigned number)
{
    struct aborted_client aborted_client;
    struct convex *convex;
    struct error error;
    aborted_client_init(&aborted_client);
    alloc_fault_arm(number);
    int result = convex_create(&convex, "http://127.0.0.1:9", "k57a", "token", &error);
    if (result == 0) {
        const struct service service = {.convex = convex, .client = aborted_client.client};
        enum convex_outcome outcome = service_create_message(&service,
            &(struct new_message){.agent_id = "jx1",
                .task_id = "jd1",
                .content = "content",
                .notification_id = "js1"},
            &error);
        assert_int_equal(outcome, alloc_fault_fired() ? CONVEX_UNAVAILABLE : CONVEX_ABORTED);
        result = alloc_fault_fired() ? (int)error.code : 0;
        alloc_fault_disarm();
        convex_destroy(convex);
    }
    alloc_fault_disarm();
    aborted_client_fini(&aborted_client);
    return result;
}

static int attempt_gateway_send(unsigned number)
{
    struct aborted_client aborted_client;
    struct gateway *gateway;
    struct gateway_result sent;
    struct text input = {0};
    const struct gateway_message message = {.session_key = "agent:jarvis:k57a",
        .agent_slug = "jarvis",
        .instructions = "instructions",
        .tools = (const char *const[]){"{\"name\":\"task_status\"}", NULL},
        .input = &input,
        .timeout_ms = 1000};
    text_append(&input, "input");
    aborted_client_init(&aborted_client);
    alloc_fault_arm(number);
    int result = gateway_create(&gateway, "http://127.0.0.1:9", "token", NULL);
    if (result == 0) {
        gateway_send(gateway, aborted_client.client, &message, &sent);
        alloc_fault_disarm();
        assert_int_equal(sent.outcome, alloc_fault_fired() ? GATEWAY_UNREACHABLE : GATEWAY_ABORTED);
        assert_false(sent.sent);
        result = alloc_fault_fired() ? (int)sent.error.code : 0;
        json_decref(sent.body);
        gateway_destroy(gateway);
    }
    alloc_fault_disarm();
    text_fini(&input);
    aborted_client_fini(&aborted_client);
    return result;
}

static int attempt_convex_answer(unsigned number)
{
    static const char body[] = "{\"status\":\"success\",\"value\":[{\"_id\":\"js1\","
                               "\"recipientId\":\"jx1\",\"createdAt\":7}]}";
    const struct http_response from_backend = {.status = 200, .body = {body, sizeof body - 1}};
    struct notification_page page;
    struct error error = {0};
    json_t *value;
    alloc_fault_arm(number);
    enum convex_outcome outcome = convex_classify(&from_backend, CONVEX_LIST, &value, &error);
    if (outcome == CONVEX_SUCCESS) {
        outcome = notification_page_read(value, &page, &error);
        json_decref(value);
    }
    alloc_fault_disarm();
    if (outcome == CONVEX_SUCCESS)
        notification_page_fini(&page);
    else
        assert_int_equal(outcome, CONVEX_UNAVAILABLE);
    return error.code;
}

static int attempt_queue(unsigned number)
{
    struct send_queue *queue;
    struct send_queue_view counts;
    struct notification_row rows[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        rows[i] = (struct notification_row){.created_at_ms = 1};
        snprintf(rows[i].id, ID_BYTES, "js%zu", i);
        snprintf(rows[i].agent_id, ID_BYTES, "js%zu", i % 4);
    }
    const struct offer offer = {.rows = rows, .count = ROWS};
    alloc_fault_arm(number);
    int result = send_queue_create(
        &queue, &(struct send_queue_settings){.capacity = ROWS, .max_wakes = 1}, NULL);
    if (result != 0)
        return result;
    send_queue_offer(queue, &offer);
    alloc_fault_disarm();
    send_queue_snapshot(queue, &counts);
    result = no_memory_if(counts.held < ROWS);
    /* Rows that did not fit in memory are offered again by the next poll. */
    send_queue_offer(queue, &offer);
    send_queue_snapshot(queue, &counts);
    assert_int_equal(counts.held, ROWS);
    assert_int_equal(counts.ready, ROWS);
    assert_int_equal(counts.lanes, 4);
    send_queue_destroy(queue);
    return result;
}

static int attempt_restore(unsigned number)
{
    struct send_queue *queue;
    const struct spool_record record = {.id = "js1", .agent_id = "jx1", .runs = 1};
    assert_int_equal(send_queue_create(&queue,
                         &(struct send_queue_settings){.capacity = 16, .max_wakes = 1}, NULL),
        0);
    alloc_fault_arm(number);
    bool restored = send_queue_restore(queue, &record, STAGE_REPLIED);
    alloc_fault_disarm();
    send_queue_destroy(queue);
    return no_memory_if(!restored);
}

static char dir[TMP_DIR_BYTES];

static int setup_library(void **state)
{
    (void)state;
    tmp_dir_create(dir);
    json_guard_start();
    return http_client_library_start(NULL);
}

static int teardown_library(void **state)
{
    (void)state;
    http_client_library_stop();
    tmp_dir_remove(dir);
    return 0;
}

static void expect_reply(void *context, struct spool_record *record, const struct error *why)
{
    assert_null(why);
    assert_string_equal(record->reply, "reply");
    free(record->reply);
    ++*(int *)context;
}

/* A record that cannot be read for lack of memory must not be treated as corrupt. */
static int attempt_spool(unsigned number)
{
    struct spool *spool;
    char reply[] = "reply";
    int found = 0;
    struct spool_record record = {.id = "js1", .agent_id = "jx1", .runs = 1, .reply = reply};
    struct spool_record loaded;
    struct error error;
    alloc_fault_arm(number);
    int result = spool_open(&spool, dir, "k57a", NULL);
    if (result != 0)
        return result;
    result = spool_save(spool, &record, true, NULL);
    if (result == 0)
        result = spool_load(spool, "js1", &loaded, &error);
    if (result == 0) {
        assert_non_null(loaded.reply);
        assert_string_equal(loaded.reply, "reply");
        free(loaded.reply);
        result = spool_each(spool, expect_reply, &found, NULL);
        assert_int_equal(found, result == 0);
    }
    alloc_fault_disarm();
    spool_close(spool);
    return result;
}

static void write_corrupt(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/spool/%s", dir, name);
    test_file_write(path, "{");
}

/* An unposted reply, an interrupted run, a corrupt record and a dead letter: all or an error. */
static int attempt_restore_all(unsigned number)
{
    struct spool *spool;
    struct send_queue *queue;
    struct send_queue_view counts;
    static struct stats stats;
    char reply[] = "reply";
    struct spool_record unposted = {.id = "js1", .agent_id = "jx1", .reply = reply};
    struct spool_record interrupted = {.id = "js2", .agent_id = "jx1", .runs = 1};
    struct spool_record dead = {.id = "js3", .agent_id = "jx1", .reply = reply};
    assert_int_equal(spool_open(&spool, dir, "k57a", NULL), 0);
    assert_int_equal(spool_save(spool, &unposted, false, NULL), 0);
    assert_int_equal(spool_save(spool, &interrupted, false, NULL), 0);
    assert_int_equal(spool_save(spool, &dead, false, NULL), 0);
    assert_int_equal(spool_bury(spool, "js3", NULL), 0);
    write_corrupt("js4.json");
    assert_int_equal(send_queue_create(&queue,
                         &(struct send_queue_settings){.capacity = 16, .max_wakes = 1}, NULL),
        0);
    alloc_fault_arm(number);
    int result =
        journal_restore(&(struct journal){.spool = spool, .stats = &stats}, queue, 3600000, NULL);
    alloc_fault_disarm();
    send_queue_snapshot(queue, &counts);
    if (result == 0) {
        assert_int_equal(counts.held, 3);
        assert_int_equal(counts.ready, 2);
        assert_int_equal(counts.settled, 1);
    }
    send_queue_destroy(queue);
    spool_close(spool);
    return result;
}

static int attempt_config(unsigned number)
{
    static char account[] = "ACCOUNT_ID=k57a";
    static char url[] = "CONVEX_URL=https://a-1.convex.cloud";
    static char token[] = "SERVICE_TOKEN=mc_service_k57a_0123456789";
    static char gateway_token[] = "OPENCLAW_GATEWAY_TOKEN=to-the-gateway";
    static char wrong[] = "HEALTH_PORTS=1";
    static char state_dir[] = "STATE_DIR=/tmp/x";
    char *const environment[] = {account, url, token, gateway_token, wrong, state_dir, NULL};
    struct config config;
    struct problems problems = {0};
    redact_forget_all();
    alloc_fault_arm(number);
    int result = config_load(&config, environment, NULL, &problems);
    alloc_fault_disarm();
    if (result == 0) {
        char text[] = "to-the-gateway";
        redact(text);
        assert_string_equal(text, "***");
        config_fini(&config);
    } else if (problems.failed) {
        /* There was no memory for the problem itself. */
        result = ERROR_NO_MEMORY;
    }
    problems_fini(&problems);
    redact_forget_all();
    return result;
}

#define SWEEP(name)                        \
    static void test_##name(void **state)  \
    {                                      \
        (void)state;                       \
        alloc_fault_sweep(attempt_##name); \
    }

SWEEP(text)
SWEEP(json)
SWEEP(reply)
SWEEP(prompt)
SWEEP(convex_call)
SWEEP(gateway_send)
SWEEP(convex_answer)
SWEEP(queue)
SWEEP(restore)
SWEEP(spool)
SWEEP(restore_all)
SWEEP(config)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_reply),
        cmocka_unit_test(test_prompt),
        cmocka_unit_test(test_convex_call),
        cmocka_unit_test(test_gateway_send),
        cmocka_unit_test(test_convex_answer),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_restore),
        cmocka_unit_test(test_spool),
        cmocka_unit_test(test_restore_all),
        cmocka_unit_test(test_config),
    };
    return cmocka_run_group_tests(tests, setup_library, teardown_library);
}

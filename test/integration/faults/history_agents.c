/*
 * Each request that may have run an agent is traced to what caused it: the message of its
 * notification, and if an agent wrote that, the notification that this message answered, and so on
 * back to the root. Requests are counted in the order in which they passed the proxy.
 *
 * A task's count starts over with the first request for a newer message of a person, since the
 * runtime learns of a message by its notifications. Claims and requests of other agents may overlap
 * with that, so what agents cause is counted by itself: within one period its number does not
 * depend on the order.
 */
#include "history_agents.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/containers.h"
#include "base/json.h"

enum { PAIR_BYTES = 2 * ID_BYTES };

/* A new object of the elements by their _id. */
static json_t *index_by_id(const json_t *elements)
{
    json_t *by_id = json_object();
    json_t *element;
    size_t position;
    json_array_foreach (elements, position, element) {
        const char *id = json_guard_string(element, "_id");
        if (id != NULL)
            assert_int_equal(json_object_set(by_id, id, element), 0);
    }
    return by_id;
}

/* False if no message caused the notification. */
static bool write_pair(char pair[static PAIR_BYTES], const json_t *notification)
{
    const char *message_id = json_guard_string(notification, "messageId");
    const char *agent_id = json_guard_string(notification, "recipientId");
    if (message_id == NULL || agent_id == NULL)
        return false;
    snprintf(pair, PAIR_BYTES, "%s %s", message_id, agent_id);
    return true;
}

static bool may_have_run(const json_t *request)
{
    return !json_is_true(json_object_get(request, "proof"));
}

/* The notification of a request, or NULL: it may be of another board. */
static json_t *notification_of(const struct history_index *index, const json_t *request)
{
    const char *id = json_guard_string(request, "notification");
    return id != NULL ? json_object_get(index->notifications, id) : NULL;
}

static const json_t *message_of(const struct history_index *index, const json_t *notification)
{
    const char *id = json_guard_string(notification, "messageId");
    return id != NULL ? json_object_get(index->messages, id) : NULL;
}

void history_index_init(struct history_index *index, const struct history *history)
{
    char pair[PAIR_BYTES];
    const json_t *request;
    size_t position;
    index->notifications = index_by_id(history->notifications);
    index->messages = index_by_id(history->messages);
    index->asked = json_object();
    json_array_foreach (history->requests, position, request) {
        json_t *notification = notification_of(index, request);
        if (may_have_run(request) && write_pair(pair, notification) &&
            json_object_get(index->asked, pair) == NULL)
            assert_int_equal(json_object_set(index->asked, pair, notification), 0);
    }
}

void history_index_fini(struct history_index *index)
{
    json_decref(index->notifications);
    json_decref(index->messages);
    json_decref(index->asked);
}

static bool is_of_author(const json_t *message, const char *type)
{
    const char *author = json_guard_string(message, "authorType");
    return author != NULL && strcmp(author, type) == 0;
}

bool history_is_by_agent(const struct history_index *index, const json_t *notification)
{
    return is_of_author(message_of(index, notification), "agent");
}

bool history_has_twin(const struct history_index *index, const json_t *notification)
{
    char pair[PAIR_BYTES];
    if (!write_pair(pair, notification))
        return false;
    const json_t *asked = json_object_get(index->asked, pair);
    return asked != NULL && asked != notification;
}

bool history_is_limit_note(const json_t *message)
{
    static const char beginning[] = "**Agents stopped.** ";
    const char *content = json_guard_string(message, "content");
    return content != NULL && strncmp(content, beginning, sizeof beginning - 1) == 0;
}

/* The id of what began the notification's chain: a message, or a notification without one. */
static const char *root_of(const struct history_index *index, const json_t *notification)
{
    size_t links = json_object_size(index->notifications);
    for (;;) {
        const json_t *message = message_of(index, notification);
        const char *source = json_guard_string(message, "sourceNotificationId");
        const json_t *earlier =
            source != NULL ? json_object_get(index->notifications, source) : NULL;
        if (message == NULL)
            return json_guard_string(notification, "_id");
        if (!is_of_author(message, "agent") || earlier == NULL || links-- == 0)
            return json_guard_string(message, "_id");
        notification = earlier;
    }
}

/* What has been counted so far, and where a violation goes. */
struct tally {
    const struct history_index *index;
    json_t *root_runs; /* object: root -> runs that agents caused */
    json_t *task_runs; /* object: task -> the same since a person last wrote there */
    json_t *written;   /* object: task -> createdAt of the last person's message that was seen */
    int max_runs;
    char *reason;
    size_t reason_bytes;
};

static bool count_within(struct tally *tally, json_t *counts, const char *what, const char *id)
{
    json_int_t count = json_integer_value(json_object_get(counts, id)) + 1;
    assert_int_equal(json_object_set_new(counts, id, json_integer(count)), 0);
    if (count <= tally->max_runs)
        return true;
    snprintf(tally->reason, tally->reason_bytes,
        "%s %s: agents caused %d runs of each other; the limit is %d", what, id, (int)count,
        tally->max_runs);
    return false;
}

static void begin_period(struct tally *tally, const char *task, const json_t *message)
{
    double written_ms = json_number_value(json_object_get(message, "createdAt"));
    if (written_ms <= json_number_value(json_object_get(tally->written, task)))
        return;
    assert_int_equal(json_object_set_new(tally->written, task, json_real(written_ms)), 0);
    json_object_del(tally->task_runs, task);
}

static bool count_request(struct tally *tally, const json_t *request)
{
    const json_t *notification = notification_of(tally->index, request);
    const char *task = json_guard_string(notification, "taskId");
    if (notification == NULL)
        return true;
    if (!history_is_by_agent(tally->index, notification)) {
        if (task != NULL)
            begin_period(tally, task, message_of(tally->index, notification));
        return true;
    }
    if (!may_have_run(request))
        return true;
    return count_within(tally, tally->root_runs, "root", root_of(tally->index, notification)) &&
           (task == NULL || count_within(tally, tally->task_runs, "task", task));
}

static bool requests_are_within(const struct history *history, struct tally *tally)
{
    const json_t *request;
    size_t position;
    json_array_foreach (history->requests, position, request)
        if (!count_request(tally, request))
            return false;
    return true;
}

static bool notes_are_rare(const struct history *history, struct tally *tally)
{
    const json_t *message;
    size_t position;
    json_t *noted = json_object();
    bool rare = true;
    json_array_foreach (history->messages, position, message) {
        const char *task = json_guard_string(message, "taskId");
        if (task != NULL && is_of_author(message, "user"))
            json_object_del(noted, task);
        if (task == NULL || !history_is_limit_note(message))
            continue;
        rare = rare && json_object_get(noted, task) == NULL;
        assert_int_equal(json_object_set_new(noted, task, json_true()), 0);
        if (!rare) {
            snprintf(tally->reason, tally->reason_bytes,
                "task %s: a second note about the limit between two messages of people", task);
            break;
        }
    }
    json_decref(noted);
    return rare;
}

static bool pairs_ran_once(const struct history *history, const struct history_index *index,
    char *reason, size_t reason_bytes)
{
    const json_t *request;
    size_t position;
    json_array_foreach (history->requests, position, request) {
        const json_t *notification = notification_of(index, request);
        if (!may_have_run(request) || !history_has_twin(index, notification))
            continue;
        snprintf(reason, reason_bytes,
            "notification %s: its agent was run although the same message had run it for another",
            json_guard_string(request, "notification"));
        return false;
    }
    return true;
}

bool history_agents_hold(const struct history *history, const struct history_index *index,
    const struct history_rules *rules, char *reason, size_t reason_bytes)
{
    struct tally tally = {
        .index = index,
        .root_runs = json_object(),
        .task_runs = json_object(),
        .written = json_object(),
        .max_runs = rules->max_agent_runs,
        .reason = reason,
        .reason_bytes = reason_bytes,
    };
    bool holds = pairs_ran_once(history, index, reason, reason_bytes) &&
                 notes_are_rare(history, &tally) &&
                 (rules->max_agent_runs == 0 || requests_are_within(history, &tally));
    json_decref(tally.root_runs);
    json_decref(tally.task_runs);
    json_decref(tally.written);
    return holds;
}

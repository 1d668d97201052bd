#include "history.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "history_agents.h"
#include "history_tools.h"

/* The elements of a history by the notification's id: objects of arrays. */
struct history_groups {
    json_t *runs;
    json_t *requests;
    json_t *marks;
    json_t *messages;
};

/* One notification with all that belongs to it; all borrowed. */
struct subject {
    const char *id;
    const json_t *runs;     /* array in order of start, or NULL */
    const json_t *requests; /* array, or NULL */
    const json_t *marks;    /* array, or NULL */
    const json_t *messages; /* array, or NULL */
    const char *spooled;    /* NULL: no reply was seen in the spool */
    bool by_agent;          /* an agent's message caused it */
    bool has_twin;          /* the same message ran its agent for another notification */
    const struct history_rules *rules;
    char *reason;
    size_t reason_bytes;
};

void history_init(struct history *history)
{
    *history = (struct history){json_array(), json_array(), json_array(), json_array(),
        json_array(), json_array(), json_array(), json_object()};
    assert_non_null(history->spooled);
}

void history_fini(struct history *history)
{
    json_decref(history->notifications);
    json_decref(history->messages);
    json_decref(history->runs);
    json_decref(history->requests);
    json_decref(history->marks);
    json_decref(history->calls);
    json_decref(history->effects);
    json_decref(history->spooled);
    *history = (struct history){0};
}

static void add_spooled_reply(struct history *history, const char *dir, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    json_t *record = json_load_file(path, JSON_ALLOW_NUL, NULL);
    const char *id = json_guard_string(record, "id");
    json_t *reply = json_object_get(record, "reply");
    if (id != NULL && json_is_string(reply) && json_object_get(history->spooled, id) == NULL)
        assert_int_equal(json_object_set(history->spooled, id, reply), 0);
    json_decref(record);
}

size_t history_add_spool(struct history *history, const char *state_dir)
{
    char path[512];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/spool", state_dir);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    const struct dirent *file;
    while ((file = readdir(dir)) != NULL) {
        const char *ending = strstr(file->d_name, ".json");
        if (ending == NULL || strcmp(ending, ".json") != 0)
            continue;
        add_spooled_reply(history, path, file->d_name);
        count++;
    }
    closedir(dir);
    return count;
}

__attribute__((format(printf, 2, 3))) static bool violated(
    const struct subject *subject, const char *format, ...)
{
    va_list arguments;
    int length = snprintf(subject->reason, subject->reason_bytes, "notification %s: ", subject->id);
    va_start(arguments, format);
    if (length > 0 && (size_t)length < subject->reason_bytes)
        vsnprintf(
            subject->reason + length, subject->reason_bytes - (size_t)length, format, arguments);
    va_end(arguments);
    return false;
}

static long run_number(const json_t *run)
{
    return (long)json_number_value(json_object_get(run, "number"));
}

static bool run_is_answered(const json_t *run)
{
    const char *outcome = json_guard_string(run, "outcome");
    return outcome != NULL && strcmp(outcome, "answered") == 0 &&
           json_number_value(json_object_get(run, "status")) == 200;
}

/* The number of the run whose reply the message is, 0 for a message that is not a reply. */
static long run_of_message(const char *content)
{
    static const char mark[] = "\nRun ";
    const char *found = NULL;
    for (const char *at = content; (at = strstr(at, mark)) != NULL; at++)
        found = at;
    return found != NULL ? strtol(found + sizeof mark - 1, NULL, 10) : 0;
}

static bool has_ended(const struct subject *subject, const json_t *notification)
{
    if (!json_is_number(json_object_get(notification, "deliveredAt")))
        return violated(subject, "it is not marked as delivered");
    const json_t *run;
    size_t index;
    json_array_foreach (subject->runs, index, run) {
        const char *outcome = json_guard_string(run, "outcome");
        if (outcome != NULL && strcmp(outcome, "under_way") == 0)
            return violated(subject, "run %ld is still in flight", run_number(run));
    }
    return true;
}

static bool runs_fit_the_budget(const struct subject *subject)
{
    size_t runs = json_array_size(subject->runs);
    if (runs > (size_t)subject->rules->max_runs)
        return violated(subject, "its agent was run %zu times; the budget is %d", runs,
            subject->rules->max_runs);
    size_t counted = 0;
    const json_t *request;
    size_t index;
    json_array_foreach (subject->requests, index, request)
        counted += !json_is_true(json_object_get(request, "proof"));
    if (counted > (size_t)subject->rules->max_runs)
        return violated(subject,
            "its agent was asked %zu times without proof that it did not run; the budget is %d",
            counted, subject->rules->max_runs);
    return true;
}

static bool last_mark_is_confirmed(const struct subject *subject)
{
    size_t count = json_array_size(subject->marks);
    const json_t *last = json_array_get(subject->marks, count - 1);
    if (count == 0 || json_is_true(json_object_get(last, "proof")))
        return true;
    return violated(subject, "its last mark (of %zu) was not confirmed", count);
}

static size_t count_answered(const struct subject *subject)
{
    size_t answered = 0;
    const json_t *run;
    size_t index;
    json_array_foreach (subject->runs, index, run)
        answered += run_is_answered(run);
    return answered;
}

static bool no_answer_was_dropped(const struct subject *subject, bool note)
{
    size_t answered = count_answered(subject);
    if (subject->rules->lost_answers || answered <= (note ? 0 : 1))
        return true;
    if (note)
        return violated(subject, "an answer was received, but a note was written");
    return violated(subject, "%zu runs of its agent were answered", answered);
}

static bool reply_is_of_the_last_run(const struct subject *subject, long number)
{
    const json_t *own = NULL;
    const json_t *run;
    size_t index;
    long last = 0;
    json_array_foreach (subject->runs, index, run) {
        last = run_number(run) > last ? run_number(run) : last;
        if (run_number(run) == number)
            own = run;
    }
    if (own == NULL)
        return violated(
            subject, "its message is the reply of run %ld, which is not its own", number);
    if (!run_is_answered(own))
        return violated(
            subject, "its message is the reply of run %ld, which was not answered", number);
    if (number != last)
        return violated(
            subject, "its agent was run again (%ld) after the reply of run %ld", last, number);
    return true;
}

static bool spooled_reply_was_written(const struct subject *subject, const char *content)
{
    if (subject->spooled == NULL || strcmp(subject->spooled, content) == 0)
        return true;
    return violated(subject, "the reply in the spool (run %ld) is not the message (run %ld)",
        run_of_message(subject->spooled), run_of_message(content));
}

/* By the limit of runs that agents cause. */
static bool may_be_stopped(const struct subject *subject)
{
    return subject->rules->max_agent_runs > 0 && subject->by_agent;
}

/* Only what was skipped gets no message. */
static bool message_may_be_missing(const struct subject *subject)
{
    bool skipped = subject->has_twin || may_be_stopped(subject);
    if (skipped && (subject->rules->lost_answers || count_answered(subject) == 0))
        return true;
    if (json_array_size(subject->runs) + json_array_size(subject->requests) > 0)
        return violated(subject, "no message was written for it");
    return violated(subject, "its agent was not asked");
}

static bool limit_note_fits(const struct subject *subject)
{
    if (!may_be_stopped(subject))
        return violated(subject, "it was stopped by the limit of agent runs, although a person "
                                 "caused it");
    return no_answer_was_dropped(subject, true);
}

static bool message_fits(const struct subject *subject)
{
    size_t count = json_array_size(subject->messages);
    const json_t *message = json_array_get(subject->messages, 0);
    if (count == 0)
        return message_may_be_missing(subject);
    if (count > 1)
        return violated(subject, "%zu messages were written for it", count);
    const char *content = json_guard_string(message, "content");
    if (content == NULL)
        return violated(subject, "its message has no content");
    if (history_is_limit_note(message))
        return limit_note_fits(subject);
    long number = run_of_message(content);
    if (number == 0 && !subject->rules->notes)
        return violated(subject, "its message is not a reply: %.60s", content);
    if (number != 0 && !reply_is_of_the_last_run(subject, number))
        return false;
    return no_answer_was_dropped(subject, number == 0) &&
           spooled_reply_was_written(subject, content);
}

/* Groups elements by their string member key: an object of arrays; a new reference. */
static json_t *group_by(const json_t *elements, const char *key)
{
    json_t *groups = json_object();
    json_t *element;
    size_t index;
    json_array_foreach (elements, index, element) {
        const char *name = json_guard_string(element, key);
        if (name == NULL)
            continue;
        json_t *members = json_object_get(groups, name);
        if (members == NULL) {
            members = json_array();
            assert_int_equal(json_object_set_new(groups, name, members), 0);
        }
        assert_int_equal(json_array_append(members, element), 0);
    }
    return groups;
}

static bool is_for_an_agent(const json_t *notification)
{
    const char *type = json_guard_string(notification, "recipientType");
    return type == NULL || strcmp(type, "agent") == 0;
}

static void history_groups_init(struct history_groups *groups, const struct history *history)
{
    groups->runs = group_by(history->runs, "notification");
    groups->requests = group_by(history->requests, "notification");
    groups->marks = group_by(history->marks, "notification");
    groups->messages = group_by(history->messages, "sourceNotificationId");
}

static void history_groups_fini(struct history_groups *groups)
{
    json_decref(groups->runs);
    json_decref(groups->requests);
    json_decref(groups->marks);
    json_decref(groups->messages);
}

static bool notification_holds(const struct subject *subject, const json_t *notification)
{
    return has_ended(subject, notification) && runs_fit_the_budget(subject) &&
           message_fits(subject) && last_mark_is_confirmed(subject);
}

static bool notifications_hold(const struct history *history, const struct history_groups *groups,
    const struct history_index *lookups, const struct subject *common)
{
    const json_t *notification;
    size_t index;
    json_array_foreach (history->notifications, index, notification) {
        const char *id = json_guard_string(notification, "_id");
        if (!is_for_an_agent(notification))
            continue;
        struct subject subject = *common;
        subject.id = id != NULL ? id : "(no id)";
        subject.runs = json_object_get(groups->runs, subject.id);
        subject.requests = json_object_get(groups->requests, subject.id);
        subject.marks = json_object_get(groups->marks, subject.id);
        subject.messages = json_object_get(groups->messages, subject.id);
        subject.spooled = json_guard_string(history->spooled, subject.id);
        subject.by_agent = history_is_by_agent(lookups, notification);
        subject.has_twin = history_has_twin(lookups, notification);
        if (!notification_holds(&subject, notification))
            return false;
    }
    return true;
}

bool history_holds(const struct history *history, const struct history_rules *rules, char *reason,
    size_t reason_bytes)
{
    const struct subject common = {.rules = rules, .reason = reason, .reason_bytes = reason_bytes};
    struct history_groups groups;
    struct history_index index;
    history_groups_init(&groups, history);
    history_index_init(&index, history);
    bool holds = notifications_hold(history, &groups, &index, &common) &&
                 history_agents_hold(history, &index, rules, reason, reason_bytes) &&
                 history_tools_hold(history, reason, reason_bytes);
    history_index_fini(&index);
    history_groups_fini(&groups);
    return holds;
}

/*
 * The board as an agent sees it when it is woken. Four reads at most, one after the other:
 *
 *   orchestrator ---> assigned tasks ---> tracked tasks ---> thread of the focus
 *                                         (orchestrator only)
 *
 * Each may fail, which makes the message shorter and nothing else: the agent is woken to look after
 * its work, and can find out the rest by itself. Only so many of these reads go on at a time
 * (struct wake_gate), or the wake-ups of a thousand agents would reach the backend in bursts as
 * large as there are workers, beside the deliveries.
 *
 * An orchestrator that is woken has the tasks of all agents before it. Whatever it does itself,
 * the runtime asks about those that have stood still: by the tool for that, in the orchestrator's
 * name and with its rights, so that the backend's rules hold, of which the most important one is
 * that nobody is asked about a task twice within hours. A task whose assignees were asked lately
 * does not use up one of the three, or it would keep those after it from ever being asked about.
 *
 * Runs on the worker that wakes the agent.
 */
#include "delivery/wake_board.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent_tools/run.h"
#include "backend/backend_clock.h"
#include "backend/service_tools.h"
#include "base/json.h"
#include "base/log.h"
#include "delivery/converse.h"
#include "delivery/reply.h"
#include "prompt/wake_input.h"

static const char component[] = "Heartbeat";

enum {
    READ_TIMEOUT_MS = 10000,
    ASSIGNED_TASKS = 12, /* rows that are asked for */
    TRACKED_TASKS = 200,
    FOCUS_MESSAGES = 8,
    FOLLOW_UP_MESSAGES = 50,
    MAX_ROWS = 400,      /* of a list that are looked at, should there be more than asked for */
    MAX_LOOKS = 12,      /* tasks whose threads are read for follow-ups, of one wake-up */
    MAX_RECIPIENTS = 10, /* of one request, as the backend has it */
    MAX_REMEMBERED = 2 * MAX_ROWS, /* tasks in a round of follow-ups: no list has more */
};

static const int64_t STANDSTILL_MS = INT64_C(15) * 60 * 1000;
static const int64_t MS_PER_MINUTE = INT64_C(60) * 1000;

static const struct wake_read read_orchestrator = {"orchestrator", "getOrchestratorAgentId"};
static const struct wake_read read_assigned_tasks = {"assigned_tasks", "listAssignedTasksForAgent"};
static const struct wake_read read_tracked_tasks = {
    "tracked_tasks", "listTasksForOrchestratorHeartbeat"};
static const struct wake_read read_focus_thread = {"focus_thread", "loadTaskDetailsForAgentTool"};
static const struct wake_read read_follow_up_thread = {
    "follow_up_thread", "listTaskThreadForAgentTool"};

/* The gate. */

void wake_gate_init(struct wake_gate *gate)
{
    mutex_init(&gate->lock);
    cond_init(&gate->freed);
    gate->readers = 0;
}

void wake_gate_fini(struct wake_gate *gate)
{
    cond_fini(&gate->freed);
    mutex_fini(&gate->lock);
}

void wake_gate_enter(struct wake_gate *gate)
{
    mutex_lock(&gate->lock);
    while (gate->readers >= WAKE_READERS)
        cond_wait(&gate->freed, &gate->lock);
    gate->readers++;
    mutex_unlock(&gate->lock);
}

void wake_gate_leave(struct wake_gate *gate)
{
    mutex_lock(&gate->lock);
    gate->readers--;
    cond_signal(&gate->freed);
    mutex_unlock(&gate->lock);
}

/* Sorting. */

/* The place of the task's status in the order; -1 for a task that is not shown. */
static int status_place(const json_t *task, bool is_orchestrator)
{
    static const char *const own[] = {"in_progress", "assigned", NULL};
    static const char *const all[] = {"in_progress", "review", "assigned", NULL};
    const char *const *order = is_orchestrator ? all : own;
    const char *status = json_guard_string(task, "status");
    for (int place = 0; status != NULL && order[place] != NULL; place++)
        if (strcmp(status, order[place]) == 0)
            return place;
    return -1;
}

struct ranked_task {
    json_t *task; /* borrowed */
    int status;
    int64_t age_rank; /* the smaller, the earlier in the list */
    size_t index;     /* where it was found, so that equal ones keep their order */
};

static int compare_ranked(const void *one, const void *other)
{
    const struct ranked_task *left = one;
    const struct ranked_task *right = other;
    if (left->status != right->status)
        return left->status < right->status ? -1 : 1;
    if (left->age_rank != right->age_rank)
        return left->age_rank < right->age_rank ? -1 : 1;
    return left->index < right->index ? -1 : 1;
}

static const json_t *find_task(const json_t *tasks, const char *id, size_t id_bytes)
{
    size_t index;
    const json_t *task;
    json_array_foreach (tasks, index, task) {
        const char *own = json_guard_id(task, "_id");
        if (own != NULL && strlen(own) == id_bytes && strncmp(own, id, id_bytes) == 0)
            return task;
    }
    return NULL;
}

/* Appends those of a list that are shown and not there yet, by id. False without memory. */
static bool add_shown(json_t *shown, const json_t *list, bool is_orchestrator)
{
    size_t index;
    json_t *task;
    json_array_foreach (list, index, task) {
        const char *id = json_guard_id(task, "_id");
        if (index >= MAX_ROWS)
            break;
        if (id == NULL || status_place(task, is_orchestrator) < 0 ||
            find_task(shown, id, strlen(id)) != NULL)
            continue;
        if (json_array_append(shown, task) != 0)
            return false;
    }
    return true;
}

json_t *wake_board_sort(const json_t *assigned, const json_t *tracked, bool is_orchestrator)
{
    json_t *shown = json_array();
    json_t *sorted = json_array();
    bool complete = shown != NULL && sorted != NULL &&
                    add_shown(shown, assigned, is_orchestrator) &&
                    add_shown(shown, tracked, is_orchestrator);
    size_t count = json_array_size(shown);
    struct ranked_task *ranked = calloc(count + 1, sizeof *ranked);
    complete = complete && ranked != NULL;
    for (size_t i = 0; complete && i < count; i++) {
        int64_t updated_ms = 0;
        json_t *task = json_array_get(shown, i);
        json_guard_time_ms(task, "updatedAt", 0, &updated_ms);
        ranked[i] = (struct ranked_task){.task = task,
            .status = status_place(task, is_orchestrator),
            .age_rank = is_orchestrator ? updated_ms : -updated_ms,
            .index = i};
    }
    if (complete)
        qsort(ranked, count, sizeof *ranked, compare_ranked);
    for (size_t i = 0; complete && i < count; i++)
        complete = json_array_append(sorted, ranked[i].task) == 0;
    free(ranked);
    json_decref(shown);
    if (complete)
        return sorted;
    json_decref(sorted);
    return NULL;
}

const json_t *wake_board_named_task(const json_t *tasks, const char *words)
{
    static const char label[] = "Task ID:";
    /* Models like to set an id off from the rest. */
    static const char decoration[] = " \t\r\n*_`\"'<[(";
    static const char id_characters[] = TEXT_LETTERS TEXT_DIGITS "_-";
    for (const char *at = strcasestr(words, label); at != NULL; at = strcasestr(at, label)) {
        at += strlen(label);
        at += strspn(at, decoration);
        const json_t *task = find_task(tasks, at, strspn(at, id_characters));
        if (task != NULL)
            return task;
    }
    return NULL;
}

/* Reading. */

enum convex_outcome wake_board_call(const struct attempt *attempt, struct wake_gate *gate,
    const struct wake_read *read, json_t *arguments, json_t **value)
{
    struct service_failure failure;
    struct service service = attempt->service;
    *value = NULL;
    service.timeout_ms = READ_TIMEOUT_MS;
    wake_gate_enter(gate);
    enum convex_outcome outcome =
        service_invoke(&service, read->action, arguments, false, value, &failure);
    wake_gate_leave(gate);
    if (outcome == CONVEX_SUCCESS || outcome == CONVEX_ABORTED)
        return outcome;
    metrics_add(
        &attempt->delivery->stats->metrics, METRIC_HEARTBEAT_READS_FAILED, read->name, NULL, 1);
    log_event(LOG_LEVEL_WARN, component,
        LOG_FIELDS(LOG_TEXT("agent", attempt->entry->work.agent_slug),
            LOG_TEXT("trace", attempt->entry->work.trace.id)),
        "could not read all that %s is woken for: %s", attempt->entry->work.agent_slug,
        failure.error.text);
    return outcome;
}

/* The value alone; NULL when the read failed. */
static json_t *read_board(const struct attempt *attempt, struct wake_gate *gate,
    const struct wake_read *read, json_t *arguments)
{
    json_t *value;
    wake_board_call(attempt, gate, read, arguments, &value);
    return value;
}

static bool read_is_orchestrator(const struct attempt *attempt, struct wake_gate *gate)
{
    json_t *value = read_board(attempt, gate, &read_orchestrator, json_object());
    bool is_orchestrator =
        json_guard_is(value, "orchestratorAgentId", attempt->entry->agent_id, "");
    json_decref(value);
    return is_orchestrator;
}

static json_t *read_tasks(
    const struct attempt *attempt, struct wake_gate *gate, bool is_orchestrator)
{
    json_t *tracked = NULL;
    json_t *assigned = read_board(attempt, gate, &read_assigned_tasks,
        json_pack("{s:s, s:b, s:i}", "agentId", attempt->entry->agent_id, "includeDone", 0, "limit",
            ASSIGNED_TASKS));
    if (is_orchestrator)
        tracked = read_board(attempt, gate, &read_tracked_tasks,
            json_pack("{s:[s, s, s], s:i}", "statuses", "in_progress", "review", "assigned",
                "limit", TRACKED_TASKS));
    json_t *tasks = wake_board_sort(assigned, tracked, is_orchestrator);
    json_decref(assigned);
    json_decref(tracked);
    return tasks;
}

void wake_board_read(struct wake_board *board, const struct attempt *attempt,
    struct wake_gate *gate, const char *focus_id)
{
    *board = (struct wake_board){.is_orchestrator = read_is_orchestrator(attempt, gate)};
    board->tasks = read_tasks(attempt, gate, board->is_orchestrator);
    board->focus = focus_id[0] != '\0' ? find_task(board->tasks, focus_id, strlen(focus_id))
                                       : json_array_get(board->tasks, 0);
    if (board->focus != NULL)
        board->details = read_board(attempt, gate, &read_focus_thread,
            json_pack("{s:s, s:s, s:i}", "agentId", attempt->entry->agent_id, "taskId",
                json_guard_id(board->focus, "_id"), "messageLimit", FOCUS_MESSAGES));
}

void wake_board_fini(struct wake_board *board)
{
    json_decref(board->tasks);
    json_decref(board->details);
    *board = (struct wake_board){0};
}

/* Follow-ups. */

void follow_up_round_init(struct follow_up_round *round)
{
    mutex_init(&round->lock);
    round->looked_at = NULL;
}

void follow_up_round_fini(struct follow_up_round *round)
{
    mutex_fini(&round->lock);
    json_decref(round->looked_at);
}

static bool is_assigned_to(const json_t *task, const char *agent_id)
{
    size_t index;
    const json_t *id;
    json_array_foreach (json_object_get(task, "assignedAgentIds"), index, id)
        if (json_is_string(id) && strcmp(json_string_value(id), agent_id) == 0)
            return true;
    return false;
}

/* Whether a message of the thread has words, and not only a token of silence. */
static bool has_words(const json_t *message)
{
    const char *content = json_guard_string(message, "content");
    struct reply_context context = {.is_wake_up = true};
    struct reply reply = {.kind = REPLY_BLANK};
    struct error unused;
    json_t *body = content != NULL ? json_pack("{s:s}", "output_text", content) : NULL;
    if (body != NULL)
        reply_read(body, &context, &reply, &unused);
    json_decref(body);
    free(reply.text);
    return reply.kind == REPLY_TEXT;
}

int64_t wake_board_heard_ms(const json_t *task, const json_t *thread)
{
    int64_t heard_ms = 0;
    for (size_t i = json_array_size(thread); i-- > 0;) {
        const json_t *message = json_array_get(thread, i);
        const char *author_id = json_guard_string(message, "authorId");
        if (json_guard_is(message, "authorType", "agent", "") && author_id != NULL &&
            is_assigned_to(task, author_id) && has_words(message) &&
            json_guard_time_ms(message, "createdAt", 0, &heard_ms))
            return heard_ms;
    }
    if (!json_guard_time_ms(task, "updatedAt", 0, &heard_ms))
        json_guard_time_ms(task, "createdAt", 0, &heard_ms);
    return heard_ms;
}

/* The slugs of those that are assigned to the task, without the orchestrator; NULL: of nobody. */
static json_t *find_assignees(
    const struct attempt *attempt, const struct wake_v1 *wake, const json_t *task)
{
    struct agent assignee;
    json_t *slugs = json_array();
    size_t index;
    const json_t *id;
    json_array_foreach (json_object_get(task, "assignedAgentIds"), index, id) {
        if (!json_is_string(id) || json_array_size(slugs) >= MAX_RECIPIENTS ||
            strcmp(json_string_value(id), attempt->entry->agent_id) == 0 ||
            !wake->find_agent(wake->find_context, json_string_value(id), &assignee))
            continue;
        json_array_append_new(slugs, json_string(assignee.slug));
    }
    if (json_array_size(slugs) > 0)
        return slugs;
    json_decref(slugs);
    return NULL;
}

/* For how many minutes nothing was heard of the task; 0: it is not time to ask, or not known. */
static int64_t find_standstill(
    const struct attempt *attempt, struct wake_gate *gate, const json_t *task)
{
    int64_t heard_ms = 0;
    const char *task_id = json_guard_id(task, "_id");
    json_t *thread = read_board(attempt, gate, &read_follow_up_thread,
        json_pack("{s:s, s:s, s:i}", "agentId", attempt->entry->agent_id, "taskId", task_id,
            "limit", FOLLOW_UP_MESSAGES));
    if (json_is_array(thread))
        heard_ms = wake_board_heard_ms(task, thread);
    json_decref(thread);
    int64_t age_ms = backend_clock_exact_ms(convex_clock(attempt->delivery->convex)) - heard_ms;
    return heard_ms > 0 && age_ms >= STANDSTILL_MS ? age_ms / MS_PER_MINUTE : 0;
}

/* The arguments of the tool, as text; NULL without memory. Takes the reference to slugs. */
static char *write_request(const json_t *task, json_t *slugs, int64_t minutes)
{
    struct text words = {0};
    wake_follow_up_append(&words, task, minutes);
    json_t *arguments = words.failed
                            ? NULL
                            : json_pack("{s:s, s:O, s:s}", "taskId", json_guard_id(task, "_id"),
                                  "recipientSlugs", slugs, "message", words.data);
    char *written = arguments != NULL ? json_write(arguments) : NULL;
    json_decref(arguments);
    json_decref(slugs);
    text_fini(&words);
    return written;
}

/* Asks; returns the outcome as the metric has it. Takes arguments. */
static const char *send_follow_up(const struct attempt *attempt, char *arguments)
{
    const struct tool_catalog *catalog = attempt->delivery->menu->catalog;
    struct tool_result result = {.end = TOOL_ABORTED};
    const struct tool_call call = {
        .service = &attempt->service,
        .agent_id = attempt->entry->agent_id,
        .task_id = "",
        .audience = attempt->talk.audience,
    };
    int64_t from_ms = converse_effects_from_ms(attempt);
    if (arguments != NULL)
        tool_run(catalog, &call, "response_request", arguments, &result);
    const json_t *ids = json_object_get(json_object_get(result.value, "data"), "notificationIds");
    bool succeeded = result.end == TOOL_SUCCEEDED;
    const char *outcome = !succeeded ? "failed" : json_array_size(ids) > 0 ? "sent" : "not_due";
    if (json_array_size(ids) > 0)
        converse_charge_effects(attempt, arguments, &result, from_ms);
    json_decref(result.value);
    free(arguments);
    return outcome;
}

static const char *follow_up_on(
    const struct attempt *attempt, struct wake_gate *gate, const json_t *task, json_t *slugs)
{
    int64_t minutes = find_standstill(attempt, gate, task);
    if (minutes > 0)
        return send_follow_up(attempt, write_request(task, slugs, minutes));
    json_decref(slugs);
    return "not_due";
}

/* Each wake-up owns what it has taken until it puts that back. Never NULL, except without memory.
 */
static json_t *take_looked_at(struct follow_up_round *round)
{
    mutex_lock(&round->lock);
    json_t *looked_at = round->looked_at;
    round->looked_at = NULL;
    mutex_unlock(&round->lock);
    /* Only a board that gets new tasks faster than it is looked at has so many. */
    if (json_object_size(looked_at) < MAX_REMEMBERED && looked_at != NULL)
        return looked_at;
    json_decref(looked_at);
    return json_object();
}

/* Takes the reference; NULL begins a new round. */
static void keep_looked_at(struct follow_up_round *round, json_t *looked_at)
{
    mutex_lock(&round->lock);
    json_t *replaced = round->looked_at;
    round->looked_at = looked_at;
    mutex_unlock(&round->lock);
    json_decref(replaced);
}

/* Returns whether it has come to the end of the tasks: the round is over. */
static bool follow_up_on_rest(const struct wake_board *board, const struct attempt *attempt,
    const struct wake_v1 *wake, unsigned max, json_t *looked_at)
{
    struct metrics *metrics = &attempt->delivery->stats->metrics;
    unsigned sent = 0;
    unsigned looks = 0;
    size_t index;
    const json_t *task;
    json_array_foreach (board->tasks, index, task) {
        const char *id = json_guard_id(task, "_id");
        json_t *slugs =
            json_object_get(looked_at, id) == NULL ? find_assignees(attempt, wake, task) : NULL;
        if (slugs == NULL)
            continue;
        if (sent >= max || looks >= MAX_LOOKS || converse_is_stopping(attempt)) {
            json_decref(slugs);
            return false;
        }
        looks++;
        json_object_set_new(looked_at, id, json_true());
        const char *outcome = follow_up_on(attempt, wake->gate, task, slugs);
        metrics_add(metrics, METRIC_HEARTBEAT_FOLLOW_UPS, outcome, NULL, 1);
        /* A request that failed may have been made. */
        sent += strcmp(outcome, "not_due") == 0 ? 0 : 1;
    }
    return true;
}

void wake_board_follow_up(const struct wake_board *board, const struct attempt *attempt,
    const struct wake_v1 *wake, unsigned max)
{
    /* A list that could not be read is not at its end. */
    if (json_array_size(board->tasks) == 0)
        return;
    json_t *looked_at = take_looked_at(wake->follow_ups);
    if (follow_up_on_rest(board, attempt, wake, max, looked_at)) {
        json_decref(looked_at);
        looked_at = NULL;
    }
    keep_looked_at(wake->follow_ups, looked_at);
}

/*
 * Records of agent runs, oldest first, with the concurrency at their begin, over all and per
 * session. Tests use them as ground truth: which agent ran, how often, in which session, and
 * whether runs of a session overlapped.
 *
 * The oldest finished records are dropped beyond RECORDER_CAPACITY; a run in progress is never
 * dropped, since its exchange holds a pointer to its record.
 */
#include "recorder.h"

#include "base/sync.h"
#include "memory.h"

struct session {
    unsigned in_flight;
};

void recorder_init(struct recorder *recorder)
{
    *recorder = (struct recorder){0};
    TAILQ_INIT(&recorder->records);
}

static void free_record(struct record *record)
{
    free(record->session);
    free(record->agent);
    free(record->openclaw_session);
    free(record->clawdbot_session);
    free(record->openclaw_agent);
    free(record->clawdbot_agent);
    free(record->traceparent);
    free(record->user);
    free(record->model);
    free(record->input);
    free(record->instructions);
    json_decref(record->tools);
    json_decref(record->results);
    json_decref(record->calls);
    free(record->notification_id);
    free(record);
}

void recorder_fini(struct recorder *recorder)
{
    struct record *record = NULL;
    while ((record = TAILQ_FIRST(&recorder->records)) != NULL) {
        TAILQ_REMOVE(&recorder->records, record, link);
        free_record(record);
    }
    map_fini(&recorder->sessions, free);
}

/* Sessions are kept: runs in progress count in them. */
void recorder_reset(struct recorder *recorder)
{
    struct record *next;
    for (struct record *record = TAILQ_FIRST(&recorder->records); record != NULL; record = next) {
        next = TAILQ_NEXT(record, link);
        if (record->ended_us == 0)
            continue;
        TAILQ_REMOVE(&recorder->records, record, link);
        recorder->kept--;
        free_record(record);
    }
    recorder->posts = recorder->refused = recorder->probes = 0;
    recorder->runs = recorder->deliveries = 0;
    recorder->answered = recorder->dropped = recorder->aborted = 0;
    recorder->max_in_flight = recorder->in_flight;
    recorder->max_in_flight_session = 0;
}

/* Drops the oldest record of a finished run if the recorder is full. */
static void evict_oldest(struct recorder *recorder)
{
    if (recorder->kept < RECORDER_CAPACITY)
        return;
    struct record *oldest = TAILQ_FIRST(&recorder->records);
    while (oldest != NULL && oldest->ended_us == 0)
        oldest = TAILQ_NEXT(oldest, link);
    if (oldest == NULL)
        return;
    TAILQ_REMOVE(&recorder->records, oldest, link);
    recorder->kept--;
    free_record(oldest);
}

static struct session *find_or_add_session(struct recorder *recorder, const char *key)
{
    struct session *session = map_get(&recorder->sessions, key);
    if (session == NULL) {
        session = memory_new(1, sizeof *session);
        map_set(&recorder->sessions, key, session);
    }
    return session;
}

struct record *recorder_begin(struct recorder *recorder, struct record *record)
{
    evict_oldest(recorder);
    struct record *kept = memory_new(1, sizeof *kept);
    *kept = *record;
    kept->of = find_or_add_session(recorder, kept->session);
    kept->number = ++recorder->runs;
    kept->begun_us = clock_monotonic_us();
    kept->outcome = "under_way";
    kept->in_flight = ++recorder->in_flight;
    kept->in_flight_session = ++kept->of->in_flight;
    if (kept->in_flight > recorder->max_in_flight)
        recorder->max_in_flight = kept->in_flight;
    if (kept->in_flight_session > recorder->max_in_flight_session)
        recorder->max_in_flight_session = kept->in_flight_session;
    if (kept->notification_id != NULL)
        recorder->deliveries++;
    TAILQ_INSERT_TAIL(&recorder->records, kept, link);
    recorder->kept++;
    return kept;
}

void recorder_end(
    struct recorder *recorder, struct record *record, const char *outcome, unsigned status)
{
    record->ended_us = clock_monotonic_us();
    record->outcome = outcome;
    record->status = status;
    record->of->in_flight--;
    recorder->in_flight--;
    if (strcmp(outcome, "answered") == 0)
        recorder->answered++;
    else if (strcmp(outcome, "aborted") == 0)
        recorder->aborted++;
    else
        recorder->dropped++;
}

json_t *recorder_stats(const struct recorder *recorder)
{
    return memory_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
        "posts", (json_int_t)recorder->posts, "refused", (json_int_t)recorder->refused, "probes",
        (json_int_t)recorder->probes, "requests", (json_int_t)recorder->runs, "deliveries",
        (json_int_t)recorder->deliveries, "answered", (json_int_t)recorder->answered, "dropped",
        (json_int_t)recorder->dropped, "aborted", (json_int_t)recorder->aborted, "in_flight",
        (json_int_t)recorder->in_flight, "max_in_flight", (json_int_t)recorder->max_in_flight,
        "max_in_flight_per_session", (json_int_t)recorder->max_in_flight_session, "sessions",
        (json_int_t)recorder->sessions.count));
}

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text != NULL)
        json_object_set_new(object, key, memory_json_text(text));
}

static json_t *describe_record(const struct record *record)
{
    json_t *json = memory_json(json_pack("{s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I}", "number",
        (json_int_t)record->number, "begun_us", (json_int_t)record->begun_us, "ended_us",
        (json_int_t)record->ended_us, "outcome", record->outcome, "status",
        (json_int_t)record->status, "in_flight", (json_int_t)record->in_flight, "in_flight_session",
        (json_int_t)record->in_flight_session, "input_bytes", (json_int_t)record->input_bytes));
    set_text(json, "session", record->session);
    set_text(json, "agent", record->agent);
    set_text(json, "x-openclaw-session-key", record->openclaw_session);
    set_text(json, "x-clawdbot-session-key", record->clawdbot_session);
    set_text(json, "x-openclaw-agent-id", record->openclaw_agent);
    set_text(json, "x-clawdbot-agent-id", record->clawdbot_agent);
    set_text(json, "traceparent", record->traceparent);
    set_text(json, "user", record->user);
    set_text(json, "model", record->model);
    set_text(json, "input", record->input);
    set_text(json, "notification", record->notification_id);
    set_text(json, "instructions", record->instructions);
    if (record->tools != NULL)
        json_object_set(json, "tools", record->tools);
    if (record->results != NULL)
        json_object_set(json, "results", record->results);
    if (record->calls != NULL)
        json_object_set(json, "calls", record->calls);
    json_object_set_new(json, "round", memory_json(json_integer(record->round)));
    json_object_set_new(
        json, "first_run", memory_json(json_integer((json_int_t)record->first_run)));
    return json;
}

json_t *recorder_describe(const struct recorder *recorder, uint64_t since, uint64_t limit,
    const char *agent, const char *session)
{
    json_t *list = memory_json(json_array());
    const struct record *record = NULL;
    TAILQ_FOREACH (record, &recorder->records, link) {
        if (json_array_size(list) >= limit)
            break;
        if (record->number > since && (agent == NULL || strcmp(agent, record->agent) == 0) &&
            (session == NULL || strcmp(session, record->session) == 0))
            json_array_append_new(list, describe_record(record));
    }
    return list;
}

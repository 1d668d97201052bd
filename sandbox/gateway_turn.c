/*
 * A turn is decided by the rule that the run matches, if it names calls or a text, else by the
 * simulated agent (agent_turn.c). What goes on in it is kept in three places: the session's memory,
 * from which later turns follow; the log of calls of tools; and the record of the run.
 */
#include "gateway_turn.h"

#include "agent_turn.h"
#include "base/json.h"
#include "gateway_call.h"
#include "gateway_schema.h"
#include "gateway_tools.h"
#include "memory.h"

static struct agent_memory *memory_of(const struct gateway_turn *turn)
{
    return agent_memory_of(&turn->sandbox->memories, turn->record->session);
}

static bool model_searches(const struct gateway_turn *turn)
{
    return turn->sandbox->settings.gateway_tool_search == TOOL_SEARCH_ON;
}

void gateway_turn_begin(const struct gateway_turn *turn, const json_t *body)
{
    struct record *record = turn->record;
    struct agent_memory *memory = memory_of(turn);
    if (record->results != NULL) {
        tool_log_end(&turn->sandbox->tool_log, record->results, record->number);
        turn->sandbox->store.changes++;
    }
    if (gateway_schema_is_results(body))
        agent_memory_take_results(memory, record->results, record->number);
    else
        agent_memory_begin(memory, record->agent, turn->message, record->number);
    record->round = memory->round;
    record->first_run = memory->first_run;
}

/* The calls of the rule; with "checked", those that the gateway accepts. NULL: none. */
static json_t *make_rule_calls(const struct gateway_turn *turn)
{
    const struct fault_rule *rule = turn->rule;
    json_t *calls = memory_json(json_array());
    size_t index;
    json_t *call;
    json_array_foreach (rule->calls, index, call) {
        struct text told = {0};
        const char *name = json_guard_string(call, "name");
        const json_t *arguments = json_object_get(call, "arguments");
        if (!rule->checked ||
            gateway_call_check(turn->tools, name, arguments, !model_searches(turn), &told))
            json_array_append(calls, call);
        else
            agent_memory_tell(memory_of(turn), name, arguments, told.data);
        text_fini(&told);
    }
    if (json_array_size(calls) > 0)
        return calls;
    json_decref(calls);
    return NULL;
}

/* What the agent sees. Borrowed from the turn. */
static struct agent_view view_of(const struct gateway_turn *turn)
{
    const struct settings *settings = &turn->sandbox->settings;
    return (struct agent_view){.agent = turn->record->agent,
        .input = turn->message,
        .instructions = turn->record->instructions,
        .tools = turn->tools,
        .searches = model_searches(turn),
        .chatty = settings->gateway_chatty,
        .numbers = settings->gateway_numbers};
}

static struct tool_origin origin_of(const struct gateway_turn *turn)
{
    const struct agent_memory *memory = memory_of(turn);
    return (struct tool_origin){.run = turn->record->number,
        .first_run = memory->first_run,
        .round = memory->round,
        .agent = turn->record->agent,
        .session = turn->record->session,
        .task_id = memory->task_id};
}

/* Logs the calls of which the model was only told, those in the memory from a place on. */
static void log_told_calls(const struct gateway_turn *turn, size_t from)
{
    const json_t *ended = memory_of(turn)->ended;
    const struct tool_origin origin = origin_of(turn);
    for (size_t i = from; i < json_array_size(ended); i++)
        tool_log_tell(&turn->sandbox->tool_log, &origin, json_array_get(ended, i));
}

json_t *gateway_turn_requests(const struct gateway_turn *turn, struct errand_access *access)
{
    const struct agent_view view = view_of(turn);
    size_t ended_before = json_array_size(memory_of(turn)->ended);
    if (turn->rule != NULL && (turn->rule->calls != NULL || turn->rule->reply != NULL))
        return NULL;
    json_t *requests = agent_turn_requests(memory_of(turn), &view, access);
    log_told_calls(turn, ended_before);
    return requests;
}

void gateway_turn_end_requests(
    const struct gateway_turn *turn, json_t *requests, const json_t *answers)
{
    struct tool_origin origin = origin_of(turn);
    size_t index;
    json_t *answer;
    json_array_foreach (answers, index, answer) {
        json_object_set(json_array_get(requests, index), "output", answer);
    }
    origin.by_http = true;
    tool_log_requests(&turn->sandbox->tool_log, &origin, requests);
    agent_memory_add(memory_of(turn), requests);
    turn->sandbox->store.changes++;
}

/* Records calls in the session, in the log and in the record of the run. */
static void record_calls(const struct gateway_turn *turn, json_t *calls)
{
    const struct tool_origin origin = origin_of(turn);
    agent_memory_ask(memory_of(turn), calls);
    tool_log_ask(&turn->sandbox->tool_log, &origin, calls);
    turn->record->calls = json_incref(calls);
    turn->sandbox->store.changes++;
}

void gateway_turn_take(const struct gateway_turn *turn, json_t **calls, char **text)
{
    const struct fault_rule *rule = turn->rule;
    const struct agent_view view = view_of(turn);
    size_t ended_before = json_array_size(memory_of(turn)->ended);
    json_t *wanted = NULL;
    *calls = NULL;
    *text = rule == NULL || rule->reply == NULL ? NULL : memory_copy(rule->reply);
    if (rule != NULL && rule->calls != NULL)
        wanted = make_rule_calls(turn);
    else if (*text == NULL)
        wanted = agent_turn_calls(memory_of(turn), &view);
    log_told_calls(turn, ended_before);
    if (wanted != NULL) {
        *calls = gateway_tools_issue(wanted);
        record_calls(turn, *calls);
    } else if (*text == NULL) {
        *text = agent_turn_text(memory_of(turn), &view);
    }
    json_decref(wanted);
}

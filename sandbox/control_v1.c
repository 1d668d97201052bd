/*
 * Control routes for what only version 1 has. A response request goes through the backend's own
 * function, rules and refusals included, on behalf of the agent that a test names.
 */
#include "answer.h"
#include "base/json.h"
#include "base/sync.h"
#include "board_find.h"
#include "control.h"
#include "memory.h"
#include "presence.h"
#include "service_v1.h"

bool control_require_v1(struct sandbox *sandbox, struct exchange *exchange)
{
    if (sandbox->store.version == BACKEND_V1)
        return true;
    answer_refusal(exchange, 400, "WrongVersion", "%s needs --backend v1", exchange_path(exchange));
    return false;
}

static json_t *request_arguments(
    const struct document *from, const struct document *task, const json_t *body)
{
    return memory_json(json_pack("{s:s, s:s, s:O, s:O}", "requesterAgentId", from->id, "taskId",
        task->id, "recipientSlugs", json_object_get(body, "to"), "message",
        json_object_get(body, "message")));
}

/* Runs the function as if the agent had called it, and answers with its value or its refusal. */
static void answer_request(
    struct sandbox *sandbox, struct exchange *exchange, const json_t *arguments)
{
    struct service_call call = {.sandbox = sandbox,
        .arguments = arguments,
        .account = sandbox_account(sandbox),
        .now_ms = (double)clock_wall_ms()};
    service_v1_request_responses(&call);
    if (call.failure.length_bytes > 0)
        answer_refusal(exchange, 400, "Refused", "%s", call.failure.data);
    else
        answer_json_text(exchange, 200, &call.value);
    text_fini(&call.value);
    text_fini(&call.failure);
}

void control_request(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    if (!control_require_v1(sandbox, exchange))
        return;
    const struct store *store = &sandbox->store;
    const struct document *from = board_find(store, TABLE_AGENTS, json_guard_string(body, "from"));
    const struct document *task = board_find(store, TABLE_TASKS, json_guard_string(body, "task"));
    if (from == NULL || task == NULL || !json_is_array(json_object_get(body, "to")) ||
        json_guard_string(body, "message") == NULL) {
        answer_refusal(exchange, 400, "BadValue",
            "from must be an agent, task a task, to an array of slugs, message a string");
        return;
    }
    json_t *arguments = request_arguments(from, task, body);
    answer_request(sandbox, exchange, arguments);
    json_decref(arguments);
}

void control_sweep(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    if (control_require_v1(sandbox, exchange))
        answer_json(exchange, 200,
            json_pack("{s:I}", "swept", (json_int_t)presence_sweep(&sandbox->store)));
}

/*
 * The gateway keeps a transcript of each session. A simulated agent needs of it the input that it
 * works on, what it still wants to do, and how its calls ended: results come in requests of their
 * own, which name nothing but the ids of calls.
 */
#include "agent_memory.h"

#include "agent_before.h"
#include "agent_input.h"
#include "agent_words.h"
#include "base/json.h"
#include "memory.h"

static void forget_work(struct agent_memory *memory)
{
    free(memory->input);
    free(memory->task_id);
    json_decref(memory->wishes);
    json_decref(memory->asked);
    json_decref(memory->ended);
    memory->input = memory->task_id = NULL;
    memory->wishes = memory->asked = memory->ended = NULL;
    memory->calls = memory->round = 0;
    memory->first_run = 0;
}

static void free_memory(struct agent_memory *memory)
{
    forget_work(memory);
    free(memory->session);
    free(memory);
}

void agent_memories_init(struct agent_memories *memories)
{
    *memories = (struct agent_memories){0};
    TAILQ_INIT(&memories->by_use);
}

void agent_memories_fini(struct agent_memories *memories)
{
    struct agent_memory *memory = NULL;
    while ((memory = TAILQ_FIRST(&memories->by_use)) != NULL) {
        TAILQ_REMOVE(&memories->by_use, memory, link);
        free_memory(memory);
    }
    map_fini(&memories->by_session, NULL);
}

static void evict_oldest_memory(struct agent_memories *memories)
{
    struct agent_memory *oldest = TAILQ_FIRST(&memories->by_use);
    if (memories->by_session.count < AGENT_MEMORIES_CAPACITY || oldest == NULL)
        return;
    TAILQ_REMOVE(&memories->by_use, oldest, link);
    map_remove(&memories->by_session, oldest->session);
    free_memory(oldest);
}

struct agent_memory *agent_memory_of(struct agent_memories *memories, const char *session)
{
    struct agent_memory *memory = map_get(&memories->by_session, session);
    if (memory == NULL) {
        evict_oldest_memory(memories);
        memory = memory_new(1, sizeof *memory);
        memory->session = memory_copy(session);
        map_set(&memories->by_session, session, memory);
    } else {
        TAILQ_REMOVE(&memories->by_use, memory, link);
    }
    TAILQ_INSERT_TAIL(&memories->by_use, memory, link);
    return memory;
}

void agent_memory_begin(
    struct agent_memory *memory, const char *agent, const char *input, uint64_t run)
{
    struct agent_input fields = {0};
    forget_work(memory);
    agent_input_read(input, &fields);
    memory->input = memory_copy(input);
    memory->first_run = run;
    memory->round = 1;
    memory->ended = memory_json(json_array());
    if (fields.message != NULL && agent_input_is_by(&fields, "user"))
        memory->wishes = agent_words_read(
            fields.message, &(struct agent_listener){.agent = agent, .task_id = fields.task_id});
    agent_before_leave_out(input, memory->wishes, memory->ended);
    memory->task_id = fields.task_id;
    fields.task_id = NULL;
    agent_input_fini(&fields);
}

/* The output of a call among results, borrowed, or NULL. */
static json_t *find_output(const json_t *results, const char *call_id)
{
    size_t index;
    const json_t *result;
    json_array_foreach (results, index, result) {
        if (json_guard_is(result, "call_id", call_id, ""))
            return json_object_get(result, "output");
    }
    return NULL;
}

void agent_memory_take_results(struct agent_memory *memory, const json_t *results, uint64_t run)
{
    size_t index;
    const json_t *call;
    if (memory->ended == NULL)
        memory->ended = memory_json(json_array());
    if (memory->first_run == 0)
        memory->first_run = run;
    memory->round++;
    json_array_foreach (memory->asked, index, call) {
        json_t *output = find_output(results, json_guard_string(call, "call_id"));
        json_array_append_new(memory->ended,
            memory_json(json_pack("{s:O, s:O*, s:O*}", "name", json_object_get(call, "name"),
                "arguments", json_object_get(call, "arguments"), "output", output)));
    }
    json_decref(memory->asked);
    memory->asked = NULL;
}

void agent_memory_add(struct agent_memory *memory, const json_t *calls)
{
    if (memory->ended == NULL)
        memory->ended = memory_json(json_array());
    json_array_extend(memory->ended, (json_t *)calls);
}

void agent_memory_ask(struct agent_memory *memory, json_t *calls)
{
    json_decref(memory->asked);
    memory->asked = json_incref(calls);
}

void agent_memory_tell(
    struct agent_memory *memory, const char *name, const json_t *arguments, const char *told)
{
    if (memory->ended == NULL)
        memory->ended = memory_json(json_array());
    json_array_append_new(
        memory->ended, memory_json(json_pack("{s:s, s:O*, s:o}", "name", name, "arguments",
                           arguments, "told", memory_json_text(told))));
}

/*
 * The form of the real gateway's responses, with random ids, and tokens counted by length. A run
 * that failed has no output, and its usage is that of the input alone.
 */
#include "gateway_resource.h"

#include <stdio.h>
#include <sys/random.h>

#include "base/sync.h"
#include "gateway_tools.h"
#include "memory.h"

enum { UUID_BYTES = 37, BYTES_PER_TOKEN = 4 };

static void make_uuid(char text[static UUID_BYTES])
{
    unsigned char b[16];
    ssize_t got = getrandom(b, sizeof b, 0);
    (void)got;
    snprintf(text, UUID_BYTES,
        "%02x%02x%02x%02x-%02x%02x-4%01x%02x-a%01x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
        b[3], b[4], b[5], b[6] & 15, b[7], b[8] & 15, b[9], b[10], b[11], b[12], b[13], b[14],
        b[15]);
}

static json_t *make_usage(size_t input_bytes, size_t output_bytes)
{
    json_int_t input = (json_int_t)(input_bytes / BYTES_PER_TOKEN) + 1;
    json_int_t output = (json_int_t)(output_bytes / BYTES_PER_TOKEN);
    return memory_json(json_pack("{s:I, s:{s:i, s:i}, s:I, s:{s:i}, s:I}", "input_tokens", input,
        "input_tokens_details", "cached_tokens", 0, "cache_write_tokens", 0, "output_tokens",
        output, "output_tokens_details", "reasoning_tokens", 0, "total_tokens", input + output));
}

static void append_text(json_t *output, const char *reply, const char *phase)
{
    char uuid[UUID_BYTES];
    char message_id[UUID_BYTES + 4];
    make_uuid(uuid);
    snprintf(message_id, sizeof message_id, "msg_%s", uuid);
    json_array_append_new(output,
        memory_json(json_pack("{s:s, s:s, s:s, s:[{s:s, s:o}], s:s, s:s}", "type", "message", "id",
            message_id, "role", "assistant", "content", "type", "output_text", "text",
            memory_json_text(reply), "phase", phase, "status", "completed")));
}

static json_t *make_output(const struct run_outcome *outcome)
{
    json_t *output = memory_json(json_array());
    if (outcome->error != NULL)
        return output;
    if (outcome->text != NULL)
        append_text(output, outcome->text, outcome->calls == NULL ? "final_answer" : "commentary");
    gateway_tools_append_calls(output, outcome->calls);
    return output;
}

char *gateway_resource_make(const struct run_outcome *outcome)
{
    char id[UUID_BYTES + 5];
    char uuid[UUID_BYTES];
    make_uuid(uuid);
    snprintf(id, sizeof id, "resp_%s", uuid);
    bool failed = outcome->error != NULL;
    json_t *resource = memory_json(json_pack("{s:s, s:s, s:I, s:s, s:s, s:o, s:o}", "id", id,
        "object", "response", "created_at", (json_int_t)(clock_wall_ms() / 1000), "status",
        failed ? "failed" : "completed", "model", outcome->model, "output", make_output(outcome),
        "usage",
        make_usage(outcome->message == NULL ? 0 : strlen(outcome->message),
            failed || outcome->text == NULL ? 0 : strlen(outcome->text))));
    if (failed)
        json_object_set_new(resource, "error",
            memory_json(json_pack("{s:s, s:s}", "code", outcome->code, "message", outcome->error)));
    char *text = memory_json_dump(resource);
    json_decref(resource);
    return text;
}

/*
 * The doctor's check of whether the gateway hands tools to its agents, by which they work on the
 * board (docs/protocol.md, "Tools"). It asks as the runtime does, which runs no agent. What only a
 * run can show, a tool whose name collides, is taken from the /health of a running runtime, and so
 * is the answer where the gateway gives none just now.
 *
 * Nothing here fails: agents without tools still answer, and can use the HTTP API.
 */
#include <string.h>

#include "base/json.h"
#include "cli/cli.h"

static const char tools_check[] = "gateway tools";

static const char http_fix[] =
    "install gateway release 2026.9.6, or see that agents can reach the HTTP API from where the "
    "gateway runs (TASK_STATUS_BASE_URL)";

/* An agent to name in the question; whether the gateway has it does not matter. */
static const char *agent_to_name(const struct doctor *doctor)
{
    const char *slug = json_guard_string(json_array_get(doctor->agents, 0), "slug");
    return slug != NULL ? slug : "";
}

/* Version 0 has nothing that a tool could do. */
static bool has_no_use_for_tools(const struct doctor *doctor)
{
    return doctor->version == BACKEND_V0;
}

static const json_t *gateway_of_runtime(const struct doctor *doctor)
{
    return json_object_get(doctor->runtime, "gateway");
}

static enum tool_dialect dialect_of_runtime(const struct doctor *doctor)
{
    const char *word = json_guard_string(gateway_of_runtime(doctor), "toolDialect");
    for (int dialect = 0; word != NULL && dialect < DIALECT_COUNT; dialect++)
        if (strcmp(word, tool_dialect_words[dialect]) == 0)
            return (enum tool_dialect)dialect;
    return DIALECT_UNKNOWN;
}

static void report_dialect(struct doctor *doctor, enum tool_dialect dialect)
{
    struct doctor_report *report = &doctor->report;
    if (dialect == DIALECT_NONE)
        doctor_report_add(report, tools_check, DOCTOR_WARN, http_fix,
            "this release takes none that reach an agent: agents are told of the HTTP API");
    else if (dialect == DIALECT_UNKNOWN)
        doctor_report_add(report, tools_check, DOCTOR_WARN,
            "run the doctor again, and check the gateway's log",
            "not found out: the gateway gave no clear answer");
    else if (json_is_true(json_object_get(gateway_of_runtime(doctor), "toolsCollide")))
        doctor_report_add(report, tools_check, DOCTOR_WARN,
            "rename or remove the tool in the gateway's settings or plugins and restart it",
            "refused: a tool of the gateway's has the name of one of ours; agents are told of the "
            "HTTP API");
    else
        doctor_report_add(report, tools_check, DOCTOR_OK, NULL,
            "taken; agents see them at once if the gateway's tools.toolSearch is "
            "{\"mode\":\"directory\"}, and by default call them through tool_call");
}

void doctor_check_tools(struct doctor *doctor, const struct gateway *gateway)
{
    if (has_no_use_for_tools(doctor))
        return;
    if (!doctor->config->client_tools_enabled) {
        doctor_report_add(&doctor->report, tools_check, DOCTOR_OK, NULL,
            "switched off by OPENCLAW_CLIENT_TOOLS_ENABLED: agents are told of the HTTP API");
        return;
    }
    enum tool_dialect dialect = gateway_dialect_fetch(
        gateway, doctor->client, agent_to_name(doctor), DOCTOR_TIMEOUT_MS, NULL);
    if (dialect == DIALECT_UNKNOWN)
        dialect = dialect_of_runtime(doctor);
    report_dialect(doctor, dialect);
}

void doctor_skip_tools(struct doctor *doctor, const char *failed)
{
    const char *const names[] = {tools_check, NULL};
    if (!has_no_use_for_tools(doctor))
        doctor_skip(doctor, names, failed);
}

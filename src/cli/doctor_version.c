/*
 * The doctor's checks of what depends on the backend's version: which one it is, and whether the
 * account's agents can be asked there.
 *
 * The version is read off the agents, as the runtime does it, and for an account without any it is
 * asked for with a function that only v1 has. On v1 an agent needs a session of the backend, and a
 * slug that cannot lead into another agent's session; on v0 there is nothing to check.
 */
#include <string.h>

#include "backend/service.h"
#include "base/text.h"
#include "cli/cli.h"
#include "delivery/session_key.h"

enum { MAX_NAMED_AGENTS = 10, QUOTED_BYTES = 80 };

static const char version_check[] = "backend version";
static const char slugs_check[] = "agent slugs";
static const char sessions_check[] = "agent sessions";

static enum backend_version find_version(const struct doctor *doctor, struct convex *convex)
{
    const struct service service = {.convex = convex, .client = doctor->client};
    json_t *value = NULL;
    struct error unused;
    if (json_array_size(doctor->agents) > 0)
        return backend_version_of_agents(doctor->agents);
    enum convex_outcome outcome = convex_call(
        &service, "getOrchestratorAgentId", json_object(), CONVEX_PLAIN, &value, &unused);
    enum backend_version version = backend_version_of_orchestrator(outcome, value);
    if (outcome == CONVEX_SUCCESS)
        json_decref(value);
    return version;
}

static void report_version(
    struct doctor *doctor, enum backend_version pinned, enum backend_version found)
{
    struct doctor_report *report = &doctor->report;
    if (found == BACKEND_UNKNOWN)
        doctor_report_add(report, version_check, DOCTOR_WARN,
            "check that this release supports the backend of the deployment",
            "not found out: its answers have what neither v0 nor v1 has");
    else if (backend_version_mismatches(pinned, found))
        doctor_report_add(report, version_check, DOCTOR_FAIL,
            "remove BACKEND_VERSION from the settings", "%s, but BACKEND_VERSION=%s is set",
            backend_version_words[found], backend_version_words[pinned]);
    else
        doctor_report_add(
            report, version_check, DOCTOR_OK, NULL, "%s", backend_version_words[found]);
}

/* Slugs come from the board and may hold anything. number counts those that were named before. */
static void append_agent_name(
    struct text *names, const struct agent *agent, const char *problem, size_t number)
{
    char quoted[QUOTED_BYTES];
    if (number > MAX_NAMED_AGENTS)
        return;
    text_quote(quoted, sizeof quoted, agent->slug, strlen(agent->slug));
    if (number == MAX_NAMED_AGENTS)
        text_append(names, ", ...");
    else
        text_printf(names, "%s%s%s%s%s", number > 0 ? ", " : "", quoted,
            problem != NULL ? " (" : "", problem != NULL ? problem : "",
            problem != NULL ? ")" : "");
}

static void judge_slugs(struct doctor *doctor, const struct agent_list *list)
{
    struct text names = {0};
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        enum slug_problem problem = slug_check_among(list, i, doctor->config->fallback_agent);
        if (problem != SLUG_USABLE)
            append_agent_name(&names, &list->agents[i], slug_problem_words[problem], count++);
    }
    if (count == 0)
        doctor_report_add(&doctor->report, slugs_check, DOCTOR_OK, NULL, "usable");
    else
        doctor_report_add(&doctor->report, slugs_check, DOCTOR_FAIL,
            "give these agents other slugs on the board",
            "%zu of the account's agents are not asked, because their slugs could lead into "
            "sessions of other agents: %s",
            count, names.failed ? "..." : names.data);
    text_fini(&names);
}

/* An agent that was read off v1 has its systemSessionKey. */
static void judge_sessions(struct doctor *doctor, const struct agent_list *list)
{
    struct text names = {0};
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->agents[i].version != BACKEND_V1)
            append_agent_name(&names, &list->agents[i], NULL, count++);
    if (count == 0)
        doctor_report_add(
            &doctor->report, sessions_check, DOCTOR_OK, NULL, "the backend has one for each agent");
    else
        doctor_report_add(&doctor->report, sessions_check, DOCTOR_WARN,
            "look into the deployment's log: its backend makes a session for each agent that it "
            "lists",
            "the backend gives %zu of the account's agents no session (systemSessionKey), so they "
            "are woken in one of another form: %s",
            count, names.failed ? "..." : names.data);
    text_fini(&names);
}

static void check_agents_of_v1(struct doctor *doctor)
{
    struct agent_list list;
    struct error error;
    if (agent_list_read(doctor->agents, &list, &error) != CONVEX_SUCCESS) {
        doctor_report_add(&doctor->report, slugs_check, DOCTOR_FAIL, NULL, "%s", error.text);
        return;
    }
    judge_slugs(doctor, &list);
    judge_sessions(doctor, &list);
    agent_list_fini(&list);
}

void doctor_check_version(struct doctor *doctor, struct convex *convex)
{
    if (doctor->agents == NULL) {
        doctor_skip(
            doctor, (const char *const[]){version_check, NULL}, "reading the account's agents");
        return;
    }
    enum backend_version found = find_version(doctor, convex);
    doctor->version = found;
    convex_pin_version(convex, doctor->config->backend_pin);
    report_version(doctor, convex_pinned_version(convex), found);
    if (found == BACKEND_V1)
        check_agents_of_v1(doctor);
}

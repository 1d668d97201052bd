#include "serve/probes.h"

#include <string.h>

enum { MOST_CHECKS = 3, UNAVAILABLE = 503 };

struct check {
    const char *name;
    const char *trouble; /* fixed words; NULL: passed */
};

static struct check check_process(const struct stats *stats)
{
    static const char *const troubles[] = {
        [PHASE_STARTING] = "starting",
        [PHASE_RUNNING] = NULL,
        [PHASE_STOPPING] = "stopping",
    };
    return (struct check){"process", troubles[atomic_load(&stats->phase)]};
}

static struct check check_backend(const struct stats *stats)
{
    const char *trouble = NULL;
    if (atomic_load(&stats->consecutive_poll_failures) > 0)
        trouble = "the last poll failed";
    else if (atomic_load(&stats->last_poll_ms) == 0)
        trouble = "not polled yet";
    return (struct check){"backend", trouble};
}

static struct check check_gateway(const struct gateway_gate *gate)
{
    const char *state = gateway_gate_word(gate);
    const char *trouble = NULL;
    if (strcmp(state, "shut") == 0)
        trouble = "it lets nobody in";
    else if (strcmp(state, "suspect") == 0)
        trouble = "being probed";
    return (struct check){"gateway", trouble};
}

static bool all_pass(const struct check *checks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (checks[i].trouble != NULL)
            return false;
    return true;
}

static void append_failing(struct text *body, const struct check *checks, size_t count)
{
    const char *separator = "";
    text_append(body, ",\"failing\":[");
    for (size_t i = 0; i < count; i++) {
        if (checks[i].trouble == NULL)
            continue;
        text_printf(body, "%s\"%s\"", separator, checks[i].name);
        separator = ",";
    }
    text_append(body, "]");
}

static void append_checks(struct text *body, const struct check *checks, size_t count, bool verbose)
{
    const char *separator = "";
    text_append(body, ",\"checks\":{");
    for (size_t i = 0; i < count; i++) {
        if (checks[i].trouble == NULL && !verbose)
            continue;
        text_printf(body, "%s\"%s\":\"%s\"", separator, checks[i].name,
            checks[i].trouble != NULL ? checks[i].trouble : "ok");
        separator = ",";
    }
    text_append(body, "}");
}

static bool append_answer(
    struct text *body, const char *good, const struct check *checks, size_t count, bool verbose)
{
    bool passed = all_pass(checks, count);
    text_printf(body, "{\"status\":\"%s%s\"", passed ? "" : "not ", good);
    if (!passed)
        append_failing(body, checks, count);
    if (!passed || verbose)
        append_checks(body, checks, count, verbose);
    text_append(body, "}\n");
    return passed;
}

bool probes_append_alive(struct text *body, const struct probe_sources *sources, bool verbose)
{
    const struct check checks[] = {
        {"threads", sources->find_stuck(sources->stuck_context)},
    };
    return append_answer(body, "alive", checks, 1, verbose);
}

bool probes_append_ready(struct text *body, const struct probe_sources *sources, bool verbose)
{
    const struct check checks[MOST_CHECKS] = {
        check_process(sources->stats),
        check_backend(sources->stats),
        check_gateway(sources->gate),
    };
    return append_answer(body, "ready", checks, MOST_CHECKS, verbose);
}

void probes_handle_alive(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    if (!probes_append_alive(&reply->body, context, request->verbose))
        reply->status = UNAVAILABLE;
}

void probes_handle_ready(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    if (!probes_append_ready(&reply->body, context, request->verbose))
        reply->status = UNAVAILABLE;
}

/*
 * Rules and defaults for the places of agents' profiles: the workspaces, the agents' file, and
 * where the gateway sees the workspaces. What the gateway and its agents can reach must hold
 * nothing of the state directory, whose files are the runtime's secrets and replies.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/options.h"
#include "config/values.h"

static const char agents_file_name[] = "mission-control-agents.json";

/* A relative path would depend on where the program was started. */
static bool check_absolute_path(
    enum option_id id, const char *path, const char *what, struct problems *problems)
{
    if (path == NULL || (path[0] == '/' && path[1] != '\0'))
        return true;
    option_report(&config_options[id], path, problems,
        "cannot hold %s; expected an absolute path other than /, such as %s", what,
        id == OPTION_OPENCLAW_AGENTS_FILE ? "/root/clawd/mission-control-agents.json"
                                          : "/root/clawd/agents");
    return false;
}

/* The path without links, "." and ".." in the part of it that exists. */
static void resolve_path(char resolved[static PATH_MAX], const char *path)
{
    char existing[PATH_MAX];
    text_copy(resolved, PATH_MAX, path);
    if (!text_copy(existing, sizeof existing, path))
        return;
    for (;;) {
        if (realpath(existing, resolved) != NULL)
            break;
        char *slash = strrchr(existing, '/');
        if (slash == NULL) {
            text_copy(resolved, PATH_MAX, path);
            return;
        }
        slash[slash == existing ? 1 : 0] = '\0';
    }
    for (const char *rest = path + strlen(existing); *rest != '\0';) {
        size_t length = strcspn(rest, "/");
        size_t used = strlen(resolved);
        bool is_plain = length > 0 && !(length == 1 && rest[0] == '.');
        if (is_plain)
            snprintf(resolved + used, PATH_MAX - used, "%s%.*s",
                resolved[used - 1] == '/' ? "" : "/", (int)length, rest);
        rest += length + strspn(rest + length, "/");
    }
}

/* Whether path is directory itself or below it. */
static bool is_below(const char *path, const char *directory)
{
    char inner[PATH_MAX];
    char outer[PATH_MAX];
    resolve_path(inner, path);
    resolve_path(outer, directory);
    size_t length = strlen(outer);
    return strncmp(inner, outer, length) == 0 && (inner[length] == '/' || inner[length] == '\0');
}

/* The default is beside the root, or in it if it is directly below /. */
static int fill_agents_file(struct config *config)
{
    struct text path = {0};
    if (config->agents_file != NULL)
        return 0;
    size_t parent_bytes = (size_t)(strrchr(config->workspace_root, '/') - config->workspace_root);
    text_append_bytes(&path, config->workspace_root,
        parent_bytes > 0 ? parent_bytes : strlen(config->workspace_root));
    text_printf(&path, "/%s", agents_file_name);
    config->agents_file = text_take(&path);
    return config->agents_file != NULL ? 0 : ERROR_NO_MEMORY;
}

static void check_state_is_apart(const struct config *config, struct problems *problems)
{
    const char *state = config->state_dir;
    if (!config->profile_sync || state == NULL)
        return;
    if (is_below(state, config->workspace_root) || is_below(config->workspace_root, state))
        problems_add(problems, PROBLEM_ERROR,
            "STATE_DIR and OPENCLAW_WORKSPACE_ROOT must not be within each other: agents can read "
            "their workspaces, and the state directory holds secrets");
    else if (is_below(config->agents_file, state))
        problems_add(problems, PROBLEM_ERROR,
            "OPENCLAW_AGENTS_FILE must not be in STATE_DIR: the gateway reads that file, and the "
            "state directory holds secrets");
}

int rules_apply_workspaces(struct config *config, struct problems *problems)
{
    char *const root = config->workspace_root;
    bool valid = check_absolute_path(
        OPTION_OPENCLAW_WORKSPACE_ROOT, root, "the agents' workspaces", problems);
    valid = check_absolute_path(OPTION_OPENCLAW_WORKSPACE_ROOT_IN_GATEWAY,
                config->workspace_root_in_gateway, "the agents' workspaces", problems) &&
            valid;
    valid = check_absolute_path(OPTION_OPENCLAW_AGENTS_FILE, config->agents_file,
                "the gateway's agents", problems) &&
            valid;
    if (!valid || root == NULL)
        return 0;
    if (config->workspace_root_in_gateway == NULL)
        config->workspace_root_in_gateway = strdup(root);
    if (config->workspace_root_in_gateway == NULL || fill_agents_file(config) != 0)
        return ERROR_NO_MEMORY;
    check_state_is_apart(config, problems);
    return 0;
}

/*
 * The table of tools. A row says everything that there is to say about a tool; what is offered, how
 * arguments are checked, which HTTP endpoints there are and what the documents say follows from it.
 * To add a tool, add its parameters, a row, and a handler (handlers.h).
 *
 * The order is that in which tools are offered: what every agent has comes before what only the
 * orchestrator has. Descriptions are read by models: they say when to use a tool and what comes
 * back. They should hold the words by which a model would look for it, as some gateways hide tools
 * behind a search.
 *
 * The words of errors are those that agents know from the first runtimes, with which their
 * instructions may deal; over HTTP they differ in places.
 */
#include "agent_tools/handlers.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define LATEST_DATE 8.64e15 /* in milliseconds: the last date that JavaScript knows */
#define MISSING_FIELD "Missing required field: *"

static const char *const new_statuses[] = {
    "in_progress", "review", "done", "blocked", NULL}; /* that agents may set */
static const char *const creation_statuses[] = {
    "inbox", "assigned", "in_progress", "review", "done", "blocked", NULL};
static const char *const all_statuses[] = {
    "inbox", "assigned", "in_progress", "review", "done", "blocked", "archived", NULL};
static const char *const document_types[] = {"deliverable", "note", "template", "reference", NULL};

#define END_OF_PARAMETERS \
    {                     \
        .name = NULL      \
    }
#define TASK_ID(...)                                                          \
    {                                                                         \
        .name = "taskId", .type = PARAMETER_ID, .required = true, __VA_ARGS__ \
    }
#define RUN_TASK_ID TASK_ID(.defaults_to_run = true, .description = "Id of the task")
#define OTHER_TASK_ID TASK_ID(.description = "Id of the task")
#define ROWS(field, most, words)                                                                  \
    {                                                                                             \
        .name = (field), .type = PARAMETER_LIMIT, .min = 1, .max = (most), .description = (words) \
    }
#define NEW_STATUS(is_required)                                                                 \
    {                                                                                           \
        .name = "status", .type = PARAMETER_WORD, .required = (is_required),                    \
        .words = new_statuses, .done_needs_right = true,                                        \
        .description = "New status. Use blocked, with blockedReason, when you need a person's " \
                       "input, and review when the work is complete"                            \
    }
#define BLOCKED_REASON                                                               \
    {                                                                                \
        .name = "blockedReason", .type = PARAMETER_TEXT, .max = 2000,                \
        .description = "What blocks the task, and who can help; needed with blocked" \
    }
#define DUE_DATE                                                                    \
    {                                                                               \
        .name = "dueDate", .type = PARAMETER_NUMBER, .min = 0, .max = LATEST_DATE,  \
        .description = "When it is due, in milliseconds since 1970-01-01T00:00:00Z" \
    }
#define LABELS                                                             \
    {                                                                      \
        .name = "labels", .type = PARAMETER_TEXTS, .description = "Labels" \
    }
#define PRIORITY(...)                                                                           \
    {                                                                                           \
        .name = "priority", .type = PARAMETER_PRIORITY, .min = 1, .max = 5,                     \
        .description = "1 (critical), 2 (high), 3 (medium), 4 (low) or 5 (lowest)", __VA_ARGS__ \
    }

static const struct tool_parameter task_status[] = {
    RUN_TASK_ID, NEW_STATUS(true), BLOCKED_REASON, END_OF_PARAMETERS};

static const struct tool_parameter task_update[] = {RUN_TASK_ID,
    {.name = "title", .type = PARAMETER_TEXT, .max = 2000, .description = "New title"},
    {.name = "description",
        .type = PARAMETER_TEXT,
        .may_be_blank = true,
        .max = 100000,
        .description = "New description, which replaces the old one"},
    PRIORITY(.invalid = "priority must be between 1 (highest) and 5 (lowest)"), LABELS,
    {.name = "assignedAgentIds",
        .type = PARAMETER_TEXTS,
        .description = "Ids of the agents that are assigned from now on, in place of those now"},
    {.name = "assignedUserIds",
        .type = PARAMETER_TEXTS,
        .description = "Ids of the people that are assigned from now on, in place of those now"},
    NEW_STATUS(false), BLOCKED_REASON, DUE_DATE, END_OF_PARAMETERS};

static const struct tool_parameter task_create[] = {
    {.name = "title",
        .type = PARAMETER_TEXT,
        .required = true,
        .max = 2000,
        .description = "What is to be done, in a few words"},
    {.name = "description",
        .type = PARAMETER_TEXT,
        .may_be_blank = true,
        .max = 100000,
        .description = "Everything that somebody needs who is to do it"},
    PRIORITY(.invalid = "Invalid priority: use 1-5 or one of critical|high|medium|low|lowest"),
    LABELS,
    {.name = "status",
        .type = PARAMETER_WORD,
        .words = all_statuses,
        .http_words = creation_statuses,
        .description = "Status to begin with; inbox by default"},
    BLOCKED_REASON, DUE_DATE,
    {.name = "assigneeSlugs",
        .type = PARAMETER_TEXTS,
        .description = "Slugs of the agents to assign; for the orchestrator only"},
    END_OF_PARAMETERS};

static const struct tool_parameter document_upsert[] = {
    {.name = "documentId",
        .type = PARAMETER_ID,
        .description = "Id of the document to replace; leave it out to write a new one"},
    {.name = "taskId",
        .type = PARAMETER_ID,
        .description = "Id of the task that it belongs to. By default an existing document keeps "
                       "its task, and a new one belongs to the task that this run is about"},
    {.name = "title",
        .type = PARAMETER_TEXT,
        .required = true,
        .max = 2000,
        .invalid_is_missing = true,
        .description = "Title"},
    {.name = "content",
        .type = PARAMETER_TEXT,
        .required = true,
        .may_be_blank = true,
        .max = 1000000,
        .invalid_is_missing = true,
        .description = "All of the document, as Markdown"},
    {.name = "type",
        .type = PARAMETER_WORD,
        .required = true,
        .words = document_types,
        .invalid_is_missing = true,
        .description = "What kind of document it is"},
    END_OF_PARAMETERS};

static const struct tool_parameter document_list[] = {
    {.name = "taskId",
        .type = PARAMETER_ID,
        .description = "Id of a task, to list its documents only"},
    {.name = "type",
        .type = PARAMETER_WORD,
        .words = document_types,
        .description = "To list documents of this kind only"},
    ROWS("limit", 100, "How many to list at most, 1 to 100; 50 by default"), END_OF_PARAMETERS};

static const struct tool_parameter response_request[] = {RUN_TASK_ID,
    {.name = "recipientSlugs",
        .type = PARAMETER_TEXTS,
        .required = true,
        .description = "Slugs of the agents to ask, 10 at most"},
    {.name = "message",
        .type = PARAMETER_TEXT,
        .required = true,
        .is_trimmed = true,
        .max = 1000,
        .too_long = "Message too long: max 1000 characters allowed",
        .description = "What they are asked, in 1,000 characters at most"},
    END_OF_PARAMETERS};

static const struct tool_parameter agent_skills[] = {
    {.name = "agentId",
        .type = PARAMETER_TEXT,
        .is_trimmed = true,
        .description = "Slug or id of an agent; all of them by default"},
    END_OF_PARAMETERS};

static const struct tool_parameter task_load[] = {RUN_TASK_ID,
    ROWS("messageLimit", 200, "How many of the latest messages, 1 to 200; 10 by default"),
    END_OF_PARAMETERS};

static const struct tool_parameter task_history[] = {RUN_TASK_ID,
    ROWS("messageLimit", 200, "How many of the latest messages, 1 to 200; 25 by default"),
    {.name = "activityLimit",
        .type = PARAMETER_LIMIT,
        .min = 0,
        .max = 200,
        .description = "How many of the latest activities, 0 to 200; 30 by default"},
    END_OF_PARAMETERS};

static const struct tool_parameter task_assign[] = {OTHER_TASK_ID,
    {.name = "assigneeSlugs",
        .type = PARAMETER_TEXTS,
        .required = true,
        .description = "Slugs of the agents to assign, besides those that are"},
    END_OF_PARAMETERS};

static const struct tool_parameter task_message[] = {OTHER_TASK_ID,
    {.name = "content",
        .type = PARAMETER_TEXT,
        .required = true,
        .max = 100000,
        .description = "The message, as Markdown"},
    END_OF_PARAMETERS};

static const struct tool_parameter task_list[] = {
    {.name = "status",
        .type = PARAMETER_WORD,
        .words = all_statuses,
        .description = "To list tasks of this status only"},
    {.name = "assigneeSlug",
        .type = PARAMETER_TEXT,
        .is_trimmed = true,
        .description = "Slug of an agent, to list its tasks only"},
    ROWS("limit", 200, "How many to list at most, 1 to 200; 50 by default"), END_OF_PARAMETERS};

static const struct tool_parameter task_get[] = {OTHER_TASK_ID, END_OF_PARAMETERS};

static const struct tool_parameter task_thread[] = {OTHER_TASK_ID,
    ROWS("limit", 200, "How many of the latest messages, 1 to 200; 50 by default"),
    END_OF_PARAMETERS};

static const struct tool_parameter task_search[] = {
    {.name = "query",
        .type = PARAMETER_TEXT,
        .required = true,
        .max = 2000,
        .description = "Words as they stand in the title, the description or the reason for being "
                       "blocked, in any case"},
    ROWS("limit", 100, "How many to list at most, 1 to 100; 20 by default"), END_OF_PARAMETERS};

static const struct tool_parameter task_delete[] = {OTHER_TASK_ID,
    {.name = "reason",
        .type = PARAMETER_TEXT,
        .required = true,
        .max = 2000,
        .description = "Why, for the people who look for it"},
    END_OF_PARAMETERS};

static const struct tool_parameter task_link_pr[] = {OTHER_TASK_ID,
    {.name = "prNumber",
        .type = PARAMETER_NUMBER,
        .required = true,
        .min = 1,
        .max = 9007199254740991,
        .missing = "prNumber is required and must be numeric",
        .invalid_is_missing = true,
        .description = "Number of the pull request"},
    END_OF_PARAMETERS};

static bool offer_status(const struct tool_audience *audience)
{
    return audience->has_task && audience->flags.can_modify_task_status;
}

static bool offer_task_create(const struct tool_audience *audience)
{
    return audience->flags.can_create_tasks;
}

static bool offer_document_upsert(const struct tool_audience *audience)
{
    return audience->flags.can_create_documents;
}

static bool offer_document_list(const struct tool_audience *audience)
{
    return audience->flags.can_create_documents || audience->has_task;
}

static bool offer_response_request(const struct tool_audience *audience)
{
    return audience->has_task && audience->flags.can_mention_agents;
}

static bool offer_in_task(const struct tool_audience *audience)
{
    return audience->has_task;
}

static bool offer_to_all(const struct tool_audience *audience)
{
    (void)audience;
    return true;
}

static bool offer_to_orchestrator(const struct tool_audience *audience)
{
    return audience->is_orchestrator;
}

static bool may_modify_status(const struct tool_audience *audience)
{
    return audience->flags.can_modify_task_status;
}

static bool may_mention(const struct tool_audience *audience)
{
    return audience->flags.can_mention_agents;
}

#define FOR_ORCHESTRATOR .is_offered = offer_to_orchestrator, .offered_to = "the orchestrator"

static const struct tool table[] = {
    {.name = "task_status",
        .description = "Set the status of a task: in_progress when you take up the work, review "
                       "when it is complete, blocked when you need a person's input.",
        .label = "set a task's status",
        .path = "/agent/task-status",
        .parameters = task_status,
        .changes = true,
        .has_duration = true,
        .is_offered = offer_status,
        .offered_to = "agents with `canModifyTaskStatus`, in runs about a task",
        .is_permitted = may_modify_status,
        .forbidden = "Agent is not allowed to modify task status",
        .http_missing = "Missing required fields: taskId, status",
        .answer = "taskId:text message?:text",
        .http_answer = "taskId:text requestedStatus:text status:text updatedAt:number "
                       "changed:boolean durationMs:number",
        .example = "{\"taskId\":\"TASK\",\"status\":\"review\"}",
        .handle = handle_task_status},
    {.name = "task_update",
        .description = "Change fields of a task: title, description, priority, labels, assignees, "
                       "due date, status. Only what you give is changed. Says what was.",
        .label = "change a task's fields",
        .path = "/agent/task-update",
        .parameters = task_update,
        .changes = true,
        .has_duration = true,
        .is_offered = offer_status,
        .offered_to = "agents with `canModifyTaskStatus`, in runs about a task",
        .is_permitted = may_modify_status,
        .forbidden = "Agent is not allowed to modify tasks",
        .http_missing = MISSING_FIELD,
        .answer = "taskId:text message:text",
        .http_answer = "taskId:text changedFields:text[] durationMs:number",
        .example = "{\"taskId\":\"TASK\",\"priority\":2,\"labels\":[\"backend\"]}",
        .handle = handle_task_update},
    {.name = "task_create",
        .description = "Create a new task on the board, for work that is not part of this one. "
                       "Returns its id.",
        .label = "create a task",
        .path = "/agent/task-create",
        .parameters = task_create,
        .changes = true,
        .adds = true,
        .is_offered = offer_task_create,
        .offered_to = "agents with `canCreateTasks`",
        .is_permitted = offer_task_create,
        .forbidden = "Agent is not allowed to create tasks",
        .http_missing = MISSING_FIELD,
        .answer = "taskId:text",
        .example = "{\"title\":\"Check the backups\",\"priority\":\"high\"}",
        .handle = handle_task_create},
    {.name = "document_upsert",
        .description = "Write a document, such as a note or a deliverable: a new one, or all of an "
                       "existing one. Returns its id; the board shows it at "
                       "/document/<documentId>, to which a message can link.",
        .label = "write a document",
        .path = "/agent/document",
        .parameters = document_upsert,
        .changes = true,
        .adds = true,
        .is_offered = offer_document_upsert,
        .offered_to = "agents with `canCreateDocuments`",
        .is_permitted = offer_document_upsert,
        .forbidden = "Agent is not allowed to create documents",
        .missing = "title, content, and type (deliverable|note|template|reference) are required",
        .http_missing = "Missing or invalid: title, content, and type "
                        "(deliverable|note|template|reference) required",
        .answer = "documentId:text",
        .example = "{\"taskId\":\"TASK\",\"title\":\"Findings\",\"content\":\"# "
                   "Findings\",\"type\":\"note\"}",
        .handle = handle_document_upsert},
    {.name = "document_list",
        .description = "List documents, those changed last first: id, title, kind, task. Without "
                       "their contents.",
        .label = "list documents",
        .path = "/agent/document-list",
        .parameters = document_list,
        .is_offered = offer_document_list,
        .offered_to = "agents with `canCreateDocuments`, and all in runs about a task",
        .answer = "data.documents:object[]",
        .example = "{\"taskId\":\"TASK\",\"limit\":20}",
        .handle = handle_document_list},
    {.name = "response_request",
        .description = "Ask other agents to respond in a task's thread; they are notified. Use it "
                       "instead of mentioning them.",
        .label = "ask other agents for a response",
        .path = "/agent/response-request",
        .parameters = response_request,
        .changes = true,
        .adds = true,
        .is_offered = offer_response_request,
        .offered_to = "agents with `canMentionAgents`, in runs about a task",
        .is_permitted = may_mention,
        .forbidden = "Agent may not request responses",
        .http_missing = MISSING_FIELD,
        .answer = "data.notificationIds:text[] message?:text",
        .http_answer = "notificationIds:text[]",
        .example = "{\"taskId\":\"TASK\",\"recipientSlugs\":[\"friday\"],\"message\":\"Please "
                   "review the findings.\"}",
        .handle = handle_response_request},
    {.name = "get_agent_skills",
        .description = "List the skills of agents, to find out who can do something.",
        .label = "list the skills of agents",
        .path = "/agent/get-agent-skills",
        .parameters = agent_skills,
        .is_offered = offer_to_all,
        .offered_to = "everyone",
        .answer = "data.agents:object[]",
        .example = "{\"agentId\":\"friday\"}",
        .handle = handle_agent_skills},
    {.name = "task_load",
        .description = "Read a task with all its fields and the latest messages of its thread.",
        .label = "read a task and its thread",
        .path = "/agent/task-load",
        .parameters = task_load,
        .is_offered = offer_to_all,
        .offered_to = "everyone",
        .answer = "data.task:object data.thread:object[]",
        .example = "{\"taskId\":\"TASK\",\"messageLimit\":20}",
        .handle = handle_task_load},
    {.name = "task_history",
        .description = "Read a task with its latest messages and activities: who changed what, "
                       "and when.",
        .label = "read what happened to a task",
        .parameters = task_history,
        .is_offered = offer_in_task,
        .offered_to = "everyone, in runs about a task",
        .answer = "data.task:object data.messages:object[] data.activities:object[] "
                  "data.meta:object",
        .example = "{\"taskId\":\"TASK\",\"activityLimit\":50}",
        .handle = handle_task_history},
    {.name = "task_assign",
        .description = "Assign agents to a task, besides those that are assigned. They are "
                       "notified, and the task begins if it was in the inbox.",
        .label = "assign agents to a task",
        .path = "/agent/task-assign",
        .parameters = task_assign,
        .changes = true,
        FOR_ORCHESTRATOR,
        .orchestrator_only = "Only the orchestrator can assign agents",
        .http_missing = MISSING_FIELD,
        .answer = "taskId:text",
        .example = "{\"taskId\":\"TASK\",\"assigneeSlugs\":[\"friday\"]}",
        .handle = handle_task_assign},
    {.name = "task_message",
        .description = "Post a message in the thread of any task.",
        .label = "post a message in a task's thread",
        .path = "/agent/task-message",
        .parameters = task_message,
        .changes = true,
        .adds = true,
        FOR_ORCHESTRATOR,
        .orchestrator_only = "Only the orchestrator can post task messages",
        .missing = "taskId and content are required",
        .http_missing = "Missing required fields: taskId, content",
        .answer = "messageId:text",
        .example = "{\"taskId\":\"TASK\",\"content\":\"The deadline has moved to Friday.\"}",
        .handle = handle_task_message},
    {.name = "task_list",
        .description = "List tasks of the board, the newest first; of one status or one agent if "
                       "you like.",
        .label = "list tasks",
        .path = "/agent/task-list",
        .parameters = task_list,
        FOR_ORCHESTRATOR,
        .orchestrator_only = "Only the orchestrator can list tasks",
        .answer = "data.tasks:object[]",
        .example = "{\"status\":\"in_progress\",\"assigneeSlug\":\"friday\"}",
        .handle = handle_task_list},
    {.name = "task_get",
        .description = "Read the fields of any task; null if there is no such task.",
        .label = "read a task",
        .path = "/agent/task-get",
        .parameters = task_get,
        FOR_ORCHESTRATOR,
        .orchestrator_only = "Only the orchestrator can get tasks",
        .answer = "data.task:any",
        .example = "{\"taskId\":\"TASK\"}",
        .handle = handle_task_get},
    {.name = "task_thread",
        .description = "Read the messages of any task's thread, the oldest first.",
        .label = "read a task's thread",
        .path = "/agent/task-thread",
        .parameters = task_thread,
        FOR_ORCHESTRATOR,
        .orchestrator_only = "Only the orchestrator can read task threads",
        .answer = "data.thread:object[]",
        .example = "{\"taskId\":\"TASK\",\"limit\":20}",
        .handle = handle_task_thread},
    {.name = "task_search",
        .description = "Search tasks by words, the best matches first.",
        .label = "search tasks",
        .path = "/agent/task-search",
        .parameters = task_search,
        FOR_ORCHESTRATOR,
        .orchestrator_only = "Only the orchestrator can search tasks",
        .answer = "data.results:object[]",
        .example = "{\"query\":\"backup\"}",
        .handle = handle_task_search},
    {.name = "task_delete",
        .description = "Archive a task, from any status. It cannot be taken back.",
        .label = "archive a task",
        .path = "/agent/task-delete",
        .parameters = task_delete,
        .changes = true,
        FOR_ORCHESTRATOR,
        .orchestrator_only = "Only the orchestrator can delete/archive tasks",
        .http_orchestrator_only = "Only the orchestrator can delete tasks",
        .missing = "taskId and reason are required",
        .http_missing = "Missing required fields: taskId, reason",
        .answer = "",
        .example = "{\"taskId\":\"TASK\",\"reason\":\"A duplicate of another task.\"}",
        .handle = handle_task_delete},
    {.name = "task_link_pr",
        .description = "Link a task with the pull request that carries it out.",
        .label = "link a task with a pull request",
        .path = "/agent/task-link-pr",
        .parameters = task_link_pr,
        .changes = true,
        FOR_ORCHESTRATOR,
        .orchestrator_only = "Only the orchestrator can link tasks to PRs",
        .answer = "data.taskId:text data.prNumber:number",
        .example = "{\"taskId\":\"TASK\",\"prNumber\":42}",
        .handle = handle_task_link_pr},
};

const struct tool_catalog tool_catalog = {.tools = table, .count = COUNT(table)};

/*
 * A person who writes at the worst moment: in between the steps of a delivery. The message has the
 * effects of any other, so in version 1 it patches an undelivered thread update of its task.
 */
#include "rule_post.h"

#include "base/json.h"
#include "board.h"
#include "board_find.h"
#include "memory.h"

static struct document *find_post_task(
    const struct store *store, const json_t *post, const char *notification_id)
{
    const char *name = json_guard_string(post, "task");
    if (name != NULL)
        return board_find(store, TABLE_TASKS, name);
    const struct document *notification = store_get(store, TABLE_NOTIFICATIONS, notification_id);
    return notification == NULL
               ? NULL
               : store_get(store, TABLE_TASKS, document_string(notification, "taskId"));
}

void rule_post(struct sandbox *sandbox, struct fault_rule *rule, enum fault_moment moment,
    const char *notification_id)
{
    if (rule == NULL || rule->post == NULL || rule->post_moment != moment)
        return;
    struct document *task = find_post_task(&sandbox->store, rule->post, notification_id);
    struct document *author = board_author(sandbox, json_guard_string(rule->post, "author"));
    if (task == NULL || author == NULL)
        return;
    rule->posted++;
    board_post(&sandbox->store,
        &(struct new_message){
            .author = author, .task = task, .content = json_object_get(rule->post, "content")});
}

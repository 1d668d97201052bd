/* Messages that a fault rule posts at a step of the requests that it matches. */
#ifndef SANDBOX_RULE_POST_H
#define SANDBOX_RULE_POST_H

#include "sandbox.h"

/*
 * Posts the rule's message if it has one for this moment: before or after what the request does.
 * Without a task in the rule it goes to the task of the notification. rule and notification_id may
 * be NULL.
 */
void rule_post(struct sandbox *sandbox, struct fault_rule *rule, enum fault_moment moment,
    const char *notification_id);

#endif

/* The context is one literal, so that a test shows all that differs from it in its changes. */
#include "context_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "json_fixture.h"

static const char base[] =
    "{\"notification\":{\"_id\":\"n1\",\"type\":\"thread_update\",\"recipientType\":\"agent\","
    "\"recipientId\":\"a1\",\"taskId\":\"t1\",\"messageId\":\"m2\",\"title\":\"Ada replied\","
    "\"body\":\"New message in task \\\"Ship it\\\"\",\"createdAt\":1795229482000},"
    "\"agent\":{\"_id\":\"a1\",\"slug\":\"jarvis\",\"name\":\"Jarvis\",\"role\":\"Developer\"},"
    "\"task\":{\"_id\":\"t1\",\"title\":\"Ship it\",\"description\":\"All of it.\","
    "\"status\":\"in_progress\",\"priority\":2,\"labels\":[\"release\"],"
    "\"assignedAgentIds\":[\"a1\",\"a2\"],\"assignedUserIds\":[\"u1\"]},"
    "\"message\":{\"_id\":\"m2\",\"authorType\":\"user\",\"authorId\":\"u1\","
    "\"content\":\"How far are you?\",\"createdAt\":1795229482000},"
    "\"thread\":[{\"messageId\":\"m1\",\"authorType\":\"agent\",\"authorId\":\"a1\","
    "\"authorName\":\"Jarvis\",\"content\":\"On it.\",\"createdAt\":1795229481000},"
    "{\"messageId\":\"m2\",\"authorType\":\"user\",\"authorId\":\"u1\",\"authorName\":\"Ada\","
    "\"content\":\"How far are you?\",\"createdAt\":1795229482000}],"
    "\"sourceNotificationType\":null,\"orchestratorAgentId\":\"a9\","
    "\"primaryUserMention\":{\"id\":\"u1\",\"name\":\"Ada Byron\",\"email\":null},"
    "\"mentionableAgents\":["
    "{\"id\":\"a2\",\"slug\":\"friday\",\"name\":\"Friday\",\"role\":\"Designer\"},"
    "{\"id\":\"a9\",\"slug\":\"fury\",\"name\":\"Fury\",\"role\":\"Squad Lead\"},"
    "{\"id\":\"a1\",\"slug\":\"jarvis\",\"name\":\"Jarvis\",\"role\":\"Developer\"}],"
    "\"assignedAgents\":["
    "{\"id\":\"a2\",\"slug\":\"friday\",\"name\":\"Friday\",\"role\":\"Designer\"},"
    "{\"id\":\"a1\",\"slug\":\"jarvis\",\"name\":\"Jarvis\",\"role\":\"Developer\"}],"
    "\"effectiveBehaviorFlags\":{\"canCreateTasks\":false,\"canModifyTaskStatus\":true,"
    "\"canCreateDocuments\":true,\"canMentionAgents\":true,\"canReviewTasks\":false,"
    "\"canMarkDone\":false},"
    "\"repositoryDoc\":null,\"globalBriefingDoc\":null,\"taskOverview\":null,"
    "\"deliverySessionKey\":\"task:t1:agent:jarvis:acc:v1\"}";

json_t *context_fixture_json(const char *changes)
{
    json_t *value = json_fixture_must_load(base);
    if (changes[0] == '\0')
        return value;
    json_t *patch = json_fixture_must_load(changes);
    assert_int_equal(json_object_update_recursive(value, patch), 0);
    json_decref(patch);
    return value;
}

struct delivery_context context_fixture_read(const char *changes)
{
    struct delivery_context context;
    struct error error;
    if (delivery_context_read(context_fixture_json(changes), &context, &error) != CONVEX_SUCCESS)
        fail_msg("%s: %s", error.text, changes);
    return context;
}

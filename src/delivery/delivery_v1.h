/* What a delivery does beyond its stages when the backend is version 1. */
#ifndef DELIVERY_DELIVERY_V1_H
#define DELIVERY_DELIVERY_V1_H

#include <stdbool.h>

#include "base/text.h"
#include "delivery/attempt.h"
#include "delivery/policy.h"
#include "prompt/instructions.h"

/*
 * All of these belong to one attempt and run on its worker. Those that read the attempt's context
 * need one of v1 unless they say otherwise; the marks for typing and v1_begin_task do nothing while
 * the backend is not known to be v1.
 */

/*
 * Whether the agent's slug would make it share a session with others, so that it must not be asked
 * before it has another; *error says what is wrong with it. Pure.
 */
bool v1_slug_is_unusable(const struct attempt *attempt, struct error *error);

/*
 * Appends what the agent is told, which includes what it can do on the board. text->failed tells
 * that memory ran out.
 */
void v1_append_message(const struct attempt *attempt, const struct board_access *access,
    struct text *instructions, struct text *input);

/* Decides what becomes of a reply of that kind, and counts it if it is to be asked for again. */
enum answer_fate v1_judge_reply(struct attempt *attempt, enum reply_kind kind, bool incomplete);

/*
 * Shows the agent as typing until the notification is marked as delivered. The call takes 5 s at
 * most, and never fails the delivery.
 */
void v1_begin_typing(struct attempt *attempt);

/*
 * No longer shows it, if it does: the notification waits, or has ended without a mark. Blocks and
 * fails as v1_begin_typing does.
 */
void v1_end_typing(struct attempt *attempt);

/*
 * Posts content although the notification's key is spent: not if the thread has it already. As
 * service_create_message; blocks for the read of the thread as well.
 */
enum convex_outcome v1_post_without_key(
    struct attempt *attempt, const char *content, struct error *error);

/*
 * The acknowledgement of an assignment that begins its task (entry->work.begins_task) has been
 * posted: the task is in progress. Best effort.
 */
void v1_begin_task(struct attempt *attempt);

/*
 * The notification is marked as delivered, and this is its context since. Returns STAGE_SETTLED, or
 * if it names a newer message than the one that was answered, or skipped, STAGE_KNOWN: the entry is
 * ready to begin again with that one. STAGE_WRITTEN with a delay while the disk does not take what
 * the earlier message has left for dead/.
 */
enum entry_stage v1_settle_marked(struct attempt *attempt, const struct delivery_context *context);

/*
 * Whether an array as the context's thread has a message of the agent with that content, cut as
 * there, which is newer than since_ms. Pure.
 */
bool v1_thread_has(
    const json_t *thread, const char *agent_id, const char *content, int64_t since_ms);

#endif

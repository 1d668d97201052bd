/* A thread of the sandbox in which agents called one, two and three answer each other. */
#ifndef TEST_LIB_TALK_H
#define TEST_LIB_TALK_H

#include "board.h"

enum { TALK_AGENTS = 3 };

/* Adds the agents and the task "talk" without assignees; agents answer other agents as well. */
void talk_seed(struct test_env *env);

/* Posts a person's message in the thread. */
void talk_post(struct test_env *env, const char *content);

/* Lets an agent reply with that text from now on, instead of its own words. */
void talk_set_reply(struct test_env *env, const char *agent, const char *text);

/* Each agent mentions both others in every reply, which no limit on the length of a chain ends. */
void talk_set_mutual_replies(struct test_env *env);

/* Waits until several polls came back empty, so nothing is left that could cause more runs. */
void talk_wait_until_quiet(struct test_env *env);

/* Number of messages in which the runtime asks a person to let agents go on. */
int talk_count_limit_notes(struct test_env *env);

#endif

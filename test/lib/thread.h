/* A task and its thread on version 1 of the backend: what tests of deliveries there begin with. */
#ifndef TEST_LIB_THREAD_H
#define TEST_LIB_THREAD_H

#include "test_env.h"

/*
 * Makes the user Bob, the agent jarvis, and the task "work" in progress, which is assigned to
 * jarvis, who therefore follows its thread. Nothing is undelivered.
 */
void thread_seed(struct test_env *env);

/* Marks all notifications to agents as delivered. */
void thread_mark_all(struct test_env *env);

/* A person writes in the thread of the task "work". */
void thread_say(struct test_env *env, const char *content);

/* The same, and waits until the thread has that many messages and all is delivered. */
void thread_say_and_wait(struct test_env *env, const char *content, int messages);

/* Where in a delivery a person writes; see thread_say_at. */
struct thread_moment {
    bool at_gateway;    /* action is that of a gateway's rule, else a function of the backend */
    const char *action; /* borrowed */
    const char *when;   /* "before" or "after"; borrowed */
};

/* A person writes in that thread, at the next such moment. */
void thread_say_at(struct test_env *env, const struct thread_moment *moment, const char *content);

/* The agent run of that number, from 0, as recorded; a new reference. */
json_t *thread_run(struct test_env *env, size_t number);

/* Fails the test unless the input of that run contains words. */
void thread_run_must_show(struct test_env *env, size_t number, const char *words);

/* Number of agent runs for notifications, and of messages by agents. */
long thread_count_runs(struct test_env *env);
long thread_count_replies(struct test_env *env);

#endif

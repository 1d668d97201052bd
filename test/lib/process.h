/* A program under test: started with an environment of its own, its output collected as it comes.
 */
#ifndef TEST_LIB_PROCESS_H
#define TEST_LIB_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/sync.h"
#include "base/text.h"

struct process {
    pid_t pid;
    int pid_fd;
    int output_fd;
    pthread_t reader;
    bool running;

    /* Guards output, closed and stalled. */
    struct mutex lock;
    struct cond changed;
    struct text output; /* standard output and error, in the order written */
    bool closed;
    bool stalled; /* nobody reads what it writes */
};

/*
 * Starts argv (ended by NULL, argv[0] a path) with environment (NAME=value strings, ended by NULL).
 * Fails the test when it cannot. Ended by process_fini.
 */
void process_start(struct process *process, const char *const argv[], char *const environment[]);

/*
 * Waits until the output holds words, for at most timeout_ms, and copies the rest of that line into
 * rest (may be NULL). False when it does not come, or the program ended without it.
 */
bool process_wait_output(
    struct process *process, const char *words, int timeout_ms, char *rest, size_t rest_bytes);

/* Whether the output holds words by now. */
bool process_has_output(struct process *process, const char *words);

/* Fills the pipe that it writes to, and leaves it so until process_resume_output. */
void process_stall_output(struct process *process);
void process_resume_output(struct process *process);

/* A copy of all it said so far, the caller's to free. */
char *process_output(struct process *process);

void process_signal(const struct process *process, int number);

/* The exit status once it ended (128 + n after signal n); -1 when it still runs after timeout_ms.
 */
int process_wait_exit(struct process *process, int timeout_ms);

/* Kills it if it still runs and frees everything. Does nothing when it was never started. */
void process_fini(struct process *process);

/* Writes what it said to standard error, for a test that is about to fail. */
void process_dump_output(struct process *process, const char *title);

/*
 * The sanitizers make programs slower: limits in tests are multiplied by this, 1 in a plain build.
 */
int process_timeout_scale(void);

#endif

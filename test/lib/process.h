/* A program under test: started with its own environment, its output collected. */
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
    bool stalled;    /* the reader is to stop reading */
    bool is_holding; /* it has stopped */
};

/*
 * Makes the next program that is started process 1 of a PID namespace of its own. False with errno
 * set where that is not possible. This process can start no threads until then.
 */
bool process_isolate_next(void);

/*
 * Starts argv (NULL-terminated, argv[0] is a path) with environment (NULL-terminated NAME=value
 * strings). Fails the test when it cannot. Released by process_fini.
 */
void process_start(struct process *process, const char *const argv[], char *const environment[]);

/*
 * Waits until the output contains words, for at most timeout_ms times process_timeout_scale, and
 * copies the rest of that line into rest (may be NULL). False at the timeout, or when the program
 * ended without printing it.
 */
bool process_wait_output(
    struct process *process, const char *words, int timeout_ms, char *rest, size_t rest_bytes);

/* Whether the output contains words now. */
bool process_has_output(struct process *process, const char *words);

/*
 * Stops reading the output and fills the pipe, until process_resume_output. A runtime must have
 * been started with MISSION_CONTROL_DEBUG_CORE=on, or only root could open its pipe.
 */
void process_stall_output(struct process *process);
void process_resume_output(struct process *process);

/* Returns a copy of the output so far; the caller frees it. */
char *process_output(struct process *process);

void process_signal(const struct process *process, int number);

/* Sends SIGSTOP and waits until the whole process has stopped; SIGCONT resumes it. */
void process_suspend(const struct process *process);

/*
 * Returns the exit status (128 + n after signal n), or -1 if the program still runs at the timeout.
 */
int process_wait_exit(struct process *process, int timeout_ms);

/* Kills the program if it still runs and frees everything. Does nothing if it was never started. */
void process_fini(struct process *process);

/* Writes the output to standard error, for a test that is about to fail. */
void process_dump_output(struct process *process, const char *title);

/* Factor for time limits, since sanitizers make programs slower; 1 in a plain build. */
int process_timeout_scale(void);

#endif

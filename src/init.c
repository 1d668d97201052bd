/*
 * In a container without an init the runtime is process 1, and the kernel makes it the parent of
 * every orphan: of what the gateway's tools leave running in sessions of their own, and of a health
 * check that outlives its caller. Nobody else can reap those, and each one that ends unreaped keeps
 * a process id until the container can start nothing any more.
 *
 * Reaping any child from within the runtime would take exit statuses from the threads that wait for
 * theirs (base/process.c). So process 1 does nothing else, and the runtime is its child; no other
 * process in the runtime has to know. When the runtime ends, so does process 1, and the kernel
 * kills whatever is left in the namespace.
 */
#include "init.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

/* Reaps all that have ended. Returns whether the runtime was among them, with its status. */
static bool init_reap(pid_t runtime, int *exit_status)
{
    bool ended = false;
    int status = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != runtime)
            continue;
        ended = true;
        *exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return ended;
}

bool init_run(int *exit_status)
{
    if (getpid() != 1)
        return false;
    pid_t runtime = fork();
    if (runtime == 0)
        return false;
    if (runtime < 0) {
        log_warn("Runtime", "cannot fork, so orphans of this container are not reaped: %s",
            strerror(errno));
        return false;
    }
    sigset_t all;
    sigfillset(&all);
    do {
        int number = sigwaitinfo(&all, NULL);
        if (number > 0 && number != SIGCHLD)
            kill(runtime, number);
    } while (!init_reap(runtime, exit_status));
    return true;
}

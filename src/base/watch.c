/*
 * A supervisor sees a process that has ended, but not one that hangs: Docker restarts nothing that
 * is merely unhealthy, and systemd hears only of the main thread. So mc-watch looks at all threads
 * every 10 s and ends the process when one of them has hung for 120 s; whatever was in hand is in
 * the spool, or still listed by the backend.
 *
 * A thread is silent if it neither waits nor has begun or ended a wait since the last look. All
 * threads of ours wait often: for work, for a peer, for a deadline. How long a wait takes says
 * nothing, and whatever is waited for has a deadline of its own, or needs none. What is left is
 * computing, files and locks, and there is no good reason for two minutes of these.
 *
 * The time between two looks counts only if the look came on time. The process, and mc-watch with
 * it, may have been stopped, frozen by its container, or starved by others in between, and then its
 * threads could not give a sign.
 *
 * A thread that hangs may hold any lock, so the last line is written without one, and the process
 * ends by the system call, which runs no hooks. Only the list's lock has to be free, which nobody
 * holds for more than a few instructions.
 */
#include "base/watch.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/stop_point.h"
#include "base/sync.h"
#include "base/text.h"

/* Guards the list, and silent_ms of its items. */
static struct mutex list_lock = MUTEX_INITIALIZER;
static TAILQ_HEAD(, watched_thread) watched_threads = TAILQ_HEAD_INITIALIZER(watched_threads);
static int64_t silent_from_ms = INT64_MAX; /* half the limit */

static _Thread_local struct watched_thread *own_thread; /* NULL: not watched */

/* Used only by the thread that starts and stops it, and within it. */
static struct loop watch_loop;
static struct watch process_watch;

void watch_enter(struct watched_thread *thread, const char *name)
{
    *thread = (struct watched_thread){.signs = 1}; /* not seen yet */
    text_copy(thread->name, sizeof thread->name, name);
    mutex_lock(&list_lock);
    TAILQ_INSERT_TAIL(&watched_threads, thread, link);
    mutex_unlock(&list_lock);
    own_thread = thread;
}

void watch_leave(void)
{
    mutex_lock(&list_lock);
    TAILQ_REMOVE(&watched_threads, own_thread, link);
    mutex_unlock(&list_lock);
    own_thread = NULL;
}

/* Relaxed is enough: nothing else is concluded from what the counters hold. */
void watch_sign(void)
{
    if (own_thread != NULL)
        atomic_fetch_add_explicit(&own_thread->signs, 1, memory_order_relaxed);
}

void watch_pause(void)
{
    if (own_thread != NULL)
        atomic_fetch_add_explicit(&own_thread->pauses, 1, memory_order_relaxed);
}

void watch_resume(void)
{
    if (own_thread == NULL)
        return;
    watch_sign();
    if (atomic_fetch_sub_explicit(&own_thread->pauses, 1, memory_order_relaxed) == 1)
        STOP_POINT(own_thread->name);
}

bool watch_find_silent(char name[static WATCH_NAME_BYTES])
{
    const struct watched_thread *thread;
    mutex_lock(&list_lock);
    TAILQ_FOREACH (thread, &watched_threads, link)
        if (thread->silent_ms >= silent_from_ms)
            break;
    if (thread != NULL)
        memcpy(name, thread->name, WATCH_NAME_BYTES);
    mutex_unlock(&list_lock);
    return thread != NULL;
}

void watch_init(struct watch *watch, int64_t limit_ms, int64_t now_ms)
{
    *watch = (struct watch){.limit_ms = limit_ms, .look_ms = limit_ms / WATCH_LOOKS};
    watch->due_ms = now_ms + watch->look_ms;
    mutex_lock(&list_lock);
    silent_from_ms = limit_ms / 2;
    mutex_unlock(&list_lock);
}

static bool thread_is_silent(struct watched_thread *thread)
{
    unsigned signs = atomic_load_explicit(&thread->signs, memory_order_relaxed);
    bool is_silent = signs == thread->seen_signs &&
                     atomic_load_explicit(&thread->pauses, memory_order_relaxed) == 0;
    thread->seen_signs = signs;
    return is_silent;
}

bool watch_look(struct watch *watch, int64_t now_ms, char names[static WATCH_NAMES_BYTES])
{
    struct watched_thread *thread;
    size_t used = 0;
    bool is_on_time = now_ms - watch->due_ms <= watch->look_ms;
    watch->due_ms = now_ms + watch->look_ms;
    names[0] = '\0';
    mutex_lock(&list_lock);
    TAILQ_FOREACH (thread, &watched_threads, link) {
        if (!thread_is_silent(thread))
            thread->silent_ms = 0;
        else if (is_on_time)
            thread->silent_ms += watch->look_ms;
        if (thread->silent_ms >= watch->limit_ms && used + WATCH_NAME_BYTES < WATCH_NAMES_BYTES)
            used += (size_t)snprintf(
                names + used, WATCH_NAMES_BYTES - used, "%s%s", used > 0 ? " " : "", thread->name);
    }
    mutex_unlock(&list_lock);
    return used > 0;
}

static void *watch_main(void *argument)
{
    char names[WATCH_NAMES_BYTES];
    (void)argument;
    while (loop_wait(&watch_loop, process_watch.due_ms, SYNC_NO_DEADLINE)) {
        if (!watch_look(&process_watch, clock_monotonic_ms(), names))
            continue;
        log_last_words("Watchdog",
            "Ending the process with status %d: no sign for %lld s of these threads, which hang: "
            "%s",
            EX_SOFTWARE, (long long)(process_watch.limit_ms / 1000), names);
        syscall(SYS_exit_group, EX_SOFTWARE);
    }
    return NULL;
}

int watch_start(struct error *error)
{
    int64_t limit_ms = STOP_POINT_NUMBER("MISSION_CONTROL_HANG_LIMIT_MS", WATCH_LIMIT_MS);
    watch_init(&process_watch, limit_ms, clock_monotonic_ms());
    loop_init(&watch_loop, "mc-watch", watch_main, NULL);
    int result = loop_start(&watch_loop, error);
    if (result != 0)
        loop_fini(&watch_loop);
    return result;
}

void watch_stop(void)
{
    loop_stop(&watch_loop);
    loop_fini(&watch_loop);
}

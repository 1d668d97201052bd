/*
 * What the page says about the runtime: whether it is there, where its own page is, and the button
 * of the tour that kills it.
 *
 * That it is there shows in its calls: it polls the backend at short intervals, and reports its
 * status at the latest every minute. Whoever supervises it can say more with --runtime-pid-file,
 * which names a file with its process id: then its end shows at once. Killing removes the file, so
 * that no other process with the same id is ever killed, and the supervisor can tell this end from
 * another; it writes the file again for the next process.
 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "answer.h"
#include "base/io.h"
#include "base/json.h"
#include "base/sync.h"
#include "control.h"
#include "memory.h"

enum {
    SILENT_AFTER_MS = 10000,
    LOST_AFTER_MS = 90000,
    SAME_CALL_MS = 100,
    PID_FILE_LIMIT_BYTES = 32
};

/* The process id in the file; 0: there is no file, or it has none. */
static pid_t read_pid(const char *path)
{
    struct text content = {0};
    struct error error;
    pid_t pid = 0;
    if (file_read(path, PID_FILE_LIMIT_BYTES, &content, NULL, &error) == 0 &&
        content.data != NULL) {
        char *end;
        long number = strtol(content.data, &end, 10);
        if (number > 1 && number <= INT32_MAX && (*end == '\0' || *end == '\n'))
            pid = (pid_t)number;
    }
    text_fini(&content);
    return pid;
}

static bool is_process(pid_t pid)
{
    return pid > 0 && (kill(pid, 0) == 0 || errno != ESRCH);
}

/*
 * Whether it has reported itself that it is offline, which is then its last call. The sweep that
 * takes silent runtimes offline, too, is no call.
 */
static bool has_stopped(struct sandbox *sandbox, int64_t last_call_ms)
{
    const struct document *account = sandbox_account(sandbox);
    const struct document *row = NULL;
    TAILQ_FOREACH (row, &sandbox->store.tables[TABLE_RUNTIMES], siblings) {
        if (account != NULL && document_is(row, "accountId", account->id))
            return document_is(row, "status", "offline") &&
                   document_number(row, "updatedAt") + SAME_CALL_MS >= (double)last_call_ms;
    }
    return false;
}

/*
 * One word: "none" if it has not called yet, "stopped", "lost", "silent" if it has not called for
 * longer than usual, "starting" if it has not reported its status yet, else that status.
 */
static const char *describe_presence(
    struct sandbox *sandbox, int64_t last_call_ms, int64_t silent_ms)
{
    const char *pid_file = sandbox->options.pid_file;
    const struct document *account = sandbox_account(sandbox);
    if (last_call_ms == 0 || account == NULL)
        return "none";
    if (has_stopped(sandbox, last_call_ms))
        return "stopped";
    if (silent_ms >= LOST_AFTER_MS || (pid_file != NULL && !is_process(read_pid(pid_file))))
        return "lost";
    if (silent_ms >= SILENT_AFTER_MS)
        return "silent";
    return document_is(account, "runtimeStatus", "offline")
               ? "starting"
               : document_string(account, "runtimeStatus");
}

void control_runtime(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    int64_t last_call_ms = counts_last_ms(&sandbox->counts);
    int64_t silent_ms = clock_wall_ms() - last_call_ms;
    if (silent_ms < 0)
        silent_ms = 0;
    const char *pid_file = sandbox->options.pid_file;
    json_t *answer = memory_json(json_pack("{s:s, s:s?, s:b}", "presence",
        describe_presence(sandbox, last_call_ms, silent_ms), "url", sandbox->settings.runtime_url,
        "killable", (int)(pid_file != NULL && is_process(read_pid(pid_file)))));
    if (last_call_ms != 0)
        json_object_set_new(answer, "silent_ms", memory_json(json_integer(silent_ms)));
    answer_json(exchange, 200, answer);
}

void control_kill_runtime(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    (void)body;
    const char *pid_file = sandbox->options.pid_file;
    pid_t pid = pid_file == NULL ? 0 : read_pid(pid_file);
    if (!is_process(pid)) {
        answer_refusal(exchange, 400, "NotSupervised",
            "this sandbox does not know the runtime's process (--runtime-pid-file)");
        return;
    }
    if (unlink(pid_file) != 0 || kill(pid, SIGKILL) != 0) {
        answer_refusal(
            exchange, 400, "NotKilled", "cannot kill process %ld: %s", (long)pid, strerror(errno));
        return;
    }
    answer_json(exchange, 200, json_pack("{s:I}", "killed", (json_int_t)pid));
}

/*
 * Detects the installed OpenClaw version for status reports, without delaying startup: the command
 * can take seconds (it starts Node.js), so a thread of its own, mc-version, runs it once and exits.
 * With OPENCLAW_VERSION set there is neither command nor thread. Where no such program is
 * installed, since the gateway runs elsewhere, the release that the gateway itself told stands in.
 *
 * The text is written before the atomic flag is set and never changes afterwards, so readers need
 * no lock. Shutdown kills a running command through stop_fd; the version then stays unknown rather
 * than being reported as undetectable.
 */
#include "gateway/version_probe.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/sync.h"
#include "base/text.h"

enum { COMMAND_LIMIT_MS = 10000, OUTPUT_BYTES = 4096 };

struct version_probe {
    /* Written once before known is set, and read only after that. */
    char version[VERSION_PROBE_BYTES];
    atomic_bool known;

    bool has_thread;
    pthread_t thread;
    int stop_fd; /* an eventfd, -1 without a thread */
};

static bool is_word_byte(char byte)
{
    return text_is_digit(byte) || text_is_letter(byte) || byte == '_';
}

/* The length of a suffix such as "-1" or "+build.7" at text; 0 when there is none. */
static size_t suffix_length(const char *text)
{
    if ((text[0] != '-' && text[0] != '+') || !is_word_byte(text[1]))
        return 0;
    size_t length = 1;
    while (is_word_byte(text[length]) ||
           ((text[length] == '.' || text[length] == '-' || text[length] == '+') &&
               is_word_byte(text[length + 1])))
        length++;
    return length;
}

/* The length of the version that starts at text; 0 when there is none. */
static size_t version_length(const char *text)
{
    size_t length = 0;
    unsigned dots = 0;
    while (text_is_digit(text[length]) ||
           (text[length] == '.' && length > 0 && text_is_digit(text[length + 1])))
        dots += text[length++] == '.';
    if (dots == 0 || is_word_byte(text[length]))
        return 0;
    return length + suffix_length(text + length);
}

/* Whether a version may begin after byte, and not inside another word, path or number. */
static bool is_boundary(char byte)
{
    return !is_word_byte(byte) && byte != '.' && byte != '-' && byte != '+';
}

bool version_probe_parse(const char *output, char version[static VERSION_PROBE_BYTES])
{
    char before = ' ';
    for (const char *at = output; *at != '\0'; before = *at++) {
        if (!is_boundary(before))
            continue;
        const char *start = at + (*at == 'v');
        size_t length = version_length(start);
        if (length > 0) {
            size_t kept = length < VERSION_PROBE_BYTES ? length : VERSION_PROBE_BYTES - 1;
            memcpy(version, start, kept);
            version[kept] = '\0';
            return true;
        }
    }
    return false;
}

static bool run_version_command(
    struct version_probe *probe, const char *program, struct error *error)
{
    const char *const argv[] = {program, "--version", NULL};
    char output[OUTPUT_BYTES];
    struct child_exit ended;
    if (child_output(
            argv, COMMAND_LIMIT_MS, probe->stop_fd, output, sizeof output, &ended, error) != 0)
        return false;
    if (version_probe_parse(output, probe->version))
        return true;
    error_set(error, ERROR_INVALID, "%s --version did not print a version", program);
    return false;
}

static void *version_thread(void *argument)
{
    struct version_probe *probe = argument;
    struct error first, second;
    if (!run_version_command(probe, "openclaw", &first) && first.code != ERROR_INTERRUPTED &&
        !run_version_command(probe, "clawdbot", &second) && second.code != ERROR_INTERRUPTED) {
        text_copy(probe->version, sizeof probe->version, VERSION_PROBE_UNKNOWN);
        log_info("Version",
            "OpenClaw is not installed here (%s; %s); its version is the gateway's, if that tells "
            "it, "
            "or OPENCLAW_VERSION",
            first.text, second.text);
    }
    /* Empty only after an interruption by shutdown; then it stays unknown. */
    if (probe->version[0] != '\0')
        atomic_store_explicit(&probe->known, true, memory_order_release);
    return NULL;
}

static int start_version_thread(struct version_probe *probe, struct error *error)
{
    probe->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (probe->stop_fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot start the version detection");
    int result = thread_start(&probe->thread, "mc-version", version_thread, probe, error);
    if (result != 0) {
        close(probe->stop_fd);
        return result;
    }
    probe->has_thread = true;
    return 0;
}

int version_probe_start(struct version_probe **probe, const char *configured, struct error *error)
{
    struct version_probe *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the version detection");
    created->stop_fd = -1;
    if (configured != NULL && configured[0] != '\0') {
        text_copy(created->version, sizeof created->version, configured);
        atomic_init(&created->known, true);
    } else {
        int result = start_version_thread(created, error);
        if (result != 0) {
            free(created);
            return result;
        }
    }
    *probe = created;
    return 0;
}

bool version_probe_get(const struct version_probe *probe, char *buffer, size_t bytes)
{
    if (!atomic_load_explicit(&probe->known, memory_order_acquire))
        return false;
    text_copy(buffer, bytes, probe->version);
    return true;
}

bool version_probe_get_any(
    const struct version_probe *probe, struct gateway_roster *roster, char *buffer, size_t bytes)
{
    if (!version_probe_get(probe, buffer, bytes))
        return false;
    if (roster == NULL || strcmp(buffer, VERSION_PROBE_UNKNOWN) != 0)
        return true;
    struct gateway_release release = gateway_roster_release(roster);
    if (release.version[0] != '\0')
        text_copy(buffer, bytes, release.version);
    return true;
}

void version_probe_stop(struct version_probe *probe)
{
    if (probe == NULL)
        return;
    if (probe->has_thread) {
        eventfd_write(probe->stop_fd, 1);
        thread_join(probe->thread);
        close(probe->stop_fd);
    }
    free(probe);
}

/*
 * A session key can be guessed, as it is made of names and ids that agents see. So what our prompt
 * tells an agent is the key with a tag behind it, which only this program can make:
 *
 *   tag = base32(first 16 bytes of HMAC-SHA256(secret, session key on the wire | NUL | agent's id))
 *
 * Nothing is kept for a tag. It is right as long as the secret is the same, across restarts, and
 * for that session of that agent only: the id keeps an agent that takes over another's slug from
 * taking over its tags. Replacing the key file ends all tags at once.
 *
 * The secret is STATE_DIR/agent-api.key: 32 random bytes, readable by us alone, written atomically.
 * A file that is not like that is refused rather than replaced, since a new secret would silently
 * shut out every agent that works; only where no file can be written does the secret live in
 * memory, and agents are then shut out by the next restart until their next run tells them a new
 * tag.
 *
 * The secret is constant after capability_create, so any thread may use it. A tag is compared in
 * constant time.
 */
#include "agent_tools/capability.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

enum {
    SECRET_BYTES = 32,
    DIGEST_BYTES = 16, /* of the HMAC, as much as 26 letters hold */
};

static const char component[] = "AgentApi";
static const char key_file[] = "agent-api.key";

struct capability {
    unsigned char secret[SECRET_BYTES];
};

/* Completes a sentence about the file; NULL when it is as we write it. */
static const char *find_key_file_fault(const struct stat *status)
{
    if (!S_ISREG(status->st_mode))
        return "is not a regular file";
    if (status->st_uid != geteuid())
        return "belongs to another user";
    if ((status->st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return "can be read by others";
    if (status->st_size != SECRET_BYTES)
        return "does not have 32 bytes";
    return NULL;
}

static int refuse_key_file(const char *state_dir, const char *fault, struct error *error)
{
    return error_set(error, ERROR_INVALID,
        "the key of the agents' API, %s/%s, %s; remove it to have a new one made, which ends the "
        "access of agents until their next run, or restore it (32 bytes, mode 600, owned by the "
        "runtime's user)",
        state_dir, key_file, fault);
}

/* As refuse_key_file, unless the system refuses what may be right later. */
static int refuse_key_access(const char *state_dir, int reason, struct error *error)
{
    if (error_code_of_path(reason) == ERROR_INVALID)
        return refuse_key_file(
            state_dir, reason == ELOOP ? "is a symbolic link" : "cannot be opened", error);
    return error_set_errno(error, ERROR_SYSTEM, reason,
        "cannot read the key of the agents' API, %s/%s", state_dir, key_file);
}

static int read_key_file(
    struct capability *capability, const char *state_dir, int fd, struct error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return refuse_key_access(state_dir, errno, error);
    const char *fault = find_key_file_fault(&status);
    ssize_t got = fault == NULL ? read(fd, capability->secret, SECRET_BYTES) : 0;
    if (got < 0)
        return refuse_key_access(state_dir, errno, error);
    if (fault == NULL && got != SECRET_BYTES)
        fault = "cannot be read";
    return fault == NULL ? 0 : refuse_key_file(state_dir, fault, error);
}

static int make_secret(struct capability *capability, struct error *error)
{
    ssize_t got = getrandom(capability->secret, SECRET_BYTES, 0);
    if (got == SECRET_BYTES)
        return 0;
    return error_set_errno(error, ERROR_SYSTEM, got < 0 ? errno : EIO,
        "no random numbers for the key of the agents' API");
}

/* Without a file the secret serves until the end of the process. */
static void save_secret(const struct capability *capability, const char *state_dir, int dir_fd)
{
    struct error error;
    /* What an interrupted write left could have another mode, which would stay. */
    unlinkat(dir_fd, "agent-api.key" FILE_REPLACE_SUFFIX, 0);
    if (file_replace(
            dir_fd, key_file, (const char *)capability->secret, SECRET_BYTES, true, &error) != 0)
        log_warn(component,
            "cannot keep the key of the agents' API in STATE_DIR %s: %s; what agents were told to "
            "use it with is good until the next restart only",
            state_dir, error.text);
}

static int load_secret(
    struct capability *capability, const char *state_dir, int dir_fd, struct error *error)
{
    int fd = openat(dir_fd, key_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        int result = make_secret(capability, error);
        if (result == 0)
            save_secret(capability, state_dir, dir_fd);
        return result;
    }
    if (fd < 0)
        return refuse_key_access(state_dir, errno, error);
    int result = read_key_file(capability, state_dir, fd, error);
    close(fd);
    return result;
}

static int fill_secret(struct capability *capability, const char *state_dir, struct error *error)
{
    if (state_dir == NULL)
        return make_secret(capability, error);
    int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) {
        log_warn(component,
            "cannot open STATE_DIR %s: the key of the agents' API is good until the next restart "
            "only",
            state_dir);
        return make_secret(capability, error);
    }
    int result = load_secret(capability, state_dir, dir_fd, error);
    close(dir_fd);
    return result;
}

int capability_create(struct capability **capability, const char *state_dir, struct error *error)
{
    struct capability *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the key of the agents' API");
    int result = fill_secret(created, state_dir, error);
    if (result != 0) {
        capability_destroy(created);
        return result;
    }
    *capability = created;
    return 0;
}

void capability_destroy(struct capability *capability)
{
    if (capability == NULL)
        return;
    OPENSSL_cleanse(capability, sizeof *capability);
    free(capability);
}

/* RFC 4648 in lower case and without padding; the last letter holds what is left of the bits. */
static void encode_base32(const unsigned char *bytes, char *letters)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    unsigned bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        bits = (bits << 8 | bytes[i]) & 0xFFFF;
        for (held += 8; held >= 5; held -= 5)
            *letters++ = alphabet[bits >> (held - 5) & 31];
    }
    if (held > 0)
        *letters++ = alphabet[bits << (5 - held) & 31];
    *letters = '\0';
}

void capability_tag(const struct capability *capability, const char *session_key,
    const char *agent_id, char tag[static CAPABILITY_TAG_BYTES])
{
    struct text message = {0};
    unsigned char digest[EVP_MAX_MD_SIZE];
    tag[0] = '\0';
    /* The NUL between them, which neither can hold, keeps two pairs from being one message. */
    text_append_bytes(&message, session_key, strlen(session_key) + 1);
    text_append(&message, agent_id);
    if (!message.failed &&
        HMAC(EVP_sha256(), capability->secret, SECRET_BYTES, (const unsigned char *)message.data,
            message.length_bytes, digest, NULL) != NULL)
        encode_base32(digest, tag);
    text_fini(&message);
}

bool capability_check(const struct capability *capability, const char *session_key,
    const char *agent_id, const char *tag)
{
    char right[CAPABILITY_TAG_BYTES] = {0};
    char given[CAPABILITY_TAG_BYTES] = {0};
    capability_tag(capability, session_key, agent_id, right);
    size_t given_bytes = strnlen(tag, CAPABILITY_TAG_BYTES);
    memcpy(given, tag, given_bytes < sizeof given ? given_bytes : sizeof given - 1);
    bool is_same = CRYPTO_memcmp(right, given, sizeof right - 1) == 0;
    OPENSSL_cleanse(right, sizeof right);
    return is_same && given_bytes == sizeof right - 1;
}

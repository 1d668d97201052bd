/* The tags by which an agent proves which session it is in when it uses the HTTP API. */
#ifndef AGENT_TOOLS_CAPABILITY_H
#define AGENT_TOOLS_CAPABILITY_H

#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

struct capability;

enum { CAPABILITY_TAG_BYTES = 27 }; /* 26 letters and the NUL */

/*
 * Reads the key that tags are made with from STATE_DIR/agent-api.key, or makes one (mode 0600).
 * Where that cannot be written the key lives in memory only, which is logged. state_dir NULL: in
 * memory. The caller destroys it. ERROR_NO_MEMORY; ERROR_SYSTEM without random numbers
 * or when the system refuses to read the file;
 * ERROR_INVALID, with a text that tells what to do, for a file that is damaged, not ours alone or a
 * symbolic link. Blocks for the disk.
 */
int capability_create(struct capability **capability, const char *state_dir, struct error *error);
void capability_destroy(struct capability *capability);

/*
 * The tag of a session on the wire and the agent whose it is: the first 16 bytes of HMAC-SHA256
 * over both, in base32 (a-z, 2-7). A secret: redact() knows it by its form, "~" and 26 of these
 * letters. "", which no check accepts, when out of memory. Any thread.
 */
void capability_tag(const struct capability *capability, const char *session_key,
    const char *agent_id, char tag[static CAPABILITY_TAG_BYTES]);

/* Whether tag is the one of that session and agent; takes the same time whatever it is. */
bool capability_check(const struct capability *capability, const char *session_key,
    const char *agent_id, const char *tag);

#endif

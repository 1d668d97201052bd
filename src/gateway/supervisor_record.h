/*
 * STATE_DIR/gateway.pid: which process is the gateway that we started, so that a runtime that was
 * killed leaves none behind for good. A process is known by its number, the time it began, and the
 * start of the machine; its number alone may be somebody else's by now.
 */
#ifndef GATEWAY_SUPERVISOR_RECORD_H
#define GATEWAY_SUPERVISOR_RECORD_H

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/process.h"
#include "config/url.h"

enum { GATEWAY_RECORD_BOOT_BYTES = 64 };

struct gateway_record {
    pid_t pid; /* of the process and of its group */
    pid_t session;
    int64_t start_ticks;
    char boot_id[GATEWAY_RECORD_BOOT_BYTES];
};

/* Fills *record for a running child of ours. Returns 0 or ERROR_SYSTEM. */
int gateway_record_make(struct gateway_record *record, pid_t pid, struct error *error);

/* Writes the file, whole or not at all, mode 0600. Returns 0 or ERROR_SYSTEM. */
int gateway_record_save(
    const char *state_dir, const struct gateway_record *record, struct error *error);

/*
 * Returns 0, ERROR_CLOSED when there is no file, ERROR_INVALID when it cannot be made out, or
 * ERROR_SYSTEM or ERROR_NO_MEMORY when it cannot be read now.
 */
int gateway_record_load(const char *state_dir, struct gateway_record *record, struct error *error);

/* Removes the file, if it is there. */
void gateway_record_remove(const char *state_dir);

/*
 * Whether the recorded process, or one of its group that outlived it, still runs. A process that
 * merely got the number is none of them: its time of beginning differs, and while somebody else has
 * the number no group of ours can. A group without its leader is known by its session, too.
 */
enum process_presence gateway_record_check(const struct gateway_record *record);

/*
 * Ends the recorded process with its group, if gateway_record_check finds it: SIGTERM, and SIGKILL
 * after limit_ms. Blocks up to a second longer than that, but no longer than until stop_fd (-1:
 * none) is readable, and sends no SIGKILL then. Returns false unless nothing of it is known to run.
 */
bool gateway_record_end(const struct gateway_record *record, int64_t limit_ms, int stop_fd);

/* Whether somebody accepts connections at an address: short tries, one after the other. */

/* Embedded in its owner and used by one thread at a time; freed with tcp_probe_fini. */
struct tcp_probe {
    struct addrinfo *addresses;
    const struct addrinfo *next; /* the one to try next */
    int fd;                      /* a connection that is being made, else -1 */
    int64_t due_ms;              /* when that is given up, or when the next try begins; monotonic */
    int64_t wait_ms;             /* between two tries */
};

/*
 * Prepares tries at the host, an IP address or localhost, and port of url; a resolver is never
 * asked. Returns 0, ERROR_INVALID for another host, or ERROR_NO_MEMORY; then there is nothing to
 * free.
 */
int tcp_probe_init(struct tcp_probe *probe, const struct url *url, struct error *error);
void tcp_probe_fini(struct tcp_probe *probe);

/* Forgets earlier tries; the first new one is due at once. */
void tcp_probe_restart(struct tcp_probe *probe);

/*
 * Goes on as far as it can without blocking. Returns true when a connection was accepted; it is
 * closed again. Else to be called again when fd, unless it is -1, can be written to, and at due_ms.
 */
bool tcp_probe_step(struct tcp_probe *probe, int64_t now_ms);

#endif

/* What the runtime is made of: the structure that all parts live in, and each part's start and
 * stop. */
#ifndef PARTS_PARTS_H
#define PARTS_PARTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/stats.h"
#include "config/config.h"
#include "config/version_probe.h"
#include "loops/agent_sync.h"
#include "loops/delivery_poller.h"
#include "loops/gateway_prober.h"
#include "loops/heartbeat.h"
#include "loops/reporter.h"
#include "loops/roll_call.h"
#include "queue/send_queue.h"
#include "queue/spool.h"
#include "queue/state_folder.h"
#include "queue/worker_pool.h"
#include "remote/ca_store.h"
#include "remote/convex.h"
#include "remote/gateway.h"
#include "remote/gateway_gate.h"
#include "remote/gateway_process.h"
#include "remote/gateway_roster.h"
#include "serve/http_server.h"
#include "serve/routes.h"
#include "work/deliver.h"
#include "work/gatekeeper.h"
#include "work/loop_guard.h"
#include "work/spooling.h"
#include "work/wake.h"
#include "work/wake_schedule.h"

struct runtime {
    const struct config *config;
    size_t started; /* parts of the list in runtime.c */
    struct stats stats;
    struct state_folder state_folder;
    struct ca_store *store;
    struct convex *convex;
    struct gateway *gateway;
    struct gateway_gate *gate;
    struct gateway_roster *roster;
    struct gateway_prober *prober;
    struct gatekeeper keeper;
    struct gateway_process *gateway_process; /* NULL: the gateway is not our child */
    struct send_queue *queue;
    struct spool *spool;
    struct spooling spooling;
    struct version_probe *version;
    struct roll_call loops;
    struct routes routes;
    struct http_server *server;
    struct delivery_poller *poller;
    struct loop_guard *guard;
    struct deliver deliver;
    struct worker_pool *workers;
    struct wake_schedule *schedule;
    struct heartbeat *heartbeat;
    struct wake wake;
    struct agent_sync *agents;
    struct reporter *reporter;
    int stop_fd;               /* readable once somebody asks for the stop */
    bool complete;             /* every part has been started */
    int64_t deadline_ms;       /* of the stop, for what still runs; monotonic */
    atomic_bool abort_control; /* ends the control threads' requests, and what precedes a send */
    atomic_bool abort_workers; /* ends all others */
};

/*
 * Both are called by one thread, the one that runs runtime_start and runtime_stop. start leaves
 * nothing behind when it fails, and says why in *error; stop is called only after a start that
 * succeeded, may block until runtime->deadline_ms plus a second, and cannot fail.
 */
struct part {
    int (*start)(struct runtime *runtime, struct error *error);
    void (*stop)(struct runtime *runtime);
};

/* foundation.c: what everything else stands on. */
extern const struct part part_stats;
extern const struct part part_state_folder;
extern const struct part part_library;      /* libcurl */
extern const struct part part_stop_request; /* stop_fd */
extern const struct part part_store;
extern const struct part part_queue;
extern const struct part part_spool; /* fills the queue with what an earlier process left */
extern const struct part part_version;

/* remotes.c: the backend and the gateway, and whether the latter is there. */
extern const struct part part_convex;
extern const struct part part_farewell; /* its stop tells the backend that we are offline */
extern const struct part part_gateway;
extern const struct part part_gate;
extern const struct part part_roster;
extern const struct part part_gateway_process;
extern const struct part part_gateway_child; /* the process itself */
extern const struct part part_prober;
extern const struct part part_prober_thread;

/*
 * control.c: the control threads. Each is made before any of them runs, as they know one another,
 * and its thread is a part of its own.
 */
extern const struct part part_schedule;
extern const struct part part_poller;
extern const struct part part_poller_thread;
extern const struct part part_heartbeat;
extern const struct part part_heartbeat_thread;
extern const struct part part_agents;
extern const struct part part_agents_thread;
extern const struct part part_reporter;
extern const struct part part_reporter_thread;

/*
 * sending.c: the workers, and what they do with an entry. The server, which shows what they do, is
 * made after them and lives longer than their threads.
 */
extern const struct part part_guard;
extern const struct part part_workers;
extern const struct part part_worker_threads;

/* serving.c: the HTTP server. */
extern const struct part part_server;

#endif

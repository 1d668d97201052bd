"""Waking a thousand agents of version 1, each with tasks of its own: what it asks of the backend."""

import collections

from harness import ACCOUNT, SERVICE_TOKEN, Harness, MeasurementError
from report import Figure

AGENTS = 1000
INTERVAL_MIN = 1  # so that the first wake-ups are spread over 24 s
LATENCY_MS = 500  # of an agent
READ_MS = 100     # of a read, where the backend is slow
READS = ("getOrchestratorAgentId", "listAssignedTasksForAgent", "loadTaskDetailsForAgentTool")
WORKERS = 64


def board(harness):
    agents = [{"slug": f"worker{i + 1}", "heartbeatInterval": INTERVAL_MIN} for i in range(AGENTS)]
    harness.request("POST", "/sandbox/seed", {
        "agents": agents,
        "tasks": [{"title": f"Task of {agent['slug']}", "status": "in_progress",
                   "assign": [agent["slug"]]} for agent in agents]})
    for row in harness.request("GET", "/sandbox/state?tables=notifications")["notifications"]:
        harness.request("POST", "/api/action", {
            "path": "service/actions:markNotificationDelivered", "format": "convex_encoded_json",
            "args": [{"accountId": ACCOUNT, "serviceToken": SERVICE_TOKEN,
                      "notificationId": row["_id"]}]})


def most_at_once(calls):
    """How many of the calls were under way at the same time, at most."""
    moments = sorted([(call["begun_us"], 1) for call in calls] +
                     [(call["ended_us"], -1) for call in calls])
    under_way = most = 0
    for _, change in moments:
        under_way += change
        most = max(most, under_way)
    return most


def wake_all(read_ms):
    """The calls of the backend that one wake-up of each agent makes, and its processor time."""
    with Harness(LATENCY_MS, list_agents=True, backend="v1") as harness:
        board(harness)
        if read_ms:
            harness.request("POST", "/sandbox/faults", {"backend": [
                {"action": action, "behaviour": "delay", "latency_ms": read_ms}
                for action in READS]})
        runtime = harness.start_runtime(workers=WORKERS, DELIVERY_INTERVAL=86400000,
                                        HEALTH_CHECK_INTERVAL=30000)
        began_s = runtime.cpu_s()
        harness.wait(action="updateAgentHeartbeat", calls=AGENTS)
        cpu_s = runtime.cpu_s() - began_s
        calls = harness.request("GET", "/sandbox/calls")["calls"]
        runtime.stop()
    mine = [call for call in calls if call["function"] in (*READS, "updateAgentHeartbeat")]
    if len(mine) < 4 * AGENTS * 0.98:
        raise MeasurementError(f"{len(mine)} calls for {AGENTS} wake-ups")
    return mine, cpu_s


def wakes(runs):
    fast = [wake_all(0) for _ in range(runs)]
    slow = [wake_all(READ_MS) for _ in range(runs)]
    seconds = [collections.Counter(call["begun_us"] // 1000000 for call in calls)
               for calls, _ in fast]
    spans = [max(call["ended_us"] for call in calls) - min(call["begun_us"] for call in calls)
             for calls, _ in fast]
    slow_reads = [[call for call in calls if call["function"] in READS] for calls, _ in slow]
    words = f"{AGENTS:,} agents woken within 24 s, v1"
    return [Figure("wakes", f"{words}: calls of the backend for each", "",
                   [len(calls) / AGENTS for calls, _ in fast], at_most=4.1),
            Figure("wakes", f"{words}: calls of the backend per second", "",
                   [len(calls) / span * 1e6 for (calls, _), span in zip(fast, spans)]),
            Figure("wakes", f"{words}: the same in the busiest second", "",
                   [max(counts.values()) for counts in seconds]),
            Figure("wakes", f"{words}: CPU per 1,000", "s", [cpu_s for _, cpu_s in fast]),
            Figure("wakes", f"{words}, {READ_MS} ms for each read, {WORKERS} workers: "
                   "most reads at a time", "",
                   [most_at_once(calls) for calls in slow_reads], at_most=8)]

"""Startup time, and resource usage when idle."""

import os
import socket
import time

from report import Figure
from harness import KIB, Harness, free_port, now_us, wait_until

IDLE_S = float(os.environ.get("BENCH_IDLE_S", "60"))
IDLE_AGENTS = (1, 20, 1000)


def answers_200(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return sock.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def start_once():
    """Milliseconds from exec to the first poll, and to a 200 on /health."""
    with Harness() as harness:
        port = free_port()
        runtime = harness.start_runtime(health_port=port)
        while not answers_200(port):
            time.sleep(0.0002)
        health_us = now_us()
        answer = harness.wait(action="listUndeliveredNotifications", calls=1)
        poll_us = answer["backend"]["listUndeliveredNotifications"]["firstUs"]
        runtime.stop()
    return ((poll_us - runtime.started_us) / 1000, (health_us - runtime.started_us) / 1000)


def start(runs):
    results = [start_once() for _ in range(runs)]
    return [Figure("start", "startup to first poll", "ms",
                   [poll for poll, _ in results], at_most=20),
            Figure("start", "startup to 200 on /health", "ms", [health for _, health in results])]


def start_idling(agents):
    """A harness whose agents get their first heartbeats."""
    harness = Harness(list_agents=True)
    names = [{"slug": f"worker{i + 1}"} for i in range(agents)]
    harness.request("POST", "/sandbox/seed", {"agents": names})
    harness.start_runtime()
    return harness


def idle_figures(agents, harnesses):
    """The runtimes' CPU usage while idle, and their memory at the end."""
    at_most = {"cpu": 0.05, "resident": 12} if agents == 20 else {}
    words = f"idle, {agents:,} agent" + ("s" if agents > 1 else "")
    runtimes = [harness.runtime for harness in harnesses]
    return [Figure("idle", f"{words}: CPU", "% core",
                   [100 * (runtime.cpu_s() - runtime.idle_since[0]) /
                    (time.monotonic() - runtime.idle_since[1]) for runtime in runtimes],
                   at_most=at_most.get("cpu")),
            Figure("idle", f"{words}: RSS", "MiB",
                   [runtime.resident_kib() / KIB for runtime in runtimes],
                   at_most=at_most.get("resident")),
            Figure("idle", f"{words}: anonymous memory", "MiB",
                   [runtime.anonymous_kib() / KIB for runtime in runtimes])]


def idle(runs):
    """
    All runs at the same time, since the first heartbeats of many agents take two minutes and the
    measurement another; idle programs do not disturb each other.
    """
    harnesses = {agents: [start_idling(agents) for _ in range(runs)] for agents in IDLE_AGENTS}
    all_harnesses = [harness for group in harnesses.values() for harness in group]
    try:
        for agents, group in harnesses.items():
            for harness in group:
                harness.wait(limit_s=300, requests=agents)
        wait_until("the end of the heartbeats", 20, lambda: all(
            harness.request("GET", "/sandbox/stats")["gateway"]["in_flight"] == 0
            for harness in all_harnesses))
        time.sleep(3)  # lets write-backs settle before the measurement
        for harness in all_harnesses:
            harness.runtime.idle_since = (harness.runtime.cpu_s(), time.monotonic())
        time.sleep(IDLE_S)  # the time that is measured
        figures = []
        for agents, group in harnesses.items():
            figures += idle_figures(agents, group)
        for harness in all_harnesses:
            harness.runtime.stop()
    finally:
        for harness in all_harnesses:
            harness.__exit__()
    return figures

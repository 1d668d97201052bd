"""Startup time, and resource usage when idle."""

import os
import socket
import time

from report import Figure
from world import KIB, World, free_port, now_us, wait_until

IDLE_S = float(os.environ.get("BENCH_IDLE_S", "60"))
IDLE_AGENTS = (1, 20, 1000)


def answers_200(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
            line.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return line.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def start_once():
    """Milliseconds from before the program is executed to its first poll, and to a good /health."""
    with World() as world:
        port = free_port()
        runtime = world.start_runtime(health_port=port)
        while not answers_200(port):
            time.sleep(0.0002)
        health_us = now_us()
        answer = world.wait(action="listUndeliveredNotifications", calls=1)
        poll_us = answer["backend"]["listUndeliveredNotifications"]["firstUs"]
        runtime.stop()
    return ((poll_us - runtime.started_us) / 1000, (health_us - runtime.started_us) / 1000)


def start(runs):
    results = [start_once() for _ in range(runs)]
    return [Figure("start", "startup to first poll", "ms",
                   [poll for poll, _ in results], at_most=20),
            Figure("start", "startup to 200 on /health", "ms", [health for _, health in results])]


def start_idling(agents):
    """A world whose agents have all been woken a first time, or are about to be."""
    world = World(show_agents=True)
    names = [{"slug": f"worker{i + 1}"} for i in range(agents)]
    world.ask("POST", "/sandbox/seed", {"agents": names})
    world.start_runtime()
    return world


def idle_figures(agents, worlds):
    """The runtimes' use of the processor in the time, and their memory at its end."""
    at_most = {"cpu": 0.05, "resident": 12} if agents == 20 else {}
    words = f"idle, {agents:,} agent" + ("s" if agents > 1 else "")
    runtimes = [world.runtime for world in worlds]
    return [Figure("idle", f"{words}: CPU", "% core",
                   [100 * (runtime.cpu_s() - runtime.idle_from[0]) /
                    (time.monotonic() - runtime.idle_from[1]) for runtime in runtimes],
                   at_most=at_most.get("cpu")),
            Figure("idle", f"{words}: RSS", "MiB",
                   [runtime.resident_kib() / KIB for runtime in runtimes],
                   at_most=at_most.get("resident")),
            Figure("idle", f"{words}: anonymous memory", "MiB",
                   [runtime.anonymous_kib() / KIB for runtime in runtimes])]


def idle(runs):
    """
    All runs at once, as the first wake-ups of many agents take two minutes and the time itself
    takes another: idle programs do not disturb each other.
    """
    worlds = {agents: [start_idling(agents) for _ in range(runs)] for agents in IDLE_AGENTS}
    everyone = [world for several in worlds.values() for world in several]
    try:
        for agents, several in worlds.items():
            for world in several:
                world.wait(limit_s=300, requests=agents)
        wait_until("the end of the wake-ups", 20, lambda: all(
            world.ask("GET", "/sandbox/stats")["gateway"]["in_flight"] == 0 for world in everyone))
        time.sleep(3)
        for world in everyone:
            world.runtime.idle_from = (world.runtime.cpu_s(), time.monotonic())
        time.sleep(IDLE_S)
        figures = []
        for agents, several in worlds.items():
            figures += idle_figures(agents, several)
        for world in everyone:
            world.runtime.stop()
    finally:
        for world in everyone:
            world.__exit__()
    return figures

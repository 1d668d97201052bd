"""Delivery times and CPU usage."""

import dataclasses
import math
import statistics

import fit
from report import Figure
from world import KIB, World, now_us

SINGLES = 300
SINGLE_LATENCY_MS = 10


@dataclasses.dataclass
class Load:
    """N notifications to S agents of some latency; exponential ones have it as their mean."""

    notifications: int
    agents: int
    latency_ms: float
    workers: int
    exponential: bool = False

    def words(self):
        latency = f"{self.latency_ms:g} ms"
        if self.exponential:
            latency = f"exponential {self.latency_ms / 1000:g} s"
        return (f"{self.notifications:,} to {self.agents} agents, {latency} each, "
                f"{self.workers} workers")

    def ideal_ms(self, world):
        """What the agents alone take: the longest lane's, or that of all by the workers there are."""
        if not self.exponential:
            turns = math.ceil(self.agents / self.workers)
            return math.ceil(self.notifications / self.agents) * turns * self.latency_ms
        lanes = {}
        for run in world.ask("GET", "/sandbox/gateway")["requests"]:
            took_ms = (run["ended_us"] - run["begun_us"]) / 1000
            lanes[run["agent"]] = lanes.get(run["agent"], 0) + took_ms
        return max(lanes.values())


@dataclasses.dataclass
class Result:
    elapsed_ms: float
    ideal_ms: float
    cpu_s: float
    peak_mib: float
    listed: float  # times that a notification was listed, on average


def prepare(world, load, reply_bytes=0):
    rule = {}
    if load.exponential:
        rule["latency_exponential_ms"] = load.latency_ms
    if reply_bytes > 0:
        rule["text"] = "All is well. " * (reply_bytes // 13)
    if rule:
        world.ask("POST", "/sandbox/faults", {"gateway": [rule]})
    world.load(load.notifications, load.agents)


def deliver(load, secure=None, reply_bytes=0, **settings):
    """
    One run. The notifications stand on the board when the runtime starts, so that no wait for the
    next poll is measured; its start is.
    """
    with World(0 if load.exponential else load.latency_ms, secure=secure) as world:
        prepare(world, load, reply_bytes)
        runtime = world.start_runtime(load.workers, **settings)
        answer = world.wait(delivered=load.notifications)
        result = Result((answer["now_us"] - runtime.started_us) / 1000, load.ideal_ms(world),
                        runtime.cpu_s(), runtime.peak_kib() / KIB,
                        answer["listed"] / load.notifications)
        runtime.stop()
    return result


def elapsed(scenario, load, results, at_most=None, words=""):
    ideals = [result.ideal_ms / 1000 for result in results]
    ideal = statistics.median(ideals)
    return Figure(scenario, load.words() + words, "s", [r.elapsed_ms / 1000 for r in results],
                  ideals=ideals if ideal > 0 else None,
                  at_most=at_most * ideal if at_most else None)


LOADS = (
    (Load(1000, 20, 50, 20), 1.10),
    (Load(1000, 100, 500, 100), 1.05),
    (Load(5000, 50, 0, 10), None),
    (Load(200, 20, 2000, 20, exponential=True), None),
)


def deliveries(runs):
    figures = []
    for load, at_most in LOADS:
        results = [deliver(load) for _ in range(runs)]
        figures.append(elapsed("deliveries", load, results, at_most))
        if load.latency_ms == 0:
            rates = [1000 * load.notifications / result.elapsed_ms for result in results]
            figures.append(Figure("deliveries", "throughput", "deliveries/s", rates,
                                  at_least=1000))
            figures.append(Figure("deliveries", "CPU per 1,000", "s",
                                  [r.cpu_s * 1000 / load.notifications for r in results]))
        figures.append(Figure("deliveries", "times each notification was listed", "",
                              [result.listed for result in results]))
    return figures


def added_us(timing):
    """
    What one delivery took between the answer that listed it and the arrival of its mark, without
    the time in which backend or agent had the word.
    """
    return (timing["context_us"] - timing["listed_us"] +
            timing["asked_us"] - timing["context_answered_us"] +
            timing["reply_us"] - timing["answered_us"] +
            timing["mark_us"] - timing["reply_answered_us"])


def single_deliveries(secure=None):
    """Milliseconds added to each of a stream of deliveries, of which one is under way at a time."""
    with World(SINGLE_LATENCY_MS, secure=secure) as world:
        world.ask("POST", "/sandbox/settings", {"timings": True})
        runtime = world.start_runtime(DELIVERY_INTERVAL=10)
        world.settle()
        for done in range(SINGLES):
            world.load(1, 1)
            world.wait(delivered=done + 1)
        timings = world.timings()
        runtime.stop()
    return [added_us(timing) / 1000 for timing in timings]


def added(runs, scenario="added", words="", secure=None):
    results = [single_deliveries(secure) for _ in range(runs)]
    targets = {} if secure else {"p50": 3, "p99": 15}
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return [Figure(scenario, f"overhead per delivery{words}, {name}", "ms",
                   [fit.quantile(result, share) for result in results], at_most=targets.get(name))
            for name, share in shares.items()]


def processor_once(load, secure=None):
    """Seconds of the processor, and of those in the kernel, for the load alone, not the start."""
    with World(load.latency_ms, secure=secure) as world:
        runtime = world.start_runtime(load.workers)
        world.settle()
        before_s, kernel_before_s = runtime.cpu_s(), runtime.kernel_s()
        world.load(load.notifications, load.agents)
        world.wait(delivered=load.notifications)
        used_s, kernel_s = runtime.cpu_s() - before_s, runtime.kernel_s() - kernel_before_s
        runtime.stop()
    return used_s, kernel_s


def processor(runs, scenario="processor", words="", secure=None):
    load = Load(1000, 20, 50, 20)
    results = [processor_once(load, secure) for _ in range(runs)]
    return [Figure(scenario, f"CPU per 1,000 deliveries{words}", "s",
                   [used_s for used_s, _ in results], at_most=None if secure else 0.5),
            Figure(scenario, f"of which in the kernel{words}", "s",
                   [kernel_s for _, kernel_s in results])]


def floor_once(load, means):
    with World(load.latency_ms) as world:
        world.load(load.notifications, load.agents)
        return world.run_floor(means)


def floor(runs):
    """What the load of processor costs a program that does nothing but its exchanges and files."""
    load = Load(1000, 20, 50, 20)
    figures = []
    for means, words in (("sockets", "bare sockets"), ("libcurl", "bare libcurl"),
                         ("libraries", "bare libcurl and Jansson")):
        results = [floor_once(load, means) for _ in range(runs)]
        figures += [Figure("floor", f"CPU per 1,000 deliveries by {words}", "s",
                           [used_s for used_s, _ in results]),
                    Figure("floor", f"of which in the kernel, {words}", "s",
                           [kernel_s for _, kernel_s in results])]
    return figures


def secure(runs):
    """
    The main figures with the backend, then with the gateway as well behind TLS, and the system's
    authorities loaded. The targets are not held against them: the server's share of TLS is done on
    the same cores.
    """
    load, _ = LOADS[0]
    figures = []
    for what, words in (("backend", ", backend over TLS"), ("both", ", both over TLS")):
        results = [deliver(load, secure=what) for _ in range(runs)]
        figures += [elapsed("tls", load, results, words=words),
                    Figure("tls", f"peak memory{words}", "MiB", [r.peak_mib for r in results]),
                    *processor(runs, "tls", words, what), *added(runs, "tls", words, what)]
    return figures


CHAIN = 5


def chain_once():
    """
    Milliseconds from the poll that shows the first agent's notification to the last one's reply.
    """
    names = [f"link{i + 1}" for i in range(CHAIN)]
    with World() as world:
        world.ask("POST", "/sandbox/settings", {"timings": True})
        world.ask("POST", "/sandbox/seed", {"agents": [{"slug": name} for name in names],
                                            "tasks": [{"title": "chain"}]})
        rules = [{"match": {"agent": name}, "text": f"Done. @{follower}, please go on."}
                 for name, follower in zip(names, names[1:])]
        world.ask("POST", "/sandbox/faults", {"gateway": rules})
        runtime = world.start_runtime(DELIVERY_INTERVAL=5000)
        world.settle()
        world.ask("POST", "/sandbox/message",
                  {"task": "chain", "content": f"@{names[0]}, please begin."})
        world.wait(replies=CHAIN, limit_s=120)
        replied = sorted(timing["reply_answered_us"] for timing in world.timings()
                         if "reply_answered_us" in timing)
        listed_us = min(timing["listed_us"] for timing in world.timings())
        runtime.stop()
    return (replied[CHAIN - 1] - listed_us) / 1000


def chain(runs):
    return [Figure("chain", "chain of five agents that mention one another", "ms",
                   [chain_once() for _ in range(runs)], at_most=1000)]

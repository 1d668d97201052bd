"""Delivery times and CPU usage."""

import dataclasses
import math
import statistics

import fit
from report import Figure
from harness import KIB, Harness, now_us

SINGLES = 300
SINGLE_LATENCY_MS = 10


@dataclasses.dataclass
class Load:
    """notifications spread over agents with a fixed latency, or exponential with that mean."""

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

    def ideal_ms(self, harness):
        """The time that the agents alone take: the longest lane, given the number of workers."""
        if not self.exponential:
            turns = math.ceil(self.agents / self.workers)
            return math.ceil(self.notifications / self.agents) * turns * self.latency_ms
        lanes = {}
        for run in harness.request("GET", "/sandbox/gateway")["requests"]:
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


def prepare(harness, load, reply_bytes=0):
    rule = {}
    if load.exponential:
        rule["latency_exponential_ms"] = load.latency_ms
    if reply_bytes > 0:
        rule["text"] = "All is well. " * (reply_bytes // 13)
    if rule:
        harness.request("POST", "/sandbox/faults", {"gateway": [rule]})
    harness.load(load.notifications, load.agents)


def deliver(load, secure=None, reply_bytes=0, **settings):
    """
    One run. The notifications are on the board before the runtime starts, so the result includes
    startup but no wait for a poll.
    """
    with Harness(0 if load.exponential else load.latency_ms, secure=secure) as harness:
        prepare(harness, load, reply_bytes)
        runtime = harness.start_runtime(load.workers, **settings)
        answer = harness.wait(delivered=load.notifications)
        result = Result((answer["now_us"] - runtime.started_us) / 1000, load.ideal_ms(harness),
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
    Our own time in one delivery, from the answer that listed it to the arrival of its mark: the
    times that the backend and the agent took are left out.
    """
    return (timing["context_us"] - timing["listed_us"] +
            timing["asked_us"] - timing["context_answered_us"] +
            timing["reply_us"] - timing["answered_us"] +
            timing["mark_us"] - timing["reply_answered_us"])


def single_deliveries(secure=None):
    """Our own milliseconds in each of a series of deliveries, one in flight at a time."""
    with Harness(SINGLE_LATENCY_MS, secure=secure) as harness:
        harness.request("POST", "/sandbox/settings", {"timings": True})
        runtime = harness.start_runtime(DELIVERY_INTERVAL=10)
        harness.settle()
        for done in range(SINGLES):
            harness.load(1, 1)
            harness.wait(delivered=done + 1)
        timings = harness.timings()
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
    """CPU seconds, total and in the kernel, for the load alone without startup."""
    with Harness(load.latency_ms, secure=secure) as harness:
        runtime = harness.start_runtime(load.workers)
        harness.settle()
        before_s, kernel_before_s = runtime.cpu_s(), runtime.kernel_s()
        harness.load(load.notifications, load.agents)
        harness.wait(delivered=load.notifications)
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


def floor_once(load, variant):
    with Harness(load.latency_ms) as harness:
        harness.load(load.notifications, load.agents)
        return harness.run_floor(variant)


def floor(runs):
    """The load of processor(), by a program that does nothing but the exchanges and files."""
    load = Load(1000, 20, 50, 20)
    figures = []
    for variant, words in (("sockets", "bare sockets"), ("libcurl", "bare libcurl"),
                         ("libraries", "bare libcurl and Jansson")):
        results = [floor_once(load, variant) for _ in range(runs)]
        figures += [Figure("floor", f"CPU per 1,000 deliveries by {words}", "s",
                           [used_s for used_s, _ in results]),
                    Figure("floor", f"of which in the kernel, {words}", "s",
                           [kernel_s for _, kernel_s in results])]
    return figures


def secure(runs):
    """
    The main figures with TLS to the backend, then to the gateway as well, and with the system's CA
    certificates loaded. They have no targets: the server's half of TLS runs on the same cores.
    """
    load, _ = LOADS[0]
    figures = []
    for endpoints, words in (("backend", ", backend over TLS"), ("both", ", both over TLS")):
        results = [deliver(load, secure=endpoints) for _ in range(runs)]
        figures += [elapsed("tls", load, results, words=words),
                    Figure("tls", f"peak memory{words}", "MiB", [r.peak_mib for r in results]),
                    *processor(runs, "tls", words, endpoints),
                    *added(runs, "tls", words, endpoints)]
    return figures


CHAIN = 5


def chain_once():
    """
    Milliseconds from the poll that lists the first agent's notification to the last reply.
    """
    names = [f"link{i + 1}" for i in range(CHAIN)]
    with Harness() as harness:
        harness.request("POST", "/sandbox/settings", {"timings": True})
        harness.request("POST", "/sandbox/seed", {"agents": [{"slug": name} for name in names],
                                            "tasks": [{"title": "chain"}]})
        rules = [{"match": {"agent": name}, "text": f"Done. @{follower}, please go on."}
                 for name, follower in zip(names, names[1:])]
        harness.request("POST", "/sandbox/faults", {"gateway": rules})
        runtime = harness.start_runtime(DELIVERY_INTERVAL=5000)
        harness.settle()
        harness.request("POST", "/sandbox/message",
                  {"task": "chain", "content": f"@{names[0]}, please begin."})
        harness.wait(replies=CHAIN, limit_s=120)
        replied = sorted(timing["reply_answered_us"] for timing in harness.timings()
                         if "reply_answered_us" in timing)
        listed_us = min(timing["listed_us"] for timing in harness.timings())
        runtime.stop()
    return (replied[CHAIN - 1] - listed_us) / 1000


def chain(runs):
    return [Figure("chain", "chain of five agents that mention one another", "ms",
                   [chain_once() for _ in range(runs)], at_most=1000)]

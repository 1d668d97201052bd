"""Delivery times and CPU usage, on both versions of the backend."""

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
    """
    notifications of a type spread over agents, and over tasks (one for each agent unless given),
    with a fixed latency, or exponential with that mean.
    """

    notifications: int
    agents: int
    latency_ms: float
    workers: int
    exponential: bool = False
    backend: str = "v0"
    type: str = "assignment"
    tasks: int = None

    def words(self):
        latency = f"{self.latency_ms:g} ms"
        if self.exponential:
            latency = f"exponential {self.latency_ms / 1000:g} s"
        version = "" if self.backend == "v0" else f", {self.backend}"
        return (f"{self.notifications:,} to {self.agents} agents, {latency} each, "
                f"{self.workers} workers{version}")

    def lanes(self):
        """v1 has a session, and so a lane, for each task of an agent."""
        return max(self.agents, self.tasks or 0) if self.backend == "v1" else self.agents

    def ideal_ms(self, harness):
        """The time that the agents alone take: the longest lane, given the number of workers."""
        if not self.exponential:
            turns = math.ceil(self.lanes() / self.workers)
            return math.ceil(self.notifications / self.lanes()) * turns * self.latency_ms
        lanes = {}
        for run in harness.request("GET", "/sandbox/gateway")["requests"]:
            took_ms = (run["ended_us"] - run["begun_us"]) / 1000
            lanes[run["agent"]] = lanes.get(run["agent"], 0) + took_ms
        return max(lanes.values())


def mentions(load, backend):
    """
    The same load as mentions, each in a task of its own, so that threads are short: with 20 agents
    a context of v1 has 4 kB.
    """
    return dataclasses.replace(load, backend=backend, type="mention", tasks=load.notifications)


@dataclasses.dataclass
class Result:
    elapsed_ms: float
    ideal_ms: float
    cpu_s: float
    peak_mib: float
    listed: float  # times that a notification was listed, on average
    context_bytes: int


def put_on_board(harness, load):
    """Returns the rows of its notifications."""
    more = {} if load.tasks is None else {"tasks": load.tasks}
    return harness.load(load.notifications, load.agents, type=load.type, **more)


def prepare(harness, load, reply_bytes=0):
    """Returns the size of a context."""
    rule = {}
    if load.exponential:
        rule["latency_exponential_ms"] = load.latency_ms
    if reply_bytes > 0:
        rule["text"] = "All is well. " * (reply_bytes // 13)
    if rule:
        harness.request("POST", "/sandbox/faults", {"gateway": [rule]})
    return harness.context_bytes(put_on_board(harness, load)[0]["id"])


def deliver(load, secure=None, reply_bytes=0, **settings):
    """
    One run. The notifications are on the board before the runtime starts, so the result includes
    startup but no wait for a poll.
    """
    latency_ms = 0 if load.exponential else load.latency_ms
    with Harness(latency_ms, secure=secure, backend=load.backend) as harness:
        context_bytes = prepare(harness, load, reply_bytes)
        runtime = harness.start_runtime(load.workers, **settings)
        answer = harness.wait(delivered=load.notifications)
        result = Result((answer["now_us"] - runtime.started_us) / 1000, load.ideal_ms(harness),
                        runtime.cpu_s(), runtime.peak_kib() / KIB,
                        answer["listed"] / load.notifications, context_bytes)
        runtime.stop()
    return result


def elapsed(scenario, load, results, at_most=None, words=""):
    ideals = [result.ideal_ms / 1000 for result in results]
    ideal = statistics.median(ideals)
    return Figure(scenario, load.words() + words, "s", [r.elapsed_ms / 1000 for r in results],
                  ideals=ideals if ideal > 0 else None,
                  at_most=at_most * ideal if at_most else None)


BUSY = Load(1000, 20, 50, 20)
FAST = Load(5000, 50, 0, 10)
LOADS = (
    (BUSY, 1.10),
    (mentions(BUSY, "v1"), None),
    (Load(1000, 100, 500, 100), 1.05),
    (FAST, None),
    (mentions(FAST, "v1"), None),
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
                                  at_least=1000 if load.backend == "v0" else None))
            figures.append(Figure("deliveries", "CPU per 1,000", "s",
                                  [r.cpu_s * 1000 / load.notifications for r in results]))
        figures.append(Figure("deliveries", "times each notification was listed", "",
                              [result.listed for result in results],
                              at_most=None if load.backend != "v0" else
                              8 if load.exponential else 3))
    return figures


WARM_UP = 20
# What the control threads call, however many deliveries there are.
PERIODIC = {"listUndeliveredNotifications", "listAgents", "getOrchestratorAgentId",
            "updateRuntimeStatus", "checkAndClearRestartRequested", "getPendingUpgrade"}


def calls_so_far(answer):
    return {name: function["calls"] for name, function in answer["backend"].items()
            if name not in PERIODIC}


def calls_for(backend, kind, put):
    """
    Calls of the backend for each notification that put(harness) brings about. The version of the
    backend is learned before, as the lanes depend on it: what is in hand then is begun again.
    """
    with Harness(backend=backend) as harness:
        runtime = harness.start_runtime(DELIVERY_INTERVAL=100)
        harness.load(WARM_UP, WARM_UP)
        before = calls_so_far(harness.wait(delivered=WARM_UP, undelivered=0))
        count = put(harness)
        harness.wait(delivered=WARM_UP + count, undelivered=0)
        # Only then has a thread update been looked at once more after its mark.
        runtime.stop()
        calls = calls_so_far(harness.request("GET", "/sandbox/stats"))
        by_function = {name: (number - before.get(name, 0)) / count
                       for name, number in calls.items()}
    note = ", ".join(f"{name} {calls:g}" for name, calls in sorted(by_function.items()))
    limit = None if backend == "v0" else 5 if kind == "mention" else 6
    return Figure("calls", f"backend calls for each {kind}, {backend}", "",
                  [sum(by_function.values())], at_most=limit, note=note, details=by_function)


def put_assignments(harness, count=20):
    """On v1 also moves the tasks to "assigned", which a delivery changes to "in progress"."""
    agents = [{"slug": f"worker{i + 1}"} for i in range(count)]
    tasks = [{"title": f"task {i + 1}", "assign": [agent["slug"]]}
             for i, agent in enumerate(agents)]
    harness.request("POST", "/sandbox/seed", {"agents": agents, "tasks": tasks})
    return count


def put(kind, count=20):
    return lambda harness: len(harness.load(count, count, type=kind))


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


def processor_once(load, secure=None, **settings):
    """
    CPU seconds, total and in the kernel, for the load alone without startup, and how many times
    each notification was listed.
    """
    with Harness(load.latency_ms, secure=secure, backend=load.backend) as harness:
        runtime = harness.start_runtime(load.workers, **settings)
        harness.settle()
        before_s, kernel_before_s = runtime.cpu_s(), runtime.kernel_s()
        put_on_board(harness, load)
        answer = harness.wait(delivered=load.notifications)
        used_s, kernel_s = runtime.cpu_s() - before_s, runtime.kernel_s() - kernel_before_s
        runtime.stop()
    return used_s, kernel_s, answer["listed"] / load.notifications


def processor_of_assignments(runs, scenario="processor", words="", secure=None):
    results = [processor_once(BUSY, secure) for _ in range(runs)]
    return figures_of_processor(results, scenario, words)


def figures_of_processor(results, scenario, words):
    return [Figure(scenario, f"CPU per 1,000 deliveries{words}", "s",
                   [used_s for used_s, _, _ in results]),
            Figure(scenario, f"of which in the kernel{words}", "s",
                   [kernel_s for _, kernel_s, _ in results])]


def processor_and_floor(runs):
    """
    The runtime, the bare libraries with the same files, and those that append to one, in turns:
    the ratios leave out what the machine costs, and their difference is the price of the files.
    """
    results, durable, appended = [], [], []
    for _ in range(runs):
        results.append(processor_once(BUSY))
        durable.append(floor_once(BUSY, "durable"))
        appended.append(floor_once(BUSY, "libraries"))
    figures = figures_of_processor(results, "processor", "")
    for others, words in ((durable, "with the same files"),
                          (appended, "with one file, appended to")):
        ratios = [used_s / bare_s for (used_s, _, _), (bare_s, _) in zip(results, others)]
        figures.append(Figure("processor", f"a multiple of bare libraries {words}", "", ratios,
                              at_most=1.45))
    return figures


def processor_of_mentions(runs):
    """The same on both versions, in turns: what else the machine does should hit both alike."""
    results = {backend: [] for backend in ("v0", "v1")}
    for _ in range(runs):
        for backend, values in results.items():
            values.append(processor_once(mentions(BUSY, backend)))
    figures = []
    used_s = {}
    for backend, values in results.items():
        used_s[backend], kernel_s, listed = zip(*values)
        figures += [Figure("processor", f"CPU per 1,000 mentions, {backend}", "s",
                           list(used_s[backend])),
                    Figure("processor", f"of which in the kernel, {backend}", "s",
                           list(kernel_s)),
                    Figure("processor", f"times each mention was listed, {backend}", "",
                           list(listed))]
    ratios = [v1_s / v0_s for v0_s, v1_s in zip(used_s["v0"], used_s["v1"])]
    return figures + [Figure("processor", "CPU of a mention on v1, as a multiple of v0", "",
                             ratios, at_most=1.4)]


def processor(runs):
    return processor_and_floor(runs) + processor_of_mentions(runs)


def floor_once(load, variant):
    with Harness(load.latency_ms) as harness:
        harness.load(load.notifications, load.agents)
        return harness.run_floor(variant)


def floor(runs):
    """The load of processor_of_assignments(), by a program that does nothing but the exchanges and files."""
    figures = []
    for variant, words in (("sockets", "bare sockets"), ("libcurl", "bare libcurl"),
                         ("libraries", "bare libcurl and Jansson"),
                         ("durable", "those with the runtime's files")):
        results = [floor_once(BUSY, variant) for _ in range(runs)]
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
    figures = []
    for endpoints, words in (("backend", ", backend over TLS"), ("both", ", both over TLS")):
        results = [deliver(BUSY, secure=endpoints) for _ in range(runs)]
        figures += [elapsed("tls", BUSY, results, words=words),
                    Figure("tls", f"peak memory{words}", "MiB", [r.peak_mib for r in results]),
                    *processor_of_assignments(runs, "tls", words, endpoints),
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

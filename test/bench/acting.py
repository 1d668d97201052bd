"""What it costs that agents call tools, and what it costs not to."""

from delivering import BUSY, SINGLE_LATENCY_MS, mentions, processor_once
import fit
from harness import Harness, MeasurementError
from report import Figure

DELIVERIES = 100
ROUNDS = 3
CALLS = {
    "that reads": {"name": "get_agent_skills", "arguments": {}},
    "that changes": {"name": "document_upsert", "arguments": {
        "title": "Notes", "content": "All is well. " * 20, "type": "note"}},
}
# What the control threads call meanwhile.
PERIODIC = {"listUndeliveredNotifications", "listAgents", "getOrchestratorAgentId",
            "updateRuntimeStatus", "checkAndClearRestartRequested", "getPendingUpgrade"}


def added_us(answered, asked, calls):
    """
    Our own time between an answer of the gateway with a call and the request with its result: what
    the backend took to carry it out is left out.
    """
    backend_us = sum(call["ended_us"] - call["begun_us"] for call in calls
                     if call["function"] not in PERIODIC
                     and answered["ended_us"] <= call["begun_us"] <= asked["begun_us"])
    return asked["begun_us"] - answered["ended_us"] - backend_us


def rounds_of(harness, call, number):
    """Our own milliseconds in each round of one delivery."""
    harness.request("POST", "/sandbox/faults", {"gateway": [{"calls": [call], "times": ROUNDS}]})
    before = harness.request("GET", "/sandbox/stats")["gateway"]["requests"]
    harness.load(1, 1, type="mention", tasks=1)
    harness.wait(delivered=number)
    runs = harness.request("GET", f"/sandbox/gateway?since={before}")["requests"]
    if len(runs) != ROUNDS + 1:
        raise MeasurementError(f"{len(runs)} requests to the gateway in place of {ROUNDS + 1}")
    calls = harness.request("GET", "/sandbox/calls")["calls"]
    return [added_us(*pair, calls) / 1000 for pair in zip(runs, runs[1:])]


def rounds_once(call):
    """Own milliseconds of all rounds of a series of deliveries, one in flight at a time."""
    with Harness(SINGLE_LATENCY_MS, backend="v1") as harness:
        runtime = harness.start_runtime(DELIVERY_INTERVAL=10)
        harness.settle()
        times = []
        for done in range(DELIVERIES):
            times += rounds_of(harness, call, done + 1)
        runtime.stop()
    return times


def rounds(runs):
    figures = []
    for words, call in CALLS.items():
        results = [rounds_once(call) for _ in range(runs)]
        for name, share in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items():
            figures.append(Figure("tools", f"overhead per round with a call {words}, {name}", "ms",
                                  [fit.quantile(result, share) for result in results],
                                  at_most=3 if name == "p50" else None))
    return figures


def unused(runs):
    """The same mentions with tools offered and not called, and with none, in turns."""
    load = mentions(BUSY, "v1")
    used_s = {"true": [], "false": []}
    for _ in range(runs):
        for enabled, values in used_s.items():
            values.append(processor_once(load, OPENCLAW_CLIENT_TOOLS_ENABLED=enabled)[0])
    ratios = [with_s / without_s for with_s, without_s in zip(*used_s.values())]
    return [Figure("tools", "CPU per 1,000 mentions, tools offered", "s", used_s["true"]),
            Figure("tools", "CPU per 1,000 mentions, no tools", "s", used_s["false"]),
            Figure("tools", "CPU with tools offered, as a multiple of that without", "", ratios)]


def tools(runs):
    return rounds(runs) + unused(runs)

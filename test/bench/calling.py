"""Calls of the backend as a budget, and what polling often for a while gains and costs."""

import concurrent.futures
import os
import random
import time

from delivering import calls_for, calls_so_far, put, put_assignments
import fit
from harness import Harness, now_us
from report import Figure

BACKENDS = ("v0", "v1")
HOUR_S = 3600
DAY_S = 24 * HOUR_S
LIST = "listUndeliveredNotifications"

# An account's day: ten conversations of five messages each.
CONVERSATIONS = 10
MESSAGES = 5
RUN_MS = 8000
PAUSE_S = (3, 20)  # between a reply and what a person writes then
CALM_S = 75        # after which polls are as rare as before
# Further ones for the waits alone, since fifty are few for a 95th percentile.
LONG_CONVERSATIONS = 4
LONG_MESSAGES = 25
LONG_RUN_MS = 500
AS_BEFORE = {"DELIVERY_INTERVAL_ACTIVE": 5000}

IDLE_S = 2 * float(os.environ.get("BENCH_IDLE_S", "60"))


def in_parallel(jobs):
    """Results of jobs that mostly wait, each with a harness of its own."""
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(*job) for job in jobs]]


def all_calls(answer):
    return {name: function["calls"] for name, function in answer["backend"].items()}


def difference(after, before):
    return {name: number - before.get(name, 0) for name, number in after.items()}


def converse(number, backend, settings, messages=MESSAGES, run_ms=RUN_MS):
    """
    One conversation with an agent. Returns the milliseconds from each message but the first to the
    request to the gateway, the calls of the backend from the first message until all is calm, and
    how many seconds that took.
    """
    # Equal in all variants, and different in each conversation.
    pauses = random.Random(number)
    with Harness(run_ms, backend=backend) as harness:
        harness.request("POST", "/sandbox/settings", {"timings": True})
        harness.request("POST", "/sandbox/seed",
                        {"agents": [{"slug": "friday"}], "tasks": [{"title": "talk"}]})
        runtime = harness.start_runtime(**settings)
        harness.settle(pauses.uniform(1, 6))
        began_s, before = time.monotonic(), all_calls(harness.request("GET", "/sandbox/stats"))
        sent_us = {}
        for message in range(messages):
            asked_at_us = now_us()
            answer = harness.request("POST", "/sandbox/message",
                                     {"task": "talk", "content": f"@friday, point {message}?"})
            sent_us[answer["notifications"][0]] = asked_at_us
            harness.wait(replies=message + 1, limit_s=120)
            time.sleep(pauses.uniform(*PAUSE_S))
        time.sleep(CALM_S)
        calls = difference(all_calls(harness.request("GET", "/sandbox/stats")), before)
        took_s = time.monotonic() - began_s
        waits = [(timing["asked_us"] - sent_us[timing["notification"]]) / 1000
                 for timing in harness.timings()]
        runtime.stop()
    return waits[1:], calls, took_s


def idle_calls(backend):
    """Calls of an idle hour by function, from those of some minutes, without wake-ups."""
    with Harness(backend=backend) as harness:
        runtime = harness.start_runtime()
        harness.settle(3)
        began_s, before = time.monotonic(), all_calls(harness.request("GET", "/sandbox/stats"))
        time.sleep(IDLE_S)
        calls = difference(all_calls(harness.request("GET", "/sandbox/stats")), before)
        took_s = time.monotonic() - began_s
        runtime.stop()
    return {name: number * HOUR_S / took_s for name, number in calls.items() if number > 0}


def conversation_figures(backend, words, results):
    waits = [wait for found, _, _ in results for wait in found]
    targets = {"p50": 600, "p95": 1100} if words == "" else {}
    return [Figure("conversation", f"message to request, {backend}{words}, {name}", "ms",
                   [fit.quantile(waits, share)], at_most=targets.get(name))
            for name, share in {"p50": 0.5, "p95": 0.95}.items()]


def calls_of_day(results, per_hour):
    """A silent day, and what the conversations add to it."""
    added = sum(sum(calls.values()) - took_s * per_hour / HOUR_S for _, calls, took_s in results)
    return per_hour * DAY_S / HOUR_S + added


def conversation(_runs):
    """
    Conversations of a day, all at the same time, each with an account of its own; with default
    settings and with polls as rare as without anything that happens. One run, of six minutes or so.
    """
    jobs = [(idle_calls, backend) for backend in BACKENDS]
    jobs += [(converse, CONVERSATIONS + number, backend, {}, LONG_MESSAGES, LONG_RUN_MS)
             for backend in BACKENDS for number in range(LONG_CONVERSATIONS)]
    jobs += [(converse, number, backend, settings) for backend in BACKENDS
             for settings in ({}, AS_BEFORE) for number in range(CONVERSATIONS)]
    results = in_parallel(jobs)
    per_hour = dict(zip(BACKENDS, (sum(calls.values()) for calls in results[:len(BACKENDS)])))
    results = results[len(BACKENDS):]
    long = dict(zip(BACKENDS, (results[:LONG_CONVERSATIONS],
                               results[LONG_CONVERSATIONS:2 * LONG_CONVERSATIONS])))
    results = results[2 * LONG_CONVERSATIONS:]
    figures = []
    for backend in BACKENDS:
        attentive, before = results[:CONVERSATIONS], results[CONVERSATIONS:2 * CONVERSATIONS]
        results = results[2 * CONVERSATIONS:]
        day, day_before = (calls_of_day(found, per_hour[backend]) for found in (attentive, before))
        figures += conversation_figures(backend, "", attentive + long[backend])
        figures += conversation_figures(backend, ", polls each 5 s", before)
        figures += [Figure("conversation", f"backend calls of a day with 50 messages, {backend}", "",
                           [day]),
                    Figure("conversation", f"the same, with polls each 5 s, {backend}", "",
                           [day_before]),
                    Figure("conversation", f"calls of such a day, {backend}, as a multiple", "",
                           [day / day_before], at_most=1.15)]
    return figures


def wake_calls(backend, agents=2):
    """Calls of the backend for each wake-up, by function."""
    with Harness(list_agents=True, backend=backend) as harness:
        names = [{"slug": f"worker{i + 1}", "heartbeatInterval": 1} for i in range(agents)]
        harness.request("POST", "/sandbox/seed", {"agents": names})
        runtime = harness.start_runtime()
        harness.wait(limit_s=180, requests=agents)
        runtime.stop()
        stats = harness.request("GET", "/sandbox/stats")
    requests = stats["gateway"]["requests"]
    return {name: number / requests for name, number in calls_so_far(stats).items()}


def words_for(calls):
    return ", ".join(f"{name} {number:.3g}" for name, number in sorted(calls.items()))


def calls(_runs):
    """One run, since the numbers do not vary."""
    figures = []
    for backend in BACKENDS:
        figures.append(calls_for(backend, "mention", put("mention")))
    figures += [calls_for("v1", "assignment", put_assignments),
                calls_for("v1", "thread update", put("thread_update"))]
    found = in_parallel([(wake_calls, backend) for backend in BACKENDS] +
                        [(idle_calls, backend) for backend in BACKENDS])
    for backend, of_wake, of_hour in zip(BACKENDS, found[:2], found[2:]):
        figures += [Figure("calls", f"backend calls for each wake-up, {backend}", "",
                           [sum(of_wake.values())], note=words_for(of_wake), details=of_wake),
                    Figure("calls", f"backend calls of an idle hour, {backend}", "",
                           [sum(of_hour.values())], note=words_for(of_hour), details=of_hour)]
    return figures


AGENTS = 6
WORKERS = 10
ROWS = 1000
SENT = 50
CALL_MS = 400


def put_skips(harness, rows=ROWS, sent=SENT):
    """
    Notifications of which most are thread updates about an agent's message, for agents that are not
    assigned to its task, and the others mentions by a person, each in a task of its own; evenly
    mixed.
    """
    slugs = [f"worker{i + 1}" for i in range(AGENTS)]
    harness.request("POST", "/sandbox/seed", {
        "agents": [{"slug": slug} for slug in (*slugs, "author")],
        "tasks": [{"title": "talk"}] + [{"title": f"talk {row}"} for row in range(rows)]})
    news = harness.request("POST", "/sandbox/message",
                           {"task": "talk", "content": "All is well.", "author": "author"})["id"]
    for row in range(rows):
        slug = slugs[row % AGENTS]
        if row % (rows // sent) == 0:
            harness.request("POST", "/sandbox/message",
                            {"task": f"talk {row}", "content": f"@{slug}, point {row}?"})
        else:
            harness.request("POST", "/sandbox/notify", {
                "agent": slug, "task": "talk", "type": "thread_update", "message": news})


def skips_once():
    """Seconds until all are marked, and the calls of the backend that this took."""
    with Harness() as harness:
        put_skips(harness)
        rows = harness.request("GET", "/sandbox/stats")["undelivered"]
        harness.request("POST", "/sandbox/faults", {"backend": [{"latency_ms": CALL_MS}]})
        runtime = harness.start_runtime(WORKERS)
        answer = harness.wait(delivered=rows, undelivered=0)
        took_s = (answer["now_us"] - runtime.started_us) / 1e6
        runtime.stop()
        stats = harness.request("GET", "/sandbox/stats")
    needed = 2 * rows + stats["replies"]
    return took_s, needed * CALL_MS / 1000 / WORKERS, sum(calls_so_far(stats).values()) / needed


def skips(runs):
    """Ideal is what the calls take that each notification needs, as many at a time as workers."""
    results = [skips_once() for _ in range(runs)]
    name = f"{ROWS:,} rows of which {ROWS - SENT} are skipped, {CALL_MS} ms a call"
    ideals = [ideal_s for _, ideal_s, _ in results]
    return [Figure("skips", name, "s", [took_s for took_s, _, _ in results], ideals=ideals,
                   at_most=1.3 * ideals[0]),
            Figure("skips", "calls of the backend, as a multiple of those needed", "",
                   [ratio for _, _, ratio in results])]

"""Memory and CPU usage as the load grows, and over time."""

import os
import time

import fit
from delivering import Load, deliver, mentions
from report import Figure
from harness import KIB, Harness

SOAK_S = float(os.environ.get("BENCH_SOAK_S", "600"))
SOAK_RATE = 50
SOAK_WARM_UP = 10000
PEAK_TARGETS_MIB = {10: 18, 256: 40}
COUNTS = (500, 1000, 2000, 4000)
AGENTS = (1, 10, 100, 1000)
REPLIES = ((1000, 400, "1 KB"), (100000, 400, "100 KB"), (1000000, 100, "1 MB"))


def memory_with(load, words, runs):
    results = [deliver(load) for _ in range(runs)]
    return Figure("memory", f"peak memory, {load.workers} workers under load{words}", "MiB",
                  [result.peak_mib for result in results],
                  at_most=PEAK_TARGETS_MIB.get(load.workers),
                  note=f"contexts of {results[0].context_bytes:,} bytes")


def memory(runs):
    """Peak resident memory while all workers are busy; on v1 more agents make longer contexts."""
    figures = []
    for workers in (10, 64, 256):
        count = max(1000, 10 * workers)
        figures += [memory_with(Load(count, workers, 50, workers), "", runs),
                    memory_with(mentions(Load(count, 20, 50, workers), "v1"), ", v1", runs)]
    return figures


def growth_of(words, unit, xs, values, per, **more):
    """values[run][i] belongs to xs[i]: a figure of the slopes, with the exponent in its note."""
    slopes = [fit.line(xs, list(run))[0] * per for run in values]
    means = [sum(column) / len(column) for column in zip(*values)]
    shape = ", ".join(f"{x:,}: {mean:.3g}" for x, mean in zip(xs, means))
    growth_note = f"; exponent {fit.exponent(xs, means):.2f}" if min(means) > 0 else ""
    return Figure("growth", words, unit, slopes, note=shape + growth_note, **more)


def growth_with_count(runs):
    loads = [Load(count, 20, 0, 10) for count in COUNTS]
    results = [[deliver(load) for load in loads] for _ in range(runs)]
    return [growth_of("growth: CPU per 1,000 more deliveries", "s", COUNTS,
                      [[r.cpu_s for r in run] for run in results], 1000),
            growth_of("growth: time per 1,000 more deliveries", "s", COUNTS,
                      [[r.elapsed_ms / 1000 for r in run] for run in results], 1000),
            growth_of("growth: peak memory per 1,000 more deliveries", "MiB", COUNTS,
                      [[r.peak_mib for r in run] for run in results], 1000)]


def growth_with_agents(runs):
    loads = [Load(1000, agents, 0, 10) for agents in AGENTS]
    results = [[deliver(load) for load in loads] for _ in range(runs)]
    figures = []
    for i, agents in enumerate(AGENTS):
        words = f"1,000 deliveries to {agents:,} agent" + ("s" if agents > 1 else "")
        figures += [Figure("growth", f"{words}: CPU", "s", [r[i].cpu_s for r in results]),
                    Figure("growth", f"{words}: peak memory", "MiB",
                           [r[i].peak_mib for r in results])]
    return figures


def growth_with_reply(runs):
    figures = []
    for reply_bytes, count, words in REPLIES:
        load = Load(count, 20, 0, 10)
        results = [deliver(load, reply_bytes=reply_bytes) for _ in range(runs)]
        figures += [Figure("growth", f"{words} replies: CPU per 1,000", "s",
                           [result.cpu_s * 1000 / count for result in results]),
                    Figure("growth", f"{words} replies: peak memory, 10 workers", "MiB",
                           [result.peak_mib for result in results])]
    return figures


def growth(runs):
    return growth_with_count(runs) + growth_with_agents(runs) + growth_with_reply(runs)


def soak_samples(harness, runtime):
    """(minutes, resident KiB, descriptors) while SOAK_RATE notifications arrive per second."""
    samples = []
    loaded = SOAK_WARM_UP
    began = time.monotonic()
    sample_every_s = max(1, int(SOAK_S / 120))
    for second in range(int(SOAK_S)):
        time.sleep(max(0, began + second - time.monotonic()))
        harness.load(SOAK_RATE, 20)
        loaded += SOAK_RATE
        if second % sample_every_s == 0:
            samples.append(((time.monotonic() - began) / 60, runtime.resident_kib(),
                            runtime.descriptors()))
    harness.wait(delivered=loaded, limit_s=60)
    return samples


def soak(_runs):
    """
    One run, after enough deliveries to fill every table of fixed size. The first tenth of the
    samples is dropped.
    """
    with Harness(latency_ms=50) as harness:
        harness.load(SOAK_WARM_UP, 20)
        runtime = harness.start_runtime(workers=20)
        harness.wait(delivered=SOAK_WARM_UP)
        before_s = runtime.cpu_s()
        samples = soak_samples(harness, runtime)
        used_s = runtime.cpu_s() - before_s
        runtime.stop()
    samples = samples[len(samples) // 10:]
    minutes, resident, descriptors = zip(*samples)
    words = f"soak of {SOAK_S:g} s at {SOAK_RATE}/s"
    return [Figure("soak", f"{words}: memory growth", "KiB/min",
                   [fit.line(minutes, resident)[0]],
                   note=f"from {resident[0] / KIB:.1f} to {resident[-1] / KIB:.1f} MiB",
                   details={"minutes": minutes, "resident_kib": resident}),
            Figure("soak", f"{words}: open files at end", "", [descriptors[-1]],
                   note=f"{min(descriptors)} to {max(descriptors)}"),
            Figure("soak", f"{words}: CPU", "% core", [100 * used_s / SOAK_S])]

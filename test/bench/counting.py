"""Figures that do not depend on the load of the machine: calls, instructions, allocations."""

import pathlib
import re
import shutil

from delivering import Load, mentions, prepare
from report import Figure
from harness import Harness, MeasurementError, wait_until

COUNTS = (200, 400)
# Where the tools' output of the last runs is kept.
OUTPUT_DIR = pathlib.Path("bench")


def run_under(load, wrapper, output, secure):
    """
    Delivers a load under a tool and returns its counts, read by output(harness). The first poll
    lists them all and later ones are held, since their number depends on how much the tool slows
    the runtime down.
    """
    polls = {"action": "listUndeliveredNotifications"}
    with Harness(secure=secure, backend=load.backend) as harness:
        harness.request("POST", "/sandbox/faults",
                  {"backend": [{**polls, "times": 1}, {**polls, "behaviour": "hold"}]})
        prepare(harness, load)
        command = [word.format(directory=harness.directory) for word in wrapper]
        runtime = harness.start_runtime(load.workers, wrapper=command, DELIVERY_LIST_LIMIT=500)
        harness.wait(delivered=load.notifications)
        runtime.stop()
        return output(harness)


def keep_output(harness, path, name):
    OUTPUT_DIR.mkdir(exist_ok=True)
    prefix = f"tls-{harness.secure}-" if harness.secure else ""
    prefix += f"{harness.backend}-" if harness.backend != "v0" else ""
    shutil.copy(path, OUTPUT_DIR / (prefix + name))


def strace_summary(harness):
    summary = harness.directory / "strace"
    wait_until("the summary of strace", 20,
               lambda: summary.exists() and " total" in summary.read_text())
    keep_output(harness, summary, "strace.txt")
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", summary.read_text(), re.M)
    return {name: int(calls) for calls, name in rows if name != "total"}


def callgrind_total(harness):
    [output] = harness.directory.glob("callgrind.*")
    keep_output(harness, output, "callgrind.out")
    found = re.search(r"^(?:summary|totals): (\d+)", output.read_text(), re.M)
    if found is None:
        raise MeasurementError("no total in the output of callgrind")
    return {"": int(found[1])}


def dhat_totals(harness):
    [output] = harness.directory.glob("dhat.*")
    keep_output(harness, output, "dhat.json")
    found = re.search(r"Total: +([\d,]+) bytes in ([\d,]+) blocks",
                      harness.runtime.log.read_text(errors="replace"))
    if found is None:
        raise MeasurementError("no total in the output of dhat")
    return {name: int(number.replace(",", "")) for name, number in
            zip(("bytes", "blocks"), found.groups())}


# -D: strace runs as a detached grandchild, so the process we started is the runtime itself.
STRACE = ("strace", "-D", "-f", "-c", "-o", "{directory}/strace")
CALLGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file={directory}/callgrind.out")
DHAT = ("valgrind", "--tool=dhat", "--dhat-out-file={directory}/dhat.json")


def assignments(count):
    return Load(count, 20, 0, 10)


def mentions_on_v1(count):
    return mentions(assignments(count), "v1")


def per_delivery(loads, wrapper, output, secure=None):
    """
    By name: the cost of one more delivery, as the difference of two runs, and the cost of none,
    which is startup and shutdown. loads makes a load of so many notifications.
    """
    fewer, more = (run_under(loads(count), wrapper, output, secure) for count in COUNTS)
    step = COUNTS[1] - COUNTS[0]
    each = {name: (number - fewer.get(name, 0)) / step for name, number in more.items()}
    return each, {name: more[name] - COUNTS[1] * number for name, number in each.items()}


def counts_figures(words, secure=None, loads=assignments):
    calls, _ = per_delivery(loads, STRACE, strace_summary, secure)
    by_count = sorted(calls.items(), key=lambda item: -item[1])
    note = ", ".join(f"{name} {number:.1f}" for name, number in by_count[:12])
    instructions, baseline = per_delivery(loads, CALLGRIND, callgrind_total, secure)
    heap, _ = per_delivery(loads, DHAT, dhat_totals, secure)
    return [Figure("counts", f"system calls per delivery{words}", "", [sum(calls.values())],
                   note=note, details=dict(by_count)),
            Figure("counts", f"instructions per delivery{words}", "thousands",
                   [instructions[""] / 1000]),
            Figure("counts", f"instructions for startup and shutdown{words}", "thousands",
                   [baseline[""] / 1000]),
            Figure("counts", f"heap allocations per delivery{words}", "", [heap["blocks"]],
                   note=f"{heap['bytes'] / 1024:.0f} KiB")]


def counts(_runs):
    """One run each, since the numbers hardly vary."""
    return (counts_figures("") + counts_figures(", v1", loads=mentions_on_v1) +
            counts_figures(", backend over TLS", "backend") +
            counts_figures(", both over TLS", "both"))

"""Figures that do not depend on how busy the machine is: calls, instructions, allocations."""

import pathlib
import re
import shutil

from delivering import Load, prepare
from report import Figure
from world import Trouble, World, wait_until

COUNTS = (200, 400)
# What the last runs wrote, for a closer look.
KEPT = pathlib.Path("bench")


def run_under(count, wrapper, output, secure):
    """
    Delivers count notifications under a tool; output(world) is what it counted. The first poll lists
    them all and the next ones are held: how often the runtime polls depends on how slow it is made.
    """
    polls = {"action": "listUndeliveredNotifications"}
    with World(secure=secure) as world:
        world.ask("POST", "/sandbox/faults",
                  {"backend": [{**polls, "times": 1}, {**polls, "behaviour": "hold"}]})
        load = Load(count, 20, 0, 10)
        prepare(world, load)
        command = [word.format(directory=world.directory) for word in wrapper]
        runtime = world.start_runtime(load.workers, wrapper=command, DELIVERY_LIST_LIMIT=500)
        world.wait(delivered=count)
        runtime.stop()
        return output(world)


def keep(world, path, name):
    KEPT.mkdir(exist_ok=True)
    shutil.copy(path, KEPT / (f"tls-{world.secure}-{name}" if world.secure else name))


def strace_summary(world):
    summary = world.directory / "strace"
    wait_until("the summary of strace", 20,
               lambda: summary.exists() and " total" in summary.read_text())
    keep(world, summary, "strace.txt")
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", summary.read_text(), re.M)
    return {name: int(calls) for calls, name in rows if name != "total"}


def callgrind_total(world):
    [output] = world.directory.glob("callgrind.*")
    keep(world, output, "callgrind.out")
    found = re.search(r"^(?:summary|totals): (\d+)", output.read_text(), re.M)
    if found is None:
        raise Trouble("callgrind wrote no total")
    return {"": int(found[1])}


def dhat_totals(world):
    [output] = world.directory.glob("dhat.*")
    keep(world, output, "dhat.json")
    found = re.search(r"Total: +([\d,]+) bytes in ([\d,]+) blocks",
                      world.runtime.log.read_text(errors="replace"))
    if found is None:
        raise Trouble("dhat wrote no total")
    return {name: int(number.replace(",", "")) for name, number in
            zip(("bytes", "blocks"), found.groups())}


# -D: strace watches from aside, so that the process that was started is the runtime itself.
STRACE = ("strace", "-D", "-f", "-c", "-o", "{directory}/strace")
CALLGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file={directory}/callgrind.out")
DHAT = ("valgrind", "--tool=dhat", "--dhat-out-file={directory}/dhat.json")


def per_delivery(wrapper, output, secure=None):
    """
    By name: what a delivery more costs, as the difference of two runs, and what none at all would,
    which is start and stop.
    """
    less, more = (run_under(count, wrapper, output, secure) for count in COUNTS)
    step = COUNTS[1] - COUNTS[0]
    each = {name: (number - less.get(name, 0)) / step for name, number in more.items()}
    return each, {name: more[name] - COUNTS[1] * number for name, number in each.items()}


def counts_figures(words, secure):
    calls, _ = per_delivery(STRACE, strace_summary, secure)
    often = sorted(calls.items(), key=lambda item: -item[1])
    note = ", ".join(f"{name} {number:.1f}" for name, number in often[:12])
    instructions, starting = per_delivery(CALLGRIND, callgrind_total, secure)
    heap, _ = per_delivery(DHAT, dhat_totals, secure)
    return [Figure("counts", f"system calls per delivery{words}", "", [sum(calls.values())],
                   note=note, details=dict(often)),
            Figure("counts", f"instructions per delivery{words}", "thousands",
                   [instructions[""] / 1000]),
            Figure("counts", f"instructions for startup and shutdown{words}", "thousands",
                   [starting[""] / 1000]),
            Figure("counts", f"heap allocations per delivery{words}", "", [heap["blocks"]],
                   note=f"{heap['bytes'] / 1024:.0f} KiB")]


def counts(_runs):
    """One run each: the numbers hardly differ."""
    return (counts_figures("", None) + counts_figures(", backend over TLS", "backend") +
            counts_figures(", both over TLS", "both"))

"""Runs the scenarios and writes the results. Called by scripts/bench.sh; see there."""

import datetime
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import time

import acting
import calling
import counting
import delivering
import fleet
import growing
import report
import starting
import waking
from harness import MeasurementError

RESULTS = pathlib.Path("bench/results.json")
SCRAPE = pathlib.Path("test/bench/scrape.sh")


def scrape(runs):
    """
    Scraping /metrics under load. scrape.sh prints a line for each figure: name, unit and number,
    separated by tabs.
    """
    found = {}
    for _ in range(runs if SCRAPE.exists() else 0):
        finished = subprocess.run([SCRAPE], check=False, text=True, stdout=subprocess.PIPE)
        if finished.returncode != 0:
            raise MeasurementError(f"{SCRAPE.name}: exit status {finished.returncode}")
        for line in finished.stdout.splitlines():
            name, unit, number = line.split("\t")
            found.setdefault((name, unit), []).append(float(number))
    return [report.Figure("scrape", name, unit, values) for (name, unit), values in found.items()]


SCENARIOS = {
    "start": starting.start,
    "idle": starting.idle,
    "deliveries": delivering.deliveries,
    "added": delivering.added,
    "processor": delivering.processor,
    "floor": delivering.floor,
    "memory": growing.memory,
    "chain": delivering.chain,
    "calls": calling.calls,
    "conversation": calling.conversation,
    "skips": calling.skips,
    "tools": acting.tools,
    "wakes": waking.wakes,
    "tls": delivering.secure,
    "growth": growing.growth,
    "counts": counting.counts,
    "scrape": scrape,
    "fleet": fleet.fleet,
    "soak": growing.soak,
}


def selected_scenarios():
    """The scenarios in BENCH_ONLY (comma-separated); by default all, less those to skip."""
    names = [name for name in os.environ.get("BENCH_ONLY", "").split(",") if name]
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        sys.exit(f"bench.sh: unknown scenario {', '.join(unknown)}; "
                 f"expected {', '.join(SCENARIOS)}")
    if names:
        return names
    return [name for name in SCENARIOS
            if name != "soak" or os.environ.get("BENCH_SKIP_SOAK", "0") in ("", "0")]


def processor_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def file_system():
    output = subprocess.run(["df", "--output=fstype", os.environ.get("TMPDIR", "/tmp")], text=True,
                            stdout=subprocess.PIPE, check=True).stdout
    return output.split()[-1]


def system_name():
    return platform.freedesktop_os_release()["PRETTY_NAME"] + ", Linux " + platform.release()


def describe_run(runs):
    return {
        "version": pathlib.Path("VERSION").read_text().strip(),
        "at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "compiler": os.environ.get("BENCH_COMPILER", ""),
        "flags": os.environ.get("BENCH_FLAGS", ""),
        "runs": runs,
        "machine": {
            "processor": processor_name(),
            "cores": os.cpu_count(),
            "cores_used": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
            "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
            "system": system_name(),
            "state_on": file_system(),
            "load_average": os.getloadavg()[0],
        },
    }


def measure():
    runs = int(os.environ.get("BENCH_RUNS", "3"))
    results = {**describe_run(runs), "figures": []}
    for name in selected_scenarios():
        began = time.monotonic()
        for figure in SCENARIOS[name](runs):
            results["figures"].append(figure.as_json())
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        report.write(results, RESULTS)
    return results


def main():
    # SystemExit unwinds the context managers, which stop the programs.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if len(sys.argv) == 3 and sys.argv[1] == "--markdown":
        print(report.markdown(json.loads(pathlib.Path(sys.argv[2]).read_text())))
        return
    try:
        print(report.table(measure()))
    except MeasurementError as error:
        sys.exit(f"bench.sh: {error}")
    print(f"\nWritten to {RESULTS}.")


main()

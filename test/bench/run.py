"""Runs the scenarios and writes what they found. Called by scripts/bench.sh, which says more."""

import datetime
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import time

import counting
import delivering
import growing
import report
import starting
from world import Trouble

RESULTS = pathlib.Path("bench/results.json")
SCRAPE = pathlib.Path("test/bench/scrape.sh")


def scrape(runs):
    """
    The metrics page under load, by a script of its own: for each figure it prints a line with name,
    unit and number, separated by tabs.
    """
    found = {}
    for _ in range(runs if SCRAPE.exists() else 0):
        ended = subprocess.run([SCRAPE], check=False, text=True, stdout=subprocess.PIPE)
        if ended.returncode != 0:
            raise Trouble(f"{SCRAPE.name} ended with status {ended.returncode}")
        for line in ended.stdout.splitlines():
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
    "tls": delivering.secure,
    "growth": growing.growth,
    "counts": counting.counts,
    "scrape": scrape,
    "soak": growing.soak,
}


def chosen():
    """The scenarios that BENCH_ONLY names, separated by commas; else all but what is skipped."""
    names = [name for name in os.environ.get("BENCH_ONLY", "").split(",") if name]
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        sys.exit(f"bench.sh: there is no scenario {', '.join(unknown)}: {', '.join(SCENARIOS)}")
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


def about(runs):
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
    results = {**about(runs), "figures": []}
    for name in chosen():
        began = time.monotonic()
        for figure in SCENARIOS[name](runs):
            results["figures"].append(figure.as_json())
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        report.write(results, RESULTS)
    return results


def main():
    # Ends by way of the exits of all that runs, which stop the programs.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if len(sys.argv) == 3 and sys.argv[1] == "--markdown":
        print(report.markdown(json.loads(pathlib.Path(sys.argv[2]).read_text())))
        return
    try:
        print(report.table(measure()))
    except Trouble as trouble:
        sys.exit(f"bench.sh: {trouble}")
    print(f"\nWritten to {RESULTS}.")


main()

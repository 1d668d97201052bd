"""Many accounts on one machine: what each costs while idle, and whether one disturbs the others."""

import http.client
import os
import pathlib
import statistics
import threading
import time

import fit
from report import Figure
from harness import KIB, Harness, MeasurementError, free_port

ACCOUNTS = int(os.environ.get("BENCH_FLEET", "200"))
IDLE_S = float(os.environ.get("BENCH_IDLE_S", "60"))
PAGE_S = 10
READERS = 8  # browsers that read the page of one account as fast as they can
PAGE_PATHS = ("/", "/status")


def proportional_kib(runtime):
    """Resident memory, with what several processes share divided among them."""
    for line in pathlib.Path(f"/proc/{runtime.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise MeasurementError(f"/proc/{runtime.pid}/smaps_rollup has no Pss")


def wake_ups(runtime):
    """How often its threads have begun to wait so far, which is how often they were woken."""
    total = 0
    for status in pathlib.Path(f"/proc/{runtime.pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total


def start_fleet(harness):
    runtimes = []
    for number in range(ACCOUNTS):
        port = free_port()
        account = f"k57fleet{number:04d}acc0xnt0000000000000"
        runtime = harness.start_runtime(
            health_port=port, ACCOUNT_ID=account,
            SERVICE_TOKEN=f"mc_service_{account}_{os.urandom(16).hex()}",
            STATE_DIR=harness.directory / f"state{number}")
        runtime.port = port
        runtimes.append(runtime)
    harness.wait(limit_s=120, action="updateRuntimeStatus", calls=ACCOUNTS)
    return runtimes


def get_ms(port, path):
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200:
        raise MeasurementError(f"{path}: {answer.status}")
    return (time.monotonic() - began) * 1000


def health_ms(runtimes, limit_s):
    """The times that one account after another takes to answer /health."""
    until = time.monotonic() + limit_s
    times = []
    while time.monotonic() < until:
        times += [get_ms(runtime.port, "/health") for runtime in runtimes]
        time.sleep(0.1)
    return times


class Readers:
    """Reads the pages of one account until it is left."""

    def __init__(self, port):
        self.port = port
        self.over = threading.Event()
        self.pages = 0
        self.threads = [threading.Thread(target=self._read) for _ in range(READERS)]

    def _read(self):
        while not self.over.is_set():
            for path in PAGE_PATHS:
                get_ms(self.port, path)
            self.pages += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def idle_figures(runtimes):
    before = [(runtime.cpu_s(), wake_ups(runtime)) for runtime in runtimes]
    began = time.monotonic()
    time.sleep(IDLE_S)  # the time that is measured
    passed_s = time.monotonic() - began
    cpu = [100 * (r.cpu_s() - b[0]) / passed_s for r, b in zip(runtimes, before)]
    woken = [(wake_ups(r) - b[1]) / passed_s for r, b in zip(runtimes, before)]
    resident = [r.resident_kib() / KIB for r in runtimes]
    share = [proportional_kib(r) / KIB for r in runtimes]
    words = f"fleet of {ACCOUNTS}, idle"
    return [Figure("fleet", f"{words}: RSS of one", "MiB", [statistics.median(resident)]),
            Figure("fleet", f"{words}: share of the memory of one", "MiB",
                   [statistics.median(share)]),
            Figure("fleet", f"{words}: memory of all", "MiB", [sum(share)]),
            Figure("fleet", f"{words}: CPU of one", "% core", [statistics.median(cpu)]),
            Figure("fleet", f"{words}: CPU of all", "% core", [sum(cpu)]),
            Figure("fleet", f"{words}: wake-ups of one", "1/s", [statistics.median(woken)])]


def page_figures(runtimes):
    """How fast the others answer while the page of the first one is read without pause."""
    others = runtimes[1:]
    alone = health_ms(others, PAGE_S)
    with Readers(runtimes[0].port) as readers:
        beside = health_ms(others, PAGE_S)
    note = f"{readers.pages / PAGE_S:.0f} reads of one page a second"
    return [Figure("fleet", f"fleet of {ACCOUNTS}: /health of the others, {name}{words}", "ms",
                   [fit.quantile(times, share)], note=more)
            for times, words, more in ((alone, "", ""), (beside, ", one page being read", note))
            for name, share in (("p50", 0.5), ("p99", 0.99))]


def fleet(_):
    """One run: all that it measures is a median or a sum over many processes."""
    with Harness() as harness:
        runtimes = start_fleet(harness)
        try:
            time.sleep(5)  # the work of startup is not measured
            figures = idle_figures(runtimes) + page_figures(runtimes)
        finally:
            for runtime in runtimes:
                runtime.child.terminate()
            for runtime in runtimes:
                runtime.child.wait()
    return figures

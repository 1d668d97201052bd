"""Runs a sandbox and a runtime, and reads the runtime's resource usage from the kernel."""

import contextlib
import http.client
import json
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import tempfile
import time

ACCOUNT = "k57bench0acc0xnt0000000000000000"
SERVICE_TOKEN = f"mc_service_{ACCOUNT}_{secrets.token_hex(16)}"
GATEWAY_TOKEN = secrets.token_hex(16)
BUILD = pathlib.Path(os.environ.get("BUILD", "build"))
WAIT_LIMIT_S = 590
STOP_LIMIT_S = 60
KIB = 1024


class MeasurementError(Exception):
    """A measurement failed."""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def now_us():
    """The clock of the sandbox's timestamps."""
    return time.monotonic_ns() // 1000


def wait_until(event, limit_s, condition):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.01)
    raise MeasurementError(f"{event} did not happen within {limit_s} s")


class Process:
    """A process and its resource usage."""

    def __init__(self, command, environment, log):
        self.log = log
        with open(log, "wb") as output:
            self.started_us = now_us()
            self.child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL,
                                          stdout=output, stderr=subprocess.STDOUT,
                                          start_new_session=True)
        self.pid = self.child.pid

    def cpu_s(self):
        """CPU time of all its threads, including exited ones."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def kernel_s(self):
        """CPU time spent in the kernel, in steps of 10 ms."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[12]) / os.sysconf("SC_CLK_TCK")

    def _number(self, file, field):
        for line in pathlib.Path(f"/proc/{self.pid}/{file}").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise MeasurementError(f"/proc/{self.pid}/{file} has no {field}")

    def peak_kib(self):
        return self._number("status", "VmHWM")

    def resident_kib(self):
        return self._number("smaps_rollup", "Rss")

    def anonymous_kib(self):
        return self._number("smaps_rollup", "Anonymous")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def is_running(self):
        return self.child.poll() is None

    def stop(self):
        """Stops it as a supervisor would; raises MeasurementError unless it exits with status 0."""
        if self.is_running():
            self.child.terminate()
        try:
            status = self.child.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            status = "killed"
        if status != 0:
            text = self.log.read_text(errors="replace")[-2000:]
            raise MeasurementError(f"{self.log.name}: exit status {status}:\n{text}")


class Harness:
    """
    An empty board of that version whose agents answer after latency_ms; a context manager. No
    heartbeats are sent unless list_agents is set. secure says what is reached over TLS: "backend",
    or "both" backend and gateway.
    """

    def __init__(self, latency_ms=0, list_agents=False, secure=None, backend="v0"):
        self.secure = secure
        self.backend = backend
        self.stack = contextlib.ExitStack()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
        self.stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.runtime = None
        try:
            self._start_sandbox(latency_ms)
            if secure:
                self._start_tls()
        except BaseException:
            self.stack.close()
            raise
        if not list_agents:
            self.request("POST", "/sandbox/settings", {"hide_agents": True})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.runtime is not None and self.runtime.is_running():
            self.runtime.child.kill()
            self.runtime.child.wait()
        self.stack.close()

    def _spawn(self, log, *command):
        environment = {"PATH": os.environ["PATH"], "ACCOUNT_ID": ACCOUNT,
                       "SERVICE_TOKEN": SERVICE_TOKEN, "OPENCLAW_GATEWAY_TOKEN": GATEWAY_TOKEN,
                       # Else only root may read its smaps and descriptors.
                       "MISSION_CONTROL_DEBUG_CORE": "on"}
        process = Process(command, environment, self.directory / log)
        self.stack.callback(process.child.wait)
        self.stack.callback(process.child.terminate)
        return process

    def _start_sandbox(self, latency_ms):
        text = "listening on "
        sandbox = self._spawn("sandbox.log", str(BUILD / "mission-control-sandbox"), "--port", "0",
                              "--latency-ms", str(latency_ms), "--backend", self.backend)
        wait_until("startup of the sandbox", 20, lambda: text in sandbox.log.read_text())
        self.port = int(sandbox.log.read_text().strip().rpartition(":")[2])

    def _start_tls(self):
        """Starts a TLS proxy with a self-signed certificate in front of the sandbox."""
        self.certificate = self.directory / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                        self.directory / "key.pem", "-out", self.certificate],
                       check=True, capture_output=True)
        self.tls_port = free_port()
        settings = self.directory / "stunnel.conf"
        settings.write_text(
            f"foreground = yes\npid =\ndebug = err\n[sandbox]\n"
            f"accept = 127.0.0.1:{self.tls_port}\nconnect = 127.0.0.1:{self.port}\n"
            f"cert = {self.certificate}\nkey = {self.directory / 'key.pem'}\n"
            "TIMEOUTclose = 0\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n")
        self._spawn("stunnel.log", shutil.which("stunnel4") or "stunnel", str(settings))
        wait_until("startup of stunnel", 20, self._has_tls)

    def _has_tls(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.tls_port)) == 0

    def request(self, method, path, body=None):
        """Sends a request to the sandbox and returns its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_LIMIT_S + 10)
        connection.request(method, path, None if body is None else json.dumps(body),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise MeasurementError(f"{method} {path}: {answer.status} {text[:200]!r}")
        return json.loads(text)

    def wait(self, limit_s=WAIT_LIMIT_S, **conditions):
        """Waits until the conditions of GET /sandbox/wait hold; returns the statistics then."""
        query = "&".join(f"{name}={value}" for name, value in conditions.items())
        answer = self.request("GET", f"/sandbox/wait?{query}&timeout_ms={limit_s * 1000}")
        if not answer["met"]:
            text = self.runtime.log.read_text(errors="replace")[-2000:] if self.runtime else ""
            raise MeasurementError(f"{query} was not reached within {limit_s} s\n{text}")
        return answer

    def load(self, notifications, agents, **more):
        """Puts notifications on the board; returns their rows. more: type, tasks."""
        body = {"notifications": notifications, "agents": agents, **more}
        return self.request("POST", "/sandbox/load", body)["notifications"]

    def context_bytes(self, notification):
        """The size of the answer that tells what is to be known of a notification."""
        answer = self.request("POST", "/api/action", {
            "path": "service/actions:getNotificationForDelivery", "format": "convex_encoded_json",
            "args": [{"accountId": ACCOUNT, "serviceToken": SERVICE_TOKEN,
                      "notificationId": notification}]})
        return len(json.dumps(answer, separators=(",", ":")))

    def timings(self):
        return self.request("GET", "/sandbox/timings")["timings"]

    def start_runtime(self, workers=10, wrapper=(), health_port=0, **settings):
        """Starts the runtime, under wrapper, with all other settings at their defaults."""
        gateway_url = url = f"http://127.0.0.1:{self.port}"
        environment = {"PATH": os.environ["PATH"], "ACCOUNT_ID": ACCOUNT,
                       "SERVICE_TOKEN": SERVICE_TOKEN, "OPENCLAW_GATEWAY_TOKEN": GATEWAY_TOKEN,
                       # Else only root may read its smaps and descriptors.
                       "MISSION_CONTROL_DEBUG_CORE": "on",
                       "OPENCLAW_VERSION": "0", "STATE_DIR": str(self.directory / "state"),
                       "HEALTH_PORT": str(health_port),
                       "DELIVERY_MAX_CONCURRENT_SESSIONS": str(workers)}
        if self.secure:
            url = f"https://127.0.0.1:{self.tls_port}"
            environment["CA_FILE"] = str(self.certificate)
        if self.secure == "both":
            gateway_url = url
        environment.update(CONVEX_URL=url, OPENCLAW_GATEWAY_URL=gateway_url)
        environment.update({name: str(value) for name, value in settings.items()})
        command = [*wrapper, str(BUILD / "mission-control-runtime")]
        self.runtime = Process(command, environment, self.directory / "runtime.log")
        return self.runtime

    def run_floor(self, variant):
        """Delivers what is listed with floor.c; returns CPU seconds, total and in the kernel."""
        state = self.directory / "floor"
        state.mkdir()
        environment = {"PATH": os.environ["PATH"], "ACCOUNT_ID": ACCOUNT,
                       "SERVICE_TOKEN": SERVICE_TOKEN, "OPENCLAW_GATEWAY_TOKEN": GATEWAY_TOKEN,
                       # Else only root may read its smaps and descriptors.
                       "MISSION_CONTROL_DEBUG_CORE": "on"}
        finished = subprocess.run([BUILD / "test/bench/floor", variant, str(self.port), state],
                               env=environment, check=False, capture_output=True, text=True)
        if finished.returncode != 0:
            raise MeasurementError(f"floor: {finished.stderr.strip()}")
        used_s, kernel_s = finished.stdout.split()
        return float(used_s), float(kernel_s)

    def settle(self, pause_s=1):
        """Waits for the first poll and report, then pauses so that startup work is not measured."""
        self.wait(action="listUndeliveredNotifications", calls=1)
        self.wait(action="updateRuntimeStatus", calls=1)
        time.sleep(pause_s)

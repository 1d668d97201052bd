"""A sandbox and a runtime on this machine, and what the kernel says about the runtime."""

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


class Trouble(Exception):
    """A measurement that could not be taken."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def now_us():
    """The clock that the sandbox's times are on."""
    return time.monotonic_ns() // 1000


def wait_until(what, limit_s, condition):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.01)
    raise Trouble(f"{what} did not happen in {limit_s} s")


class Process:
    """The runtime, seen from outside."""

    def __init__(self, command, environment, log):
        self.log = log
        with open(log, "wb") as output:
            self.started_us = now_us()
            self.child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL,
                                          stdout=output, stderr=subprocess.STDOUT,
                                          start_new_session=True)
        self.pid = self.child.pid

    def cpu_s(self):
        """Seconds that all its threads, ended ones included, have had a core."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def kernel_s(self):
        """Of those the seconds in the kernel, to a hundredth."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[12]) / os.sysconf("SC_CLK_TCK")

    def _number(self, file, field):
        for line in pathlib.Path(f"/proc/{self.pid}/{file}").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise Trouble(f"/proc/{self.pid}/{file} has no {field}")

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
        """Ends it as a supervisor would; Trouble when it does not end with status 0."""
        if self.is_running():
            self.child.terminate()
        try:
            status = self.child.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            status = "killed"
        if status != 0:
            words = self.log.read_text(errors="replace")[-2000:]
            raise Trouble(f"{self.log.name} ended with {status}:\n{words}")


class World:
    """
    An empty board with agents of latency_ms. Used as a context manager. Nobody is woken unless
    show_agents is given; secure names what is reached over TLS: "backend", or "both" of backend and
    gateway.
    """

    def __init__(self, latency_ms=0, show_agents=False, secure=None):
        self.secure = secure
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
        if not show_agents:
            self.ask("POST", "/sandbox/settings", {"hide_agents": True})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.runtime is not None and self.runtime.is_running():
            self.runtime.child.kill()
            self.runtime.child.wait()
        self.stack.close()

    def _spawn(self, log, *command):
        environment = {"PATH": os.environ["PATH"], "ACCOUNT_ID": ACCOUNT,
                       "SERVICE_TOKEN": SERVICE_TOKEN, "OPENCLAW_GATEWAY_TOKEN": GATEWAY_TOKEN}
        process = Process(command, environment, self.directory / log)
        self.stack.callback(process.child.wait)
        self.stack.callback(process.child.terminate)
        return process

    def _start_sandbox(self, latency_ms):
        words = "listening on "
        sandbox = self._spawn("sandbox.log", str(BUILD / "mission-control-sandbox"), "--port", "0",
                              "--latency-ms", str(latency_ms))
        wait_until("the sandbox's start", 20, lambda: words in sandbox.log.read_text())
        self.port = int(sandbox.log.read_text().strip().rpartition(":")[2])

    def _start_tls(self):
        """A TLS server with a certificate of its own before the sandbox."""
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
        wait_until("the start of stunnel", 20, self._has_tls)

    def _has_tls(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.tls_port)) == 0

    def ask(self, method, path, body=None):
        """One request to the sandbox's control API; its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_LIMIT_S + 10)
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise Trouble(f"{method} {path}: {answer.status} {text[:200]!r}")
        return json.loads(text)

    def wait(self, limit_s=WAIT_LIMIT_S, **conditions):
        """Until the conditions of GET /sandbox/wait hold; the statistics of that moment."""
        query = "&".join(f"{name}={value}" for name, value in conditions.items())
        answer = self.ask("GET", f"/sandbox/wait?{query}&timeout_ms={limit_s * 1000}")
        if not answer["met"]:
            words = self.runtime.log.read_text(errors="replace")[-2000:] if self.runtime else ""
            raise Trouble(f"{query} was not reached in {limit_s} s\n{words}")
        return answer

    def load(self, notifications, agents):
        self.ask("POST", "/sandbox/load", {"notifications": notifications, "agents": agents})

    def timings(self):
        return self.ask("GET", "/sandbox/timings")["timings"]

    def start_runtime(self, workers=10, wrapper=(), health_port=0, **settings):
        """Starts the runtime, every other setting at its default; wrapper runs it."""
        gateway_url = url = f"http://127.0.0.1:{self.port}"
        environment = {"PATH": os.environ["PATH"], "ACCOUNT_ID": ACCOUNT,
                       "SERVICE_TOKEN": SERVICE_TOKEN, "OPENCLAW_GATEWAY_TOKEN": GATEWAY_TOKEN,
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

    def run_floor(self, means):
        """Delivers what is listed by the floor; seconds of the processor and of the kernel."""
        state = self.directory / "floor"
        state.mkdir()
        environment = {"PATH": os.environ["PATH"], "ACCOUNT_ID": ACCOUNT,
                       "SERVICE_TOKEN": SERVICE_TOKEN, "OPENCLAW_GATEWAY_TOKEN": GATEWAY_TOKEN}
        ended = subprocess.run([BUILD / "test/bench/floor", means, str(self.port), state],
                               env=environment, check=False, capture_output=True, text=True)
        if ended.returncode != 0:
            raise Trouble(f"the floor: {ended.stderr.strip()}")
        used_s, kernel_s = ended.stdout.split()
        return float(used_s), float(kernel_s)

    def settle(self, pause_s=1):
        """Until the runtime has polled, and what a start brings with it is over."""
        self.wait(action="listUndeliveredNotifications", calls=1)
        self.wait(action="updateRuntimeStatus", calls=1)
        time.sleep(pause_s)

"""A test harness: sandboxes as backend and gateway, and a runtime between them."""

import glob
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request

LIMIT_S = 30
ACCOUNT = "k57br0wser0acc0nt000000000000000"
SECRET = "0123456789abcdef0123456789abcdef"
GATEWAY_TOKEN = "gateway-secret-for-tests"


def wait_for(condition, message):
    """Returns the first true value of condition; RuntimeErrors meanwhile count as false."""
    deadline = time.monotonic() + LIMIT_S
    last = None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if last:
                return last
        except RuntimeError as error:
            last = error
        time.sleep(0.05)
    raise RuntimeError("%s (last: %r)" % (message, last))


def get(url):
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
        return answer.read().decode()


class Program:
    """A program that prints a line with its port once it is ready."""

    def __init__(self, arguments, environment, ready):
        self.log = tempfile.NamedTemporaryFile("w+")
        self.process = subprocess.Popen(
            arguments, env=environment, stdout=self.log, stderr=subprocess.STDOUT)
        self.port = self._wait_for(ready)

    def _wait_for(self, ready):
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with open(self.log.name, encoding="utf-8") as log:
                for line in log:
                    if ready in line:
                        return int(line.split(ready)[1].split("/")[0].split(":")[-1])
            time.sleep(0.02)
        with open(self.log.name, encoding="utf-8") as log:
            raise RuntimeError("program failed to start: " + log.read())

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(LIMIT_S)
        return self.process.returncode


class Harness:
    """Ended by close(). agents are slugs; while they are hidden, no heartbeats are sent to them. The
    clocks of all its programs run speed times as fast as the system's."""

    def __init__(self, build, agents, speed=1, hidden=True, settings=None):
        self.build = build
        self.agents = agents
        self.speed = speed
        self.began = time.monotonic()
        self.directory = tempfile.TemporaryDirectory(prefix="mission-control-test-")
        self.environment = {
            "PATH": os.environ["PATH"],
            "ACCOUNT_ID": ACCOUNT,
            "SERVICE_TOKEN": "mc_service_%s_%s" % (ACCOUNT, SECRET),
            "OPENCLAW_GATEWAY_TOKEN": GATEWAY_TOKEN,
            "OPENCLAW_VERSION": "2026.9.6",
            "STATE_DIR": self.directory.name + "/state",
            "HEALTH_PORT": "0",
            "DELIVERY_INTERVAL": "200",
            "SHUTDOWN_GRACE_MS": "3000",
            **{name: value for name, value in os.environ.items() if "SAN_OPTIONS" in name},
            **(settings or {}),
        }
        self.programs = []
        self.board = self._start_sandbox(0)
        self.post(self.board, "settings", {"hide_agents": hidden})
        self.gateway = None
        self.start_gateway()
        self.runtime = None

    def _start_sandbox(self, port):
        program = self._launch("listening on http://127.0.0.1:", self.environment,
                               "mission-control-sandbox", "--port", str(port))
        self.post(program, "seed", {"agents": [{"slug": slug} for slug in self.agents]})
        return program

    def _launch(self, ready, environment, name, *arguments):
        if self.speed != 1:
            # A clock runs fast from its program's start, so later programs start with an offset.
            offset_s = (time.monotonic() - self.began) * (self.speed - 1)
            [library] = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
            environment = dict(environment, LD_PRELOAD=library,
                               FAKETIME="+%.3f x%d" % (offset_s, self.speed))
        program = Program([self.build + "/" + name, *arguments], environment, ready)
        self.programs.append(program)
        return program

    def start_gateway(self):
        """Reuses the port of the previous gateway, if there was one."""
        self.gateway = self._start_sandbox(self.gateway.port if self.gateway else 0)

    def start_runtime(self):
        environment = dict(
            self.environment,
            CONVEX_URL="http://127.0.0.1:%d" % self.board.port,
            OPENCLAW_GATEWAY_URL="http://127.0.0.1:%d" % self.gateway.port)
        if self.runtime:
            environment["HEALTH_PORT"] = str(self.runtime.port)
        self.runtime = self._launch(
            "Listening on 127.0.0.1 port ", environment, "mission-control-runtime")

    def page(self, path="/"):
        return "http://127.0.0.1:%d%s" % (self.runtime.port, path)

    def status(self):
        return json.loads(get(self.page("/status")))

    def post(self, program, path, body):
        request = urllib.request.Request(
            "http://127.0.0.1:%d/sandbox/%s" % (program.port, path), json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return json.load(answer)

    def load(self, notifications, agents):
        self.post(self.board, "load", {"notifications": notifications, "agents": agents})

    def toggle_pause(self):
        self.runtime.signal(signal.SIGUSR2)

    def close(self):
        for program in reversed(self.programs):
            program.stop()
        self.directory.cleanup()

"""Takes the screenshots of the status page for docs/. Usage: screenshots.py BUILD CHROMIUM DIR

All clocks run twenty times as fast, in the browser that of the page, so the charts show half an
hour after a minute and a half. Then the first picture is taken, of a healthy runtime at work. After it
one agent's requests begin to be refused and another's run hangs; the other pictures show the page
once it says degraded, which it does when a notification has been failing for five minutes.
"""

import math
import os
import random
import sys
import threading
import time

import png
from harness import SECRET, Harness, wait_for
from webdriver import Browser

SPEED = 20
HALF_AN_HOUR_S = 31 * 60
MAX_BYTES = 200000
# Name, width in pixels, and the state that the page says the runtime is in.
SCREENSHOTS = [("light", 1200, "healthy"), ("dark", 1200, "degraded"), ("phone", 390, "degraded")]
AGENTS = ["jarvis", "friday", "edith", "vision", "karen", "homer"]
ACCOUNT = "k57a3m9x2h7q4r8t1v5w6y0z2c4d7e9f"
SLOW = {"latency_ms": 1200, "latency_exponential_ms": 2500}


# The page's clock, from a moment at which it was right. Its timers stay those of the system.
FAST_CLOCK = """
    (() => {
      const SystemDate = Date;
      const now = () => Math.round(%(origin_ms)d + (SystemDate.now() - %(origin_ms)d) * %(speed)d);
      window.Date = class extends SystemDate {
        constructor(...fields) { super(...(fields.length ? fields : [now()])); }
        static now() { return now(); }
      };
    })();"""
MAX_CLOCK_ERROR_MS = 60 * 1000


class Workload:
    """Creates notifications in a thread of its own until end()."""

    def __init__(self, harness):
        self.harness = harness
        self.began = time.monotonic()
        self.ended = threading.Event()
        self.random = random.Random(7)
        # A task each, or every agent would be notified of the others' replies.
        self.tasks = {agent: harness.post(harness.board, "seed", {"tasks": [{"title": agent}]})
                      ["tasks"][0]["id"] for agent in AGENTS}
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def elapsed_s(self):
        return (time.monotonic() - self.began) * SPEED

    def _run(self):
        while not self.ended.wait(0.25 + 0.15 * math.sin(self.elapsed_s() / 170)):
            agent = self.random.choice(AGENTS)
            self.harness.post(self.harness.board, "notify", {
                "agent": agent, "task": self.tasks[agent], "type": "assignment"})

    def end(self):
        self.ended.set()
        self.thread.join()


def set_faults(harness, *rules):
    harness.post(harness.gateway, "faults/clear", {})
    harness.post(harness.gateway, "faults", {"gateway": [*rules, SLOW]})


def run_half_an_hour(harness, workload):
    """One agent fails a few times in the middle."""
    while workload.elapsed_s() < 1000:
        time.sleep(0.1)
    set_faults(harness, {
        "match": {"agent": "karen"}, "action": "status", "status": 500, "times": 5, "body_json": {
        "object": "response", "status": "failed", "error": {"message": "the model is overloaded"}}})
    while workload.elapsed_s() < HALF_AN_HOUR_S:
        time.sleep(0.1)


def break_two_agents(harness):
    set_faults(harness, {"match": {"agent": "edith"}, "action": "hold"}, {
        "match": {"agent": "vision"}, "action": "status", "status": 400,
        "body": "the model of this agent is not set up"})


def open_page(browser, harness):
    """Opens the page with a fast clock; from then on it counts its polls."""
    origin_ms = (time.time() - time.monotonic() + harness.began) * 1000
    browser.devtools("Page.addScriptToEvaluateOnNewDocument",
                     source=FAST_CLOCK % {"origin_ms": origin_ms, "speed": SPEED})
    browser.open(harness.page())
    browser.run("""
        window.answered = 0;
        const originalFetch = window.fetch;
        window.fetch = (...all) => originalFetch(...all).finally(() => window.answered++);""")


def wait_for_redraw(browser):
    """Waits for two more polls of the page, so that the first of them has been drawn."""
    before = browser.run("return window.answered")
    wait_for(lambda: browser.run("return window.answered") >= before + 2, "the page does not poll")
    wait_for(lambda: browser.run("return document.getAnimations().length") == 0,
             "the animation did not end")


def state_of_page(browser):
    return browser.run("return document.getElementById('state').dataset.state")


def check_clock(browser, harness):
    """The times of errors and that of the page are of one clock, or they would contradict."""
    error = harness.status()["errors"][0]
    runtime_ms = error["at"] + error["agoMs"]
    page_ms = browser.run("return Date.now()")
    if abs(runtime_ms - page_ms) > MAX_CLOCK_ERROR_MS:
        raise RuntimeError("the page's clock is %d s from the runtime's" % ((page_ms - runtime_ms) / 1000))


def take_screenshots(browser, harness, directory):
    pictures = []
    for name, width, state in SCREENSHOTS:
        path = os.path.join(directory, "status-page-%s.png" % name)
        if state == "degraded" and state_of_page(browser) == "healthy":
            break_two_agents(harness)
        wait_for(lambda: state_of_page(browser) == state, "the page is not %s" % state)
        browser.set_scheme("dark" if name == "dark" else "light")
        browser.set_width(width)
        wait_for_redraw(browser)
        check_clock(browser, harness)
        pictures.append((path, browser.screenshot()))
        if state_of_page(browser) != state:
            raise RuntimeError("the page was no longer %s in %s" % (state, path))
    for path, picture in pictures:
        small = png.shrink(picture)
        print("%s: %d bytes" % (path, len(small)), flush=True)
        if len(small) > MAX_BYTES:
            raise RuntimeError("%s is too large" % path)
        with open(path, "wb") as file:
            file.write(small)


def work_and_take_screenshots(browser, harness, directory):
    open_page(browser, harness)
    workload = Workload(harness)
    try:
        run_half_an_hour(harness, workload)
        take_screenshots(browser, harness, directory)
    finally:
        workload.end()


def main():
    build, program, directory = sys.argv[1:]
    harness = Harness(build, AGENTS, SPEED, False, {
        "ACCOUNT_ID": ACCOUNT, "SERVICE_TOKEN": "mc_service_%s_%s" % (ACCOUNT, SECRET),
        "DELIVERY_INTERVAL": "4000", "OPENCLAW_REQUEST_TIMEOUT_MS": "600000",
        "BOARD_URL": "https://board.example.com"})
    try:
        set_faults(harness)
        harness.start_runtime()
        # Before the work begins: the seconds that it takes to start are minutes for the runtime.
        browser = Browser(program)
        try:
            work_and_take_screenshots(browser, harness, directory)
        finally:
            browser.close()
    finally:
        harness.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

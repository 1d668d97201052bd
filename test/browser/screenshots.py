"""Takes the pictures of the page that are in docs/. Usage: screenshots.py BUILD CHROMIUM FOLDER

All clocks but the browser's run twenty times as fast, so that the charts show half an hour after a
minute and a half.
"""

import math
import os
import random
import sys
import threading
import time

import png
from webdriver import Browser
from world import World

SPEED = 20
HALF_AN_HOUR_S = 31 * 60
MOST_BYTES = 200000
PICTURES = [("light", 1200), ("dark", 1200), ("phone", 390)]
AGENTS = ["jarvis", "friday", "edith", "vision", "karen", "homer"]
SLOW = {"latency_ms": 1200, "latency_exponential_ms": 2500}


class Work:
    """Notifications that come and go, from a thread of its own until end()."""

    def __init__(self, world):
        self.world = world
        self.began = time.monotonic()
        self.ended = threading.Event()
        self.random = random.Random(7)
        # Each has a task of its own, or all would hear of each other's replies.
        self.tasks = {agent: world.post(world.board, "seed", {"tasks": [{"title": agent}]})
                      ["tasks"][0]["id"] for agent in AGENTS}
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def gone_s(self):
        return (time.monotonic() - self.began) * SPEED

    def _run(self):
        while not self.ended.wait(0.25 + 0.15 * math.sin(self.gone_s() / 170)):
            agent = self.random.choice(AGENTS)
            self.world.post(self.world.board, "notify", {
                "agent": agent, "task": self.tasks[agent], "type": "assignment"})

    def end(self):
        self.ended.set()
        self.thread.join()


def set_faults(world, *rules):
    world.post(world.gateway, "faults/clear", {})
    world.post(world.gateway, "faults", {"gateway": [*rules, SLOW]})


def work_for_half_an_hour(world, work):
    """With a gateway that fails now and then in the middle of it, and two agents in the end: one
    that does not come to an end, and one that is not set up."""
    while work.gone_s() < 1000:
        time.sleep(0.1)
    set_faults(world, {
        "match": {"agent": "karen"}, "action": "status", "status": 500, "times": 5, "body_json": {
        "object": "response", "status": "failed", "error": {"message": "the model is overloaded"}}})
    while work.gone_s() < HALF_AN_HOUR_S - 100:
        time.sleep(0.1)
    set_faults(world, {"match": {"agent": "edith"}, "action": "hold"}, {
        "match": {"agent": "vision"}, "action": "status", "status": 400,
        "body": "the model of this agent is not set up"})
    while work.gone_s() < HALF_AN_HOUR_S:
        time.sleep(0.1)


def take(browser, world, directory):
    pictures = []
    browser.open(world.page())
    for name, width in PICTURES:
        path = os.path.join(directory, "status-page-%s.png" % name)
        browser.set_scheme("dark" if name == "dark" else "light")
        browser.set_width(width)
        time.sleep(2.5)
        pictures.append((path, browser.screenshot()))
    for path, picture in pictures:
        small = png.shrink(picture)
        print("%s: %d bytes" % (path, len(small)), flush=True)
        if len(small) > MOST_BYTES:
            raise RuntimeError("%s is too large" % path)
        with open(path, "wb") as file:
            file.write(small)


def main():
    build, program, directory = sys.argv[1:]
    world = World(build, AGENTS, SPEED, False, {
        "DELIVERY_INTERVAL": "4000", "OPENCLAW_REQUEST_TIMEOUT_MS": "600000"})
    try:
        set_faults(world)
        world.start_runtime()
        work = Work(world)
        try:
            work_for_half_an_hour(world, work)
            browser = Browser(program)
            try:
                take(browser, world, directory)
            finally:
                browser.close()
        finally:
            work.end()
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

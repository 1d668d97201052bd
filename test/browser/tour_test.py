"""Tests the board together with a runtime: its tour, and an agent made on the page that comes alive.
Usage: tour_test.py BUILD CHROMIUM

The test takes the part of the supervisor: it writes the file with the runtime's process id, and
starts a runtime that the tour has killed again."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from board_test import Board, choose, fill, submit
from harness import LIMIT_S, Program, get, wait_for
from page_test import expect, run_tests

AGENT_LIMIT_S = 10
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class LiveBoard(Board):
    """A board and a supervised runtime, with the demo's settings; ended by close()."""

    def __init__(self, build, *options):
        self.directory = tempfile.TemporaryDirectory(prefix="mission-control-test-")
        self.pid_file = self.directory.name + "/runtime.pid"
        super().__init__(build, "--runtime-pid-file", self.pid_file, "--latency-ms", "600",
                         *options)
        self.runtime = None
        self.health_port = "0"
        self.start_runtime()

    def start_runtime(self):
        environment = dict(
            self.environment, CONVEX_URL=self.base, OPENCLAW_GATEWAY_URL=self.base,
            OPENCLAW_GATEWAY_TOKEN="local", STATE_DIR=self.directory.name + "/state",
            HEALTH_PORT=self.health_port, BOARD_URL=self.base + "/", DELIVERY_INTERVAL="1000",
            AGENT_SYNC_INTERVAL="5000")
        self.runtime = Program([self.build + "/mission-control-runtime"], environment,
                               "Listening on 127.0.0.1 port ")
        self.health_port = str(self.runtime.port)
        with open(self.pid_file, "w", encoding="utf-8") as file:
            file.write("%d\n" % self.runtime.process.pid)
        self.post("/sandbox/settings", {"runtime_url": "http://127.0.0.1:%s/" % self.health_port})

    def health(self):
        return json.loads(get("http://127.0.0.1:%s/status" % self.health_port))

    def replies(self):
        return json.loads(get(self.base + "/sandbox/stats"))["replies"]

    def close(self):
        self.runtime.stop()
        self.program.stop()
        self.directory.cleanup()


def start_tour(browser, name):
    wait_for(lambda: browser.run("return !tour.running"), "the tour before goes on")
    browser.run("document.querySelector('[data-tour=' + arguments[0] + ']').click()", name)


def steps(browser):
    """The states and the texts of the tour's steps."""
    return browser.run("return tour.steps.map((one) => [one.state, one.text])")


def wait_for_end(browser):
    """Waits until the tour has ended, and checks that all steps were done."""
    wait_for(lambda: browser.run("return !tour.running"), "the tour did not end")
    found = steps(browser)
    expect(all(state == "done" for state, _ in found), "not all was done: %s" % found)
    return [text for _, text in found]


def test_pages_of_board_and_runtime_lead_to_each_other(browser, board):
    browser.set_width(1280, 800)
    browser.open(board.base + "/")
    wait_for(lambda: browser.text("#runtime") == "Runtime online", "the runtime is not online")
    browser.open(browser.run("return document.getElementById('runtime-link').href"))
    wait_for(lambda: browser.run("return !document.getElementById('board').hidden"),
             "the runtime's page has no link")
    back = browser.run("return document.getElementById('board').href")
    expect(back == board.base + "/", "the way back leads to " + back)
    browser.open(back)


def test_tour_mentions_an_agent(browser, board):
    choose(browser, "Plan the launch")
    start_tour(browser, "mention")
    wait_for(lambda: "Friday is typing" in browser.text("#waiting"), "Friday is not typing")
    texts = wait_for_end(browser)
    expect("The reply is in the thread, " in texts[-1], "wrong end: %s" % texts)
    expect("@friday what would you do first?" in browser.text("#thread"), "the message is missing")
    wait_for(lambda: "friday here." in browser.text("#thread"), "the reply is missing")


def end_distance(browser):
    """How far the thread is from its end, in pixels."""
    return browser.run("""
        const part = document.getElementById("messages");
        return part.scrollHeight - part.clientHeight - part.scrollTop;""")


def test_newest_message_stays_in_sight_when_the_tour_opens(browser, board):
    """The thread has replies by now, of which not all fit."""
    choose(browser, "Plan the launch")
    wait_for(lambda: "friday here." in browser.text("#thread"), "the thread is missing")
    for is_open in (False, True, False, True):
        before = browser.run("return document.getElementById('messages').clientHeight")
        browser.run("document.getElementById('tour').open = arguments[0]", is_open)
        wait_for(lambda before=before: browser.run(
            "return document.getElementById('messages').clientHeight") != before or is_open,
            "the tour takes no room")
        wait_for(lambda: end_distance(browser) < 2, "the newest message is out of sight")
    browser.run("document.getElementById('messages').scrollTop = 0")
    wait_for(lambda: browser.run("return !isAtEnd"), "going up is not noticed")
    browser.run("document.getElementById('tour').open = false")
    wait_for(lambda: browser.run("return document.getElementById('messages').scrollTop") == 0,
             "a reader of older messages is taken to the newest")
    browser.run("document.getElementById('tour').open = true")


def test_tour_on_a_phone_shows_the_thread(browser, board):
    browser.set_width(390, 844)
    browser.open(board.base + "/")
    wait_for(lambda: browser.text("#runtime") == "Runtime online", "the runtime is not online")
    expect(browser.run("return document.body.dataset.view") == "list", "it does not open at the list")
    browser.run("document.getElementById('tour').open = true")
    start_tour(browser, "mention")
    wait_for(lambda: browser.run("return document.body.dataset.view") == "thread",
             "the thread is not shown")
    expect(browser.run("return !document.getElementById('tour-buttons').checkVisibility() || !tour.running"),
           "buttons that cannot be used take the thread's room")
    wait_for_end(browser)
    wait_for(lambda: end_distance(browser) < 2, "the reply is out of sight")
    height = browser.run("return document.getElementById('messages').clientHeight")
    expect(9 * 15 <= height <= 844 - 200, "the thread has %d px" % height)
    below = browser.run("""
        const bottom = (selector) => document.querySelector(selector).getBoundingClientRect().bottom;
        return bottom("#send") - bottom("main");""")
    expect(below < 0, "Send hangs %d px out of its card" % below)
    browser.set_width(1280, 800)
    browser.open(board.base + "/")
    wait_for(lambda: browser.text("#runtime") == "Runtime online", "the runtime is not online")


def replies_of(board, agent):
    author = board.id_of("agents", agent)
    return [one for one in board.state("messages")["messages"] if one["authorId"] == author]


def test_tour_breaks_the_gateway(browser, board):
    """Its half minute is cut short, as a visitor could by the control API."""
    before = len(replies_of(board, "friday"))
    start_tour(browser, "gateway")
    wait_for(lambda: "The gateway works again in " in steps(browser)[2][1], "no time is shown")
    wait_for(lambda: board.health()["gateway"]["state"] == "shut", "the circuit breaker is not open")
    wait_for(lambda: browser.text("#runtime") == "Runtime degraded", "the runtime is not degraded")
    expect(browser.text("#waiting") == "Waiting for Friday ...", "the message does not wait")
    [rule] = json.loads(get(board.base + "/sandbox/faults"))["rules"]
    expect(15000 < rule["left_ms"] <= 30000, "it breaks for %d ms" % rule["left_ms"])
    board.post("/sandbox/faults/clear", {})
    texts = wait_for_end(browser)
    expect("once, with nothing lost" in texts[-1], "wrong end: %s" % texts)
    expect(len(replies_of(board, "friday")) == before + 1, "Friday did not reply once")


def test_tour_kills_the_runtime(browser, board):
    before = len(replies_of(board, "friday"))
    start_tour(browser, "kill")
    wait_for(lambda: board.runtime.process.poll() is not None, "the runtime was not killed")
    expect(board.runtime.process.returncode == -signal.SIGKILL, "it ended otherwise")
    wait_for(lambda: browser.text("#runtime") == "Runtime lost", "the runtime is not lost")
    wait_for(lambda: browser.text("#waiting") ==
             "Waiting for Friday: the runtime is lost, so the message waits on the board.",
             "the wait is said to be " + browser.text("#waiting"))
    expect("typing" not in browser.text("#tasks"), "an agent is typing without a runtime")
    expect(browser.text("#runtime-seen").startswith("last call "), "its last call is not said")
    board.start_runtime()
    texts = wait_for_end(browser)
    expect("killed while Friday was at work (SIGKILL)" in texts[1], "wrong end: %s" % texts)
    expect("asked again, and the reply is in the thread: once" in texts[-1], "wrong end: %s" % texts)
    expect(len(replies_of(board, "friday")) == before + 1, "Friday did not reply once")
    wait_for(lambda: browser.text("#runtime") == "Runtime online", "the runtime is not online")


def test_agent_made_on_the_page_comes_alive(browser, board):
    choose(browser, "Compare three hosting offers")
    browser.run("document.getElementById('new-agent-part').open = true")
    fill(browser, agent_name="Karen", agent_role="Writer", agent_soul="You write short texts.")
    submit(browser, "new-agent")
    wait_for(lambda: browser.run("return document.getElementById('content').value") == "@karen ",
             "the mention is not there")
    begun = time.monotonic()
    browser.run("document.getElementById('content').value += 'hello'")
    submit(browser, "post")
    wait_for(lambda: "karen here." in browser.text("#thread"), "Karen does not answer")
    took_s = time.monotonic() - begun
    expect(took_s < AGENT_LIMIT_S, "Karen took %.1f s to answer" % took_s)


def test_version_0_shows_who_is_at_work(browser, board):
    """Its board knows of no typing, so the gateway's runs tell; agents are made on version 1 only."""
    old = LiveBoard(board.build, "--backend", "v0", "--latency-ms", "3000")
    try:
        browser.open(old.base + "/")
        wait_for(lambda: browser.text("#runtime") == "Runtime online", "the runtime is not online")
        start_tour(browser, "mention")
        wait_for(lambda: "typing ..." in browser.text("#waiting"), "nobody is typing")
        wait_for_end(browser)
        expect(not browser.run("return document.getElementById('new-agent').checkVisibility()"),
               "agents can be made")
    finally:
        old.close()
        browser.open(board.base + "/")


def test_stopped_runtime_is_shown(browser, board):
    expect(board.runtime.stop() == 0, "the runtime did not exit with status 0")
    wait_for(lambda: browser.text("#runtime") == "Runtime stopped", "the runtime is not stopped")
    expect("online" not in browser.text("#agents"), "an agent is online without a runtime")
    board.start_runtime()
    wait_for(lambda: browser.text("#runtime") == "Runtime online", "the runtime is not online")


def test_demo_starts_a_killed_runtime_again(browser, board):
    """scripts/demo.sh, which supervises its runtime."""
    with tempfile.NamedTemporaryFile("w+") as output:
        demo = subprocess.Popen([ROOT + "/scripts/demo.sh"], stdout=output, stderr=subprocess.STDOUT,
                                env=dict(os.environ, BUILD=board.build))

        def said(words):
            with open(output.name, encoding="utf-8") as text:
                return re.search(words, text.read())

        try:
            wait_for(lambda: demo.poll() is not None or said("Press Ctrl-C"), "it does not start")
            base = said(r"Board \(write to an agent\): (\S+)/").group(1)
            url = json.loads(get(base + "/sandbox/runtime"))["url"]
            killed = Board.post(type("Demo", (), {"base": base}), "/sandbox/runtime/kill", {})["killed"]
            wait_for(lambda: said(r"The runtime is back: process \d+"), "the runtime is not back")
            expect(str(killed) not in said(r"process (\d+)").group(1), "it is the killed process")
            expect(json.loads(get(url + "version")), "the runtime does not answer where it did")
        finally:
            demo.terminate()
            demo.wait(LIMIT_S)
        expect(demo.returncode == 0, "the demo ended with %d" % demo.returncode)


def test_policy_is_kept(browser, board):
    found = browser.console()
    expect(not found, "console messages: %s" % found[:3])


def main():
    build, program = sys.argv[1:]
    board = LiveBoard(build)
    try:
        return run_tests(globals(), program, board)
    finally:
        board.close()


if __name__ == "__main__":
    sys.exit(main())

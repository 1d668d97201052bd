"""Tests the sandbox's board, on backend version 1. Usage: board_test.py BUILD CHROMIUM"""

import json
import os
import sys
import urllib.request

from harness import ACCOUNT, SECRET, LIMIT_S, Program, get, wait_for
from page_test import BACKGROUND, brightness, check_contrasts, expect, run_tests

COLUMNS = ["inbox", "assigned", "in progress", "review", "blocked", "done"]


class Board:
    """A sandbox with the demo of version 1, and no runtime."""

    def __init__(self, build):
        token = "mc_service_%s_%s" % (ACCOUNT, SECRET)
        environment = {"PATH": os.environ["PATH"], "ACCOUNT_ID": ACCOUNT, "SERVICE_TOKEN": token,
                       **{name: value for name, value in os.environ.items() if "SAN_OPTIONS" in name}}
        self.token = token
        self.program = Program(
            [build + "/mission-control-sandbox", "--backend", "v1", "--demo", "--port", "0"],
            environment, "listening on http://127.0.0.1:")
        self.base = "http://127.0.0.1:%d" % self.program.port

    def post(self, path, body, **headers):
        request = urllib.request.Request(
            self.base + path, json.dumps(body).encode(),
            {"Content-Type": "application/json", **headers})
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return json.load(answer)

    def call(self, function, **arguments):
        answer = self.post("/api/action", {
            "path": "service/actions:" + function,
            "args": dict(arguments, accountId=ACCOUNT, serviceToken=self.token)})
        return answer["value"]

    def run_agent(self, slug, task, **body):
        """A run of the agent in a session of the task; returns the output of the answer."""
        key = "agent:%s:task:%s:%s:v1" % (slug, task, ACCOUNT)
        return self.post("/v1/responses", dict(body, model="openclaw:" + slug), **{
            "Authorization": "Bearer local", "x-openclaw-session-key": key})["output"]

    def state(self, tables):
        return json.loads(get("%s/sandbox/state?tables=%s" % (self.base, tables)))

    def id_of(self, table, name):
        return next(one["_id"] for one in self.state(table)[table]
                    if name in (one.get("slug"), one.get("title")))


def column(browser, status):
    return browser.text("[aria-labelledby='status-%s']" % status)


def choose(browser, title):
    browser.run("""
        for (const button of document.querySelectorAll("#tasks button"))
          if (button.firstChild.data === arguments[0]) button.click();""", title)
    wait_for(lambda: browser.text("#task-title") == title, title + " is not shown")


def test_tasks_are_in_the_columns_of_their_statuses(browser, board):
    browser.open(board.base + "/")
    wait_for(lambda: "Plan the launch" in browser.text("#tasks"), "the tasks are missing")
    headings = browser.run("""
        return [...document.querySelectorAll("#tasks h2")].map((one) => one.firstChild.data.trim())""")
    expect(headings == COLUMNS, "wrong columns: %s" % headings)
    expect("Compare three hosting offers" in column(browser, "review"), "the review is missing")
    expect("Vision" in column(browser, "review"), "the assignee is missing")


def test_a_changed_status_moves_the_card_and_keeps_the_focus(browser, board):
    choose(browser, "Make the start page faster")
    browser.run("""document.querySelector("#tasks button[aria-current=true]").focus()""")
    board.post("/sandbox/status", {"task": "Make the start page faster", "status": "in_progress"})
    wait_for(lambda: "Make the start page faster" in column(browser, "in_progress"),
             "the card did not move")
    expect(browser.run("return document.activeElement.firstChild.data") ==
           "Make the start page faster", "the focus was lost")


def test_typing_is_shown_until_it_ends(browser, board):
    choose(browser, "Plan the launch")
    posted = board.post("/sandbox/message", {"task": "Plan the launch", "content": "@friday hello"})
    notification = posted["notifications"][0]
    wait_for(lambda: browser.text("#waiting") == "Waiting for Friday ...", "nobody is waited for")
    board.call("markNotificationRead", notificationId=notification)
    wait_for(lambda: browser.text("#waiting") == "Typing: Friday ...", "Friday is not typing")
    expect("Friday typing" in column(browser, "in_progress"), "the card does not say so")
    board.call("markNotificationDeliveryEnded", notificationId=notification)
    wait_for(lambda: browser.text("#waiting") == "Waiting for Friday ...", "it did not end")
    board.call("createMessageFromAgent", agentId=board.id_of("agents", "friday"),
               taskId=board.id_of("tasks", "Plan the launch"), content="Hello **Ada**",
               sourceNotificationId=notification)
    board.call("markNotificationDelivered", notificationId=notification)
    wait_for(lambda: "Hello Ada" in browser.text("#thread"), "the reply is missing")
    wait_for(lambda: "Friday" not in browser.text("#waiting"), "Friday is still waited for")


PROMPT = """## Notification: mention
===== LATEST THREAD MESSAGE START =====
Message author: user (n1)
Message content:
%s
===== LATEST THREAD MESSAGE END =====
Task: x (in_progress)
Task ID: %s
---
Notification ID: js0"""

TOOLS = [{"type": "function", "name": name} for name in ("task_status", "document_upsert")]
MARKUP = "<img src=x onerror=alert(1)>"


def call_shown(browser, name):
    return browser.run("""
        return [...document.querySelectorAll("#calls summary")].map((one) => one.innerText)
          .filter((one) => one.includes(arguments[0])).join("; ")""", name)


def test_tool_calls_and_documents_are_shown(browser, board):
    """The test takes the part of the runtime: it carries out what the agent calls."""
    title = "Plan the launch"
    task, friday = board.id_of("tasks", title), board.id_of("agents", "friday")
    choose(browser, title)
    expect(browser.run("return document.getElementById('calls-part').hidden"), "calls of nobody")
    board.post("/sandbox/settings", {"gateway_tool_search": "directory"})
    calls = board.run_agent("friday", task, tools=TOOLS, input=PROMPT % (
        "@friday move this to review and write a note about " + MARKUP, task))
    wait_for(lambda: "waiting" in call_shown(browser, "document_upsert"), "the call is missing")
    status, document = (json.loads(call["arguments"]) for call in calls)
    board.call("updateTaskStatusFromAgent", agentId=friday, **status)
    wait_for(lambda: title in column(browser, "review"), "the card did not move")
    made = board.call("createDocumentFromAgent", agentId=friday, **document)
    outputs = ["task_status: " + json.dumps({"success": False, "error": MARKUP}),
               "document_upsert: " + json.dumps({"success": True, **made})]
    output = board.run_agent("friday", task, tools=TOOLS, input=[
        {"type": "function_call_output", "call_id": call["call_id"], "output": output}
        for call, output in zip(calls, outputs)])
    wait_for(lambda: "succeeded" in call_shown(browser, "document_upsert"), "it did not succeed")
    expect("Friday: task_status" in call_shown(browser, "failed"), "the failure is missing")
    board.call("createMessageFromAgent", agentId=friday, taskId=task,
               content=output[0]["content"][0]["text"])
    wait_for(lambda: MARKUP in browser.text("#documents"), "the document is missing")
    expect("(note, version 1)" in browser.text("#documents"), "its type is missing")
    expect("knows no more" not in browser.text("#documents"), "its content is shown at once")
    wait_for(lambda: browser.run("return document.querySelector('#thread a')"), "no link")
    browser.run("document.querySelector('#thread a').click()")
    expect("Written by friday" in browser.text("#documents"), "the link did not open it")
    board.call("createDocumentFromAgent", agentId=friday, documentId=made["documentId"],
               **dict(document, content="second version"))
    wait_for(lambda: "second version" in browser.text("#documents"), "it was closed or is old")
    browser.run("""for (const one of document.querySelectorAll("#calls details")) one.open = true""")
    expect('"error": "' + MARKUP in browser.text("#calls"), "the result is missing")
    expect(browser.run("return document.querySelectorAll('img').length") == 0, "markup was rendered")
    expect(browser.accessible("#calls") == ("list", "Tool calls (the latest 50)"), "no name")


def test_untrusted_text_is_not_rendered_as_markup(browser, board):
    board.post("/sandbox/seed", {"tasks": [{"title": MARKUP}]})
    wait_for(lambda: MARKUP in browser.text("#tasks"), "the task is missing")
    choose(browser, MARKUP)
    board.post("/sandbox/message", {"task": MARKUP, "content": MARKUP})
    wait_for(lambda: MARKUP in browser.text("#thread"), "the message is missing")
    choose(browser, "Plan the launch")
    expect(browser.run("return document.querySelectorAll('img').length") == 0, "markup was rendered")


def test_narrow_page_does_not_overflow(browser, board):
    for width in (320, 400, 800):
        browser.set_width(width)
        found = browser.run("return document.documentElement.scrollWidth")
        expect(found == width, "at %d px the page is %d px wide" % (width, found))
    browser.set_width(1200)


def test_contrast_suffices_in_both_colour_schemes(browser, board):
    for scheme, is_light in (("light", True), ("dark", False)):
        browser.set_scheme(scheme)
        expect((brightness(browser.run(BACKGROUND)) > 128) == is_light, "wrong scheme")
        check_contrasts(browser, scheme, 30)


def test_regions_have_names(browser, board):
    expect(browser.accessible("nav") == ("navigation", "Tasks"), "the navigation has no name")
    role, name = browser.accessible("[aria-labelledby=status-review]")
    expect(role == "region" and name.startswith("review"), "role %s, name %s" % (role, name))
    expect(browser.run("""
        return [...document.querySelectorAll("h1, h2, h3")].every((node, i, all) =>
          i === 0 ? node.tagName === "H1" : node.tagName[1] - all[i - 1].tagName[1] <= 1)"""),
           "heading levels are skipped")


def test_policy_is_kept(browser, board):
    found = browser.console()
    expect(not found, "console messages: %s" % found[:3])


def main():
    build, program = sys.argv[1:]
    board = Board(build)
    try:
        return run_tests(globals(), program, board)
    finally:
        board.program.stop()


if __name__ == "__main__":
    sys.exit(main())

"""Tests the sandbox's board, on backend version 1. Usage: board_test.py BUILD CHROMIUM"""

import contextlib
import json
import os
import re
import sys
import threading
import urllib.request

from harness import ACCOUNT, SECRET, LIMIT_S, Program, get, wait_for
from page_test import BACKGROUND, brightness, check_contrasts, expect, run_tests

COLUMNS = ["inbox", "assigned", "in progress", "review", "blocked", "done"]


NOBODY_CALLS = "no runtime has called yet, so the message waits on the board."


class Board:
    """A sandbox with the demo of version 1, with further options; no runtime."""

    def __init__(self, build, *options):
        token = "mc_service_%s_%s" % (ACCOUNT, SECRET)
        environment = {"PATH": os.environ["PATH"], "ACCOUNT_ID": ACCOUNT, "SERVICE_TOKEN": token,
                       **{name: value for name, value in os.environ.items() if "SAN_OPTIONS" in name}}
        self.build = build
        self.token = token
        self.environment = environment
        self.program = Program(
            [build + "/mission-control-sandbox", "--backend", "v1", "--demo", "--port", "0", *options],
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

    def message(self, task, content, **more):
        """Posts it in the task's thread; returns the notifications of it."""
        return self.post("/sandbox/message", {"task": task, "content": content, **more})["notifications"]

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
    expect(browser.text("#task-title") == "Plan the launch", "it opens with " + browser.text("#task-title"))
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
    wait_for(lambda: browser.text("#waiting") == "Waiting for Friday: " + NOBODY_CALLS,
             "nobody is waited for")
    board.call("markNotificationRead", notificationId=notification)
    wait_for(lambda: browser.text("#waiting") == "Friday is typing ...", "Friday is not typing")
    expect("typing in Plan the launch" in browser.text("#agents"), "the agent's row does not say so")
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


def in_sight(browser, selector):
    """Whether all of the first such element is in the window, and not covered or cut off."""
    return browser.run("""
        const node = document.querySelector(arguments[0]);
        if (!node) return false;
        const { left, top, right, bottom } = node.getBoundingClientRect();
        const inside = left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
        const at = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
        return inside && right > left && at !== null && (node.contains(at) || at.contains(node));""",
                       selector)


SIZES = [(1280, 800), (390, 844)]
FIRST_SIGHT = ["h1", "#about", "#runtime", "#tour summary", "#tasks h2", "#tasks button", "#task-title",
               "#messages", "#content", "#readers", "#send"]


def test_first_sight_has_everything(browser, board):
    board.message("Plan the launch", "Good morning")
    for width, height in SIZES:
        browser.set_width(width, height)
        for scheme in ("light", "dark"):
            browser.set_scheme(scheme)
            browser.open(board.base + "/")
            wait_for(lambda: "Good morning" in browser.text("#thread"), "the thread is missing")
            hidden = [selector for selector in FIRST_SIGHT if not in_sight(browser, selector)]
            expect(not hidden, "at %d x %d in %s not in sight: %s" % (width, height, scheme, hidden))
            expect(in_sight(browser, "#thread li:last-child .author"), "the last message is not in sight")
            expect(browser.run("return scrollY") == 0, "the page is scrolled at first")
    expect("a local stand-in for the board: write to an agent and see the runtime deliver it" in
           browser.text("#about").lower(), "it does not say what it is")
    browser.set_scheme("light")


def test_phone_opens_at_the_list_and_goes_to_the_thread_and_back(browser, board):
    browser.set_width(390, 844)
    browser.open(board.base + "/")
    wait_for(lambda: in_sight(browser, "#tasks button"), "the list is missing")
    expect(browser.run("return document.querySelector('#tasks button').innerText") ==
           "Tidy up the old pages", "the list does not begin at its top")
    expect(not in_sight(browser, "#back"), "there is a way back at first")
    choose(browser, "Compare three hosting offers")
    expect(not in_sight(browser, "#tasks"), "the list stays")
    expect(browser.run("return document.activeElement.id") == "back", "the focus is lost")
    for selector in ("#task-title", "#content", "#send", "#back"):
        expect(in_sight(browser, selector), selector + " is not in sight")
    browser.run("document.getElementById('back').click()")
    expect(in_sight(browser, "#tasks [aria-current=true]"), "the list does not come back to the task")
    browser.set_width(1280, 800)


def test_agents_have_initials_and_are_not_woken_yet(browser, board):
    expect(browser.run("return document.querySelector('#agents .initials').innerText") == "JA",
           "no initials")
    agents = browser.text("#agents")
    expect(agents.count("not woken yet") == 4, "wrong states: " + agents)
    expect("offline" not in agents and "never" not in agents, "an agent is called offline or never")
    board.call("updateAgentHeartbeat", agentId=board.id_of("agents", "vision"), status="online")
    wait_for(lambda: "online, last woken just now" in browser.text("#agents"), "Vision is not woken")


def readers(browser, content):
    browser.run("""
        const content = document.getElementById("content");
        content.value = arguments[0];
        content.dispatchEvent(new Event("input"));""", content)
    return lambda text: wait_for(lambda: browser.text("#readers") == text, text + " is not said")


def test_page_says_who_reads_a_message(browser, board):
    choose(browser, "Compare three hosting offers")
    readers(browser, "")("Read by Vision and Jarvis (follow the thread).")
    readers(browser, "@friday and @edith, look")("Read by Friday and Edith (mentioned).")
    choose(browser, "Tidy up the old pages")
    readers(browser, "hello")("No agent reads this: none follows the thread. Mention one to be read.")
    choose(browser, "Answer the letter of the tax office")
    readers(browser, "hello")("No agent reads this: the task is blocked. Mention one to be read.")
    choose(browser, "Orchestrator chat")
    readers(browser, "")("Read by Jarvis (follows the thread).")
    readers(browser, "")
    choose(browser, "Plan the launch")


MARKDOWN = """# Findings
First line
second **bold** and *slanted*, `x < 1`

- one
- two
  - two and a half
    more of it
1. first
2. second

> quoted

```js
let a = "<b>**not bold**</b>";
```
[the offer](https://example.com/x) [click](javascript:alert`1`) https://example.com
@friday in js0123456789abcdefghjkmnpqrstvwx"""

HOSTILE = """**<b>x</b>** `<i>y</i>` [<u>z</u>](javascript:alert(2)) ![p](https://example.com/p.png)
<script>document.title = "injected"</script>
- <img src=x onerror=alert(1)>
> <svg onload=alert(1)>
```
</code></pre><img src=x onerror=alert(1)>
```"""


def last_message(browser, script):
    return browser.run("const last = document.querySelector('#thread > li:last-child');" + script)


def show_message(browser, board, content):
    choose(browser, "Plan the launch")
    before = browser.run("return document.querySelectorAll('#thread > li').length")
    board.message("Plan the launch", content, author="friday")
    wait_for(lambda: browser.run("return document.querySelectorAll('#thread > li').length") > before,
             "the message is missing")


def test_replies_are_rendered_as_markdown(browser, board):
    show_message(browser, board, MARKDOWN)
    found = last_message(browser, """
        const texts = (selector) => [...last.querySelectorAll(selector)].map((one) => one.innerText);
        return { heading: texts("p.heading"), strong: texts("p strong"), em: texts("em"),
          code: texts("p code"), items: texts(":scope > ul > li"), nested: texts("ul ul li"),
          numbers: texts(":scope > ol > li"), quote: texts("blockquote"), block: texts("pre code"),
          links: last.querySelectorAll("a").length, text: last.innerText };""")
    expect(found["heading"] == ["Findings"] and found["strong"] == ["bold"] and found["em"] == ["slanted"],
           "wrong words: %s" % found)
    expect(found["code"] == ["x < 1"] and found["quote"] == ["quoted"], "wrong words: %s" % found)
    expect(found["items"][0] == "one" and len(found["items"]) == 2, "wrong list: %s" % found)
    expect(found["nested"] == ["two and a half\nmore of it"], "wrong nested list: %s" % found)
    expect(found["numbers"] == ["first", "second"], "wrong numbers: %s" % found)
    expect(found["block"] == ['let a = "<b>**not bold**</b>";'], "wrong block: %s" % found)
    expect(found["links"] == 0, "an agent's text has links")
    for text in ("First line\nsecond", "the offer (https://example.com/x)", "click (javascript:alert`1`)"):
        expect(text in found["text"], "%s is missing in %s" % (text, found["text"]))


def test_ids_are_short_and_whole_on_hover(browser, board):
    found = last_message(browser, """
        const id = last.querySelector(".id");
        return [id.innerText, id.title, last.querySelector(".mention").innerText];""")
    expect(found == ["js01234\u2026", "js0123456789abcdefghjkmnpqrstvwx", "@friday"],
           "wrong id or mention: %s" % found)


def test_hostile_markdown_stays_text(browser, board):
    show_message(browser, board, HOSTILE)
    expect(last_message(browser, """
        return last.querySelectorAll("img, script, svg, i, u, b, a").length""") == 0, "markup was rendered")
    text = last_message(browser, "return last.innerText")
    for part in ("<b>x</b>", "<i>y</i>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>"):
        expect(part in text, "%s is missing in %s" % (part, text))
    expect(browser.run("return document.title") == "Mission Control sandbox", "a script ran")


def test_no_text_makes_markdown_slow(browser, board):
    for part in ("[", "*", "**", "`", "> ", "- ", "@", "\n- ", "\n> ", "[a](", "**a", "* *", "a1", "```\n",
                 " ", "\n" + 30 * " " + "- "):
        took_ms = browser.run("""
            const begun = performance.now();
            makeMarkdown(arguments[0].repeat(100000 / arguments[0].length));
            return performance.now() - begun;""", part)
        expect(took_ms < 3000, "%r takes %d ms" % (part, took_ms))


def test_times_are_relative_and_whole_on_hover(browser, board):
    choose(browser, "Plan the launch")
    board.message("Plan the launch", "What time is it?")
    wait_for(lambda: "What time is it?" in browser.text("#thread"), "the message is missing")
    found = last_message(browser, """
        const time = last.querySelector("time");
        return [time.innerText, time.title === new Date(time.dateTime).toLocaleString(),
          Math.abs(Date.now() - Date.parse(time.dateTime)) < 10000];""")
    expect(found == ["just now", True, True], "wrong time: %s" % found)
    wait_for(lambda: re.fullmatch(r"\d+ s ago", last_message(browser, """
        return last.querySelector("time").innerText""")), "the time stands still")
    for age_s, text in ((12, "12 s ago"), (180, "3 min ago"), (7200, "2 h ago"), (3 * 86400, "3 days ago")):
        found = browser.run("return ageText(Date.now() - arguments[0] * 1000)", age_s)
        expect(found == text, "%d s is said as %s" % (age_s, found))


def fill(browser, **values):
    browser.run("""
        for (const [id, value] of Object.entries(arguments[0])) {
          const field = document.getElementById(id.replaceAll("_", "-"));
          if (field.type === "checkbox") field.checked = value;
          else field.value = value;
          field.dispatchEvent(new Event("input"));
        }""", values)


def submit(browser, form):
    browser.run("document.getElementById(arguments[0]).requestSubmit()", form)


def test_agent_is_made_with_all_its_texts(browser, board):
    browser.run("document.getElementById('new-agent-part').open = true")
    fill(browser, agent_name="Zo\u00eb Karen", agent_role="Writer", agent_soul="Calm.",
         agent_identity="A writer.", agent_user="Ada likes tea.", agent_skill="Short texts",
         agent_skill_text="Be brief.", agent_orchestrator=True)
    expect(browser.text("#agent-slug") == "Mentioned as @zoe-karen", "the slug is not said")
    submit(browser, "new-agent")
    wait_for(lambda: "Zo\u00eb Karen" in browser.text("#agents"), "the agent is missing")
    expect("mentions @zoe-karen" in browser.text("#agent-made"), "what to do is not said")
    expect(browser.run("return document.getElementById('content').value") == "@zoe-karen ",
           "the mention is not in the message")
    wait_for(lambda: browser.text("#readers") == "Read by Zo\u00eb Karen (mentioned).", "she does not read it")
    made = next(one for one in board.call("listAgentsForRuntime") if one["slug"] == "zoe-karen")
    texts = (made["role"], made["effectiveSoulContent"], made["effectiveIdentityContent"],
             made["effectiveUserMd"], made["resolvedSkills"][0]["contentMarkdown"])
    expect(texts == ("Writer", "Calm.", "A writer.", "Ada likes tea.", "Be brief."), "wrong: %s" % made)
    expect(board.call("getOrchestratorAgentId")["orchestratorAgentId"] == made["_id"], "not orchestrator")
    readers(browser, "")


def test_tour_says_how_to_kill_a_runtime_by_hand(browser, board):
    """Where the sandbox does not know the runtime's process. A thread of the test runs the agent."""
    browser.open(board.base + "/")
    choose(browser, "Plan the launch")
    wait_for(lambda: browser.run("return !document.querySelector('[data-tour=kill]').disabled"), "no tour")
    browser.run("document.querySelector('[data-tour=kill]').click()")
    task, jarvis = board.id_of("tasks", "Plan the launch"), board.id_of("agents", "jarvis")
    sent = wait_for(lambda: [one for one in board.state("notifications")["notifications"]
                             if one["type"] == "mention" and one["recipientId"] == jarvis], "no mention")
    prompt = (PROMPT % ("@jarvis hello", task)).replace("js0", sent[-1]["_id"])

    def run():
        with contextlib.suppress(OSError):
            board.run_agent("jarvis", task, input=prompt)

    threading.Thread(target=run, daemon=True).start()
    wait_for(lambda: "kill -9 $(pidof mission-control-runtime)" in browser.text("#tour-steps"),
             "it does not say what to run: " + browser.text("#tour-steps"))
    browser.open(board.base + "/")


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
    """With all that can be opened, and the tour's steps in each of their states."""
    choose(browser, "Plan the launch")
    browser.run("""
        for (const one of document.querySelectorAll("details")) one.open = true;
        start("Watch this", ["first", "second", "third"]);
        tour.steps[0].state = "done";
        tour.steps[1].state = "now";
        showSteps();
        showAgentError("There is an agent with that name.");
        showError(new Error("The sandbox does not answer."));""")
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


def test_refused_agent_says_why(browser, board):
    """After the test of the console, which reports refused requests."""
    browser.run("document.getElementById('new-agent-part').open = true")
    for name, words in (("Jarvis", "there is an agent with the slug jarvis already; choose another"),
                        ("\u2603", "needs a letter from a to z or a digit")):
        fill(browser, agent_name=name)
        submit(browser, "new-agent")
        wait_for(lambda words=words: words in browser.text("#agent-error"), words + " is not said")
    browser.run("document.getElementById('new-agent').reset()")
    browser.run("document.getElementById('new-agent-part').open = false")


def test_lost_sandbox_is_said_in_a_sentence(browser, board):
    board.program.stop()
    wait_for(lambda: browser.text("#trouble") ==
             "The sandbox does not answer. This page goes on trying; is it still running?",
             "the trouble is " + browser.text("#trouble"))
    wait_for(lambda: browser.text("#runtime") == "Runtime unknown", "the runtime is said to be there")


def main():
    build, program = sys.argv[1:]
    board = Board(build)
    try:
        return run_tests(globals(), program, board)
    finally:
        board.program.stop()


if __name__ == "__main__":
    sys.exit(main())

"""Tests the status page in a browser. Usage: page_test.py BUILD CHROMIUM"""

import re
import socket
import sys
import time

from harness import ACCOUNT, GATEWAY_TOKEN, SECRET, Harness, wait_for
from webdriver import Browser

MARKUP = "<img src=x onerror=alert(1)>"
SHORT_ACCOUNT = ACCOUNT[:8] + "\u2026"
SCRIPT = "</script><script>document.title='injected'</script>"
HOSTILE = [MARKUP, SCRIPT, "a\"b&amp;<b>c</b>"]

# The contrast ratio (WCAG 2) of every visible text against its background.
CONTRASTS = """
const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
const channel = (value) => { value /= 255; return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
const light = (c) => 0.2126 * channel(c.r) + 0.7152 * channel(c.g) + 0.0722 * channel(c.b);
const background = (node) => {
  for (; node; node = node.parentElement) {
    const colour = parse(getComputedStyle(node).backgroundColor);
    if (colour.a === 1) return colour;
  }
  return { r: 255, g: 255, b: 255, a: 1 };
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !node.getClientRects().length) continue;
  if (node.closest("noscript, .hidden")) continue;
  const style = getComputedStyle(node);
  const ink = parse(node.closest("svg") ? style.fill : style.color);
  const pair = [light(ink), light(background(node))].sort((a, b) => b - a);
  found.push([(pair[0] + 0.05) / (pair[1] + 0.05), walker.currentNode.data.trim().slice(0, 40)]);
}
return found;
"""

BACKGROUND = "return getComputedStyle(document.body).backgroundColor"


BOARD = "http://board.example/"


class Failure(Exception):
    """A failed check of a test."""


def expect(condition, message):
    if not condition:
        raise Failure(message)


def wait_for_state(browser, word):
    wait_for(lambda: browser.text("#state-word") == word, "the state did not become " + word)


def tile(browser, name):
    return browser.run("""
        for (const tile of document.querySelectorAll("#tiles > div"))
          if (tile.querySelector("dt").textContent === arguments[0])
            return tile.querySelector(".value").textContent;""", name)


def agent_rows(browser):
    """The cells of the table of agents, by agent and heading."""
    return browser.run("""
        const heads = [...document.querySelector("#agents").parentNode.tHead.rows[0].cells];
        return Object.fromEntries([...document.querySelectorAll("#agents tr")].map((row) =>
          [row.cells[0].textContent, Object.fromEntries([...row.cells].map((one, i) =>
            [heads[i].textContent, one.textContent]))]));""")


def cell(browser, agent, heading):
    return agent_rows(browser).get(agent, {}).get(heading, "")


def test_idle_page_renders(browser, harness):
    browser.open(harness.page())
    wait_for_state(browser, "Healthy")
    expect(browser.run("return document.title") ==
           "Healthy - %s - %s - Mission Control runtime" % (SHORT_ACCOUNT, socket.gethostname()),
           "wrong title")
    expect(browser.text("#account") == SHORT_ACCOUNT, "the header does not name the account")
    expect(browser.run("return document.getElementById('account').title") == ACCOUNT,
           "the whole account is not shown on hover")
    expect(ACCOUNT in browser.text("#versions"), "the whole account is nowhere")
    expect(browser.text("#where") == "%s, 127.0.0.1:%d" % (socket.gethostname(), harness.runtime.port),
           "the header does not name the host: " + browser.text("#where"))
    expect(browser.run("return document.getElementById('board').href") == BOARD,
           "no link to the board")
    expect(browser.text("#charts-title") == "Last 2 minutes", "the axis does not begin short")
    labels = browser.run("return document.querySelector('#chart-queue').textContent")
    expect("-2 min" in labels and "-30 min" not in labels, "wrong labels of the axis: " + labels)
    expect(tile(browser, "Delivered") == "0", "deliveries are shown before the first one")
    expect("nothing delivered yet" in browser.text("#charts"), "an empty chart has no label")
    expect(browser.text("#waiting-caption") == "None.", "waiting notifications are shown")
    expect(browser.text("#workers-caption") == "All 10 are idle.", "workers are not shown as idle")
    expect("OpenClaw 2026.9.6" in browser.text("#versions"), "the versions are missing")


def test_deliveries_update_the_page(browser, harness):
    harness.load(12, 3)
    wait_for(lambda: tile(browser, "Delivered") == "12", "the deliveries did not appear")
    wait_for(lambda: tile(browser, "Undelivered") == "0", "they remained undelivered")
    wait_for(lambda: re.search("Delivered: last [1-9]", browser.text("#charts")),
             "the chart did not show a rate")
    for chart in ("rate", "latency"):
        expect(browser.run("return document.querySelector(arguments[0])", "#chart-%s .one" % chart),
             "no line in chart " + chart)


def test_rate_of_the_first_minute_is_what_there_was(browser, harness):
    """Neither extrapolated nor different in tile and chart."""
    expect(tile(browser, "Rate") == "12 per min", "the rate is " + tile(browser, "Rate"))
    expect("Delivered: last 12, highest 12" in browser.text("#charts"),
           "the chart has another rate: " + browser.text("#charts"))


def test_axis_grows_to_half_an_hour(browser, harness):
    lengths = browser.run("""
        return [1, 119, 121, 299, 301, 700, 1300, 1900].map((s) =>
          axisFor([{ lastedMs: s * 1000 }])[0]);""")
    expect(lengths == [2, 2, 5, 5, 10, 20, 30, 30], "wrong lengths of the axis: %s" % lengths)


def test_agents_are_listed_with_what_an_operator_asks(browser, harness):
    """One is at work, one is refused, one is only woken, and one is unknown to the gateway."""
    slugs = ["ada", "bob", "cleo", "dora"]
    seeded = harness.post(harness.board, "seed", {
        "agents": [{"slug": slug} for slug in slugs],
        "tasks": [{"title": slug} for slug in slugs]})
    harness.post(harness.gateway, "seed", {"agents": [{"slug": slug} for slug in slugs[:3]]})
    harness.post(harness.gateway, "faults", {"gateway": [
        {"match": {"agent": "ada"}, "action": "hold"},
        {"match": {"agent": "bob"}, "action": "status", "status": 400, "body": "not set up"}]})
    for agent in (0, 0, 1):
        harness.post(harness.board, "notify", {
            "agent": seeded["agents"][agent]["id"], "task": seeded["tasks"][agent]["id"],
            "type": "assignment"})
    harness.post(harness.board, "settings", {"hide_agents": False})
    try:
        wait_for(lambda: cell(browser, "ada", "In flight") == "1", "no run is in flight")
        wait_for(lambda: cell(browser, "ada", "Waiting") == "1", "nothing waits")
        wait_for(lambda: cell(browser, "bob", "Failing").startswith("for "), "it does not fail")
        wait_for(lambda: "ago" in cell(browser, "cleo", "Last wake-up"), "it was not woken")
        wait_for(lambda: cell(browser, "dora", "Known to the gateway") == "no", "it is known")
        wait_for_state(browser, "Attention")
        expect("The gateway does not know some of the agents" in browser.text("#reasons"),
               "the page does not say what needs a look")
        expect(cell(browser, "cleo", "Next").startswith("in "), "its next wake-up is missing")
        expect(cell(browser, "cleo", "Failing") == "no", "a good agent fails")
        expect(cell(browser, "cleo", "Last reply") == "none yet", "a reply without a delivery")
        expect(cell(browser, "ada", "Known to the gateway") == "yes", "it is not known")
    finally:
        harness.post(harness.gateway, "faults/clear", {})
    wait_for(lambda: tile(browser, "Undelivered") == "0", "waiting work was not delivered")
    wait_for(lambda: "ago" in cell(browser, "ada", "Last reply"), "its reply is not shown")
    wait_for(lambda: cell(browser, "bob", "Failing") == "no", "it still fails")
    harness.post(harness.board, "settings", {"hide_agents": True})
    wait_for_state(browser, "Healthy")


def test_latency_beyond_the_histogram_is_shown_as_a_bound(browser, harness):
    longest_ms = harness.status()["history"]["longestMs"]
    expect(longest_ms == 900000, "unexpected last bound of the histogram")
    for took_ms, half, most in ((900000, "over 15 min", "at least 5 % take over 15 min"),
                                (890000, "14 min 50 s", "95 % within 14 min 50 s")):
        sample = {"p50Ms": took_ms, "p95Ms": took_ms, "timed": 20}
        expect(browser.run("return medianText(...arguments)", sample, longest_ms) == half,
               "wrong median for %d ms" % took_ms)
        expect(browser.run("return p95Text(...arguments)", sample, longest_ms) == most,
               "wrong p95 for %d ms" % took_ms)


def test_few_deliveries_have_no_percentile(browser, harness):
    """The runtime has delivered 12 so far; of a single one 95 % say nothing at all."""
    more = browser.run("""
        return [...document.querySelectorAll("#tiles > div")].find((tile) =>
          tile.querySelector("dt").textContent === "Time to deliver").querySelector(".more").textContent""")
    expect(re.fullmatch(r"median of (1[2-9]) deliveries", more), "the tile says " + more)
    expect("95th percentile, of 20 or more: none" in browser.text("#charts"), "the chart has one")
    for timed, text in ((1, "median of 1 delivery"), (19, "median of 19 deliveries"), (20, "95 % within 3.0 s")):
        sample = {"p50Ms": 1000, "p95Ms": 3000, "timed": timed}
        expect(browser.run("return p95Text(...arguments)", sample, 900000) == text,
               "wrong text for %d deliveries" % timed)
        shown = browser.run("return CHARTS[1].series[1][1](arguments[0])", sample)
        expect(shown == (3 if timed >= 20 else None), "the chart has a point of %d" % timed)


def test_limited_circuit_breaker_is_shown(browser, harness):
    """Failed runs of three agents in a row limit it, and then three sends go out at a time."""
    harness.post(harness.gateway, "faults", {"gateway": [
        {"action": "status", "status": 500, "times": 3}, {"action": "hold"}]})
    harness.load(3, 3)
    try:
        wait_for(lambda: "closed, three sends at a time" in browser.text("#gateway"),
                 "the limit of the circuit breaker is not shown")
    finally:
        harness.post(harness.gateway, "faults/clear", {})
        wait_for_state(browser, "Healthy")
        wait_for(lambda: tile(browser, "Undelivered") == "0", "waiting work was not delivered")


def test_busy_workers_and_waiting_work_are_shown(browser, harness):
    rule = {"gateway": [{"name": "agent", "action": "hold"}]}
    harness.post(harness.gateway, "faults", rule)
    harness.load(2, 1)
    wait_for(lambda: "being asked" in browser.text("#workers"), "no worker appears busy")
    expect("worker1" in browser.text("#workers"), "the worker's agent is missing")
    wait_for(lambda: "queued" in browser.text("#waiting"), "no waiting notification appears")
    harness.post(harness.gateway, "faults/clear", {})
    wait_for(lambda: tile(browser, "Undelivered") == "0", "the held deliveries did not complete")


def test_paused_sends_are_shown(browser, harness):
    harness.toggle_pause()
    wait_for_state(browser, "Sends paused")
    expect("mission-control-runtime release, or SIGUSR2, resumes them" in browser.text("#reasons"),
           "the page does not say how to resume")
    harness.toggle_pause()
    wait_for_state(browser, "Healthy")


def test_gateway_outage_is_shown(browser, harness):
    harness.gateway.stop()
    harness.load(1, 1)
    wait_for_state(browser, "Degraded")
    wait_for(lambda: "No agent can be asked: " in browser.text("#reasons"), "no reason appears")
    expect("open, " in browser.text("#gateway"), "the circuit breaker is not shown as open")
    wait_for(lambda: "when the gateway is available" in browser.text("#waiting"),
             "waiting work does not mention the gateway")
    wait_for(lambda: "gateway unreachable" in browser.text("#waiting"),
             "the failure class is missing")
    wait_for(lambda: browser.run("return document.querySelectorAll('#errors li').length") > 0,
             "no error appears")
    harness.start_gateway()
    wait_for_state(browser, "Healthy")
    wait_for(lambda: tile(browser, "Undelivered") == "0", "waiting work was not delivered")


def test_age_of_waiting_work_is_visible_on_a_phone(browser, harness):
    """With the longest words that the columns before it commonly have."""
    harness.gateway.stop()
    harness.post(harness.board, "seed", {"tasks": [{"title": "old"}]})
    harness.post(harness.board, "notify", {
        "agent": "worker1", "task": "old", "type": "assignment",
        "createdAt": int(time.time() * 1000) - 45 * 60 * 1000})
    wait_for(lambda: "when the gateway is available" in browser.text("#waiting") and
             "gateway unreachable" in browser.text("#waiting") and
             "45 min" in browser.text("#waiting"), "no waiting work appears")
    hidden = []
    for width in (360, 390):
        browser.set_width(width)
        hidden_px = browser.run("""
            const right = (node) => node.getBoundingClientRect().right;
            const region = document.querySelector("#waiting").closest(".scroll");
            return right(document.querySelector("#waiting tr").lastElementChild) - right(region);""")
        if hidden_px > 0.5:
            hidden.append("%d px of it at %d px" % (hidden_px, width))
    browser.set_width(1200)
    harness.start_gateway()
    wait_for_state(browser, "Healthy")
    wait_for(lambda: tile(browser, "Undelivered") == "0", "waiting work was not delivered")
    expect(not hidden, "the age is hidden: " + ", ".join(hidden))


def test_untrusted_text_is_not_rendered_as_markup(browser, harness):
    harness.post(harness.gateway, "faults", {"gateway": [
        {"before_checks": True, "action": "status", "status": 400, "body": "no: " + MARKUP}]})
    seeded = harness.post(harness.board, "seed", {
        "agents": [{"slug": name} for name in HOSTILE], "tasks": [{"title": MARKUP}]})
    for agent in seeded["agents"]:
        harness.post(harness.board, "notify", {
            "agent": agent["id"], "task": seeded["tasks"][0]["id"], "type": "assignment"})
    for name in HOSTILE:
        wait_for(lambda name=name: name[:60] in browser.text("#waiting"),
                 "%s does not appear" % name)
    wait_for(lambda: MARKUP in browser.text("#errors"), "the error does not appear")
    expect(browser.run("return document.querySelectorAll('img, body script, #waiting b').length") == 0,
           "text was rendered as markup")
    expect(browser.run("return document.title").endswith("Mission Control runtime"), "wrong title")


def test_first_sight_has_state_and_numbers(browser, harness):
    """Of a window of 1280x800 and of a phone of 390x844, in both colour schemes."""
    for scheme in ("light", "dark"):
        browser.set_scheme(scheme)
        for width, height in ((1280, 800), (390, 844)):
            browser.set_width(width)
            browser.run("scrollTo(0, 0)")
            for part in ("h1", "#account", "#where", "#board", "#state-word", "#tiles"):
                bottom = browser.run(
                    "return document.querySelector(arguments[0]).getBoundingClientRect().bottom", part)
                expect(0 < bottom <= height, "%s ends at %d px of %d, at a width of %d px" % (
                    part, bottom, height, width))
    browser.set_scheme("light")
    browser.set_width(1200)


def test_narrow_page_does_not_overflow(browser, harness):
    for width in (320, 360, 400):
        browser.set_width(width)
        found = browser.run("return [innerWidth, document.documentElement.scrollWidth]")
        expect(found == [width, width], "at %d px the page is %d px wide" % tuple(found))
        wider = browser.run("""
            return [...document.querySelectorAll("body *")].filter((node) =>
              !node.closest(".scroll table, .hidden, svg") &&
              node.getBoundingClientRect().right > innerWidth + 0.5).map((node) => node.outerHTML.slice(0, 80))""")
        expect(not wider, "overflow at %d px: %s" % (width, wider))
    browser.set_width(1200)


def check_contrasts(browser, scheme, texts=60):
    found = browser.run(CONTRASTS)
    expect(len(found) > texts, "only %d texts were checked" % len(found))
    low = sorted(pair for pair in found if pair[0] < 4.5)
    expect(not low, "contrasts below 4.5 in the %s scheme: %s" % (scheme, low[:5]))


def brightness(colour):
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3


def test_contrast_suffices_in_both_colour_schemes(browser, harness):
    browser.set_scheme("light")
    expect(brightness(browser.run(BACKGROUND)) > 200, "dark background in the light scheme")
    check_contrasts(browser, "light")
    browser.set_scheme("dark")
    expect(brightness(browser.run(BACKGROUND)) < 60, "light background in the dark scheme")
    # The colours of the state are animated.
    wait_for(lambda: browser.run("return document.getAnimations().length") == 0,
             "the animation did not end")
    check_contrasts(browser, "dark")
    browser.set_scheme("light")


def test_roles_names_and_keyboard_access_are_complete(browser, harness):
    expect(browser.run("return document.documentElement.lang") == "en", "wrong language")
    expect(browser.accessible("main")[0] == "main", "no main landmark")
    expect(browser.run("return [...document.querySelectorAll('[aria-live]')].map((n) => n.ariaLive)")
           == ["polite"], "wrong live regions")
    for chart in ("rate", "latency", "queue", "busy"):
        role, name = browser.accessible("#chart-" + chart)
        expect(role in ("img",
               "image") and re.search("last [0-9]+ minutes", name), "chart %s: role %s, name %s" % (
            chart, role, name))
    for region in ("state", "charts-title", "agents-title", "waiting-title", "workers-title", "errors-title",
                   "gateway-title", "spool-title", "backend-title"):
        selector = "#state" if region == "state" else "section[aria-labelledby=%s]" % region
        role, name = browser.accessible(selector)
        expect(role == "region" and name, "%s: role %s, name %s" % (region, role, name))
    expect(browser.run("""
        return [...document.querySelectorAll("h1, h2, h3")].every((node, i, all) =>
          i === 0 ? node.tagName === "H1" : node.tagName[1] - all[i - 1].tagName[1] <= 1)"""),
           "heading levels are skipped")
    expect(browser.run("""
        return [...document.querySelectorAll("table")].every((table) =>
          table.caption && [...table.querySelectorAll("th")].every((cell) => cell.scope))"""),
           "a table lacks a caption or scopes")
    expect(browser.run("""
        return [...document.querySelectorAll("main *")].every((region) =>
          !["auto", "scroll"].includes(getComputedStyle(region).overflowY) ||
          region.matches("[role=region].scroll") && (region.tabIndex === 0 ||
            region.scrollHeight <= region.clientHeight && region.scrollWidth <= region.clientWidth))"""),
           "a scrollable area cannot be reached by keyboard")


def test_hidden_page_does_not_poll(browser, harness):
    browser.run("""
        window.sent = window.answered = 0;
        const originalFetch = window.fetch;
        window.fetch = (...all) => {
          window.sent++;
          return originalFetch(...all).finally(() => window.answered++);
        };""")
    wait_for(lambda: browser.run("return window.sent") >= 2, "it does not poll while visible")
    browser.run("""
        window.scheduled = 0;
        const originalSetTimeout = window.setTimeout;
        window.setTimeout = (...all) => { window.scheduled++; return originalSetTimeout(...all); };
        Object.defineProperty(document, "hidden", { value: true, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));""")
    before = browser.run("return window.sent")
    wait_for(lambda: browser.run("return window.answered") == before, "a request remained open")
    expect(browser.run("return window.scheduled") == 0, "it schedules a poll while hidden")
    expect(browser.run("return window.sent") == before, "it polls while hidden")
    browser.run("""
        delete document.hidden;
        document.dispatchEvent(new Event("visibilitychange"));""")
    wait_for(lambda: browser.run("return window.sent") > before,
             "it does not poll again once visible")


def test_content_security_policy_is_enforced(browser, harness):
    found = browser.console()
    expect(not found, "console messages: %s" % found[:3])
    blocked = browser.run("""
        const script = document.createElement("script");
        script.textContent = "window.injected = true";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<p style='color: red'>");
        return fetch("http://127.0.0.2:1/").then(() => false, () => !window.injected &&
          getComputedStyle(document.body.lastElementChild).color !== "rgb(255, 0, 0)");""")
    expect(blocked, "the policy did not block injected content")
    violations = [line for line in browser.console() if "Content Security Policy" in line["message"]]
    expect(len(violations) >= 3, "expected three policy violations: %s" % violations)


def test_lost_runtime_is_shown(browser, harness):
    expect(harness.runtime.stop() == 0, "the runtime did not exit with status 0")
    wait_for_state(browser, "No response")
    wait_for(lambda: re.fullmatch(r"last seen \d+ s ago", browser.text("#seen")),
             "the time of the last answer is missing")
    expect("No response" in browser.run("return document.title"), "wrong title")
    expect(tile(browser, "Delivered") == "22", "the last known values were cleared")
    harness.start_runtime()
    wait_for(lambda: browser.text("#state-word") not in ("No response", "Starting"),
             "the restarted runtime does not appear")


def test_upgrade_that_is_waited_for_is_shown(browser, harness):
    expect(browser.text("#upgrade") == "", "an upgrade is shown without a request")
    harness.post(harness.board, "upgrade", {"openclaw": "", "runtime": "9.9.9"})
    wait_for(lambda: harness.runtime.process.poll() == 0, "the request was not obeyed")
    harness.start_runtime()
    wait_for(lambda: "waiting for runtime 9.9.9 (now " in browser.text("#upgrade"),
             "the page does not say what is waited for")
    expect("upgrade" not in browser.text("#reasons"), "waiting is shown as a trouble")
    harness.post(harness.board, "upgrade", {"clear": True})
    wait_for(lambda: browser.text("#upgrade") == "", "the upgrade is shown after it was withdrawn")


def test_page_contains_no_secret(browser, harness):
    status = harness.status()
    text = repr(status) + browser.run("return document.documentElement.outerHTML")
    for secret in (SECRET, GATEWAY_TOKEN, "agent:"):
        expect(secret not in text, "the page contains " + secret)


def run_tests(functions, program, harness):
    """Runs the functions called test_... in a browser, with harness as their second argument."""
    failed = 0
    tests = [test for name, test in functions.items() if name.startswith("test_")]
    browser = Browser(program)
    try:
        for test in tests:
            name = test.__name__[5:].replace("_", " ")
            try:
                test(browser, harness)
                print("ok      " + name, flush=True)
            except (Failure, RuntimeError) as failure:
                failed += 1
                print("FAILED  %s: %s" % (name, failure), flush=True)
    finally:
        browser.close()
    print("%d passed, %d failed" % (len(tests) - failed, failed))
    return 1 if failed else 0


def main():
    build, program = sys.argv[1:]
    harness = Harness(build, ["worker1", "worker2", "worker3"],
                      settings={"DELIVERY_BACKOFF_BASE_MS": "100", "DELIVERY_BACKOFF_MAX_MS": "1000",
                                "HEALTH_CHECK_INTERVAL": "5000", "AGENT_SYNC_INTERVAL": "500",
                                "BOARD_URL": BOARD})
    try:
        harness.start_runtime()
        return run_tests(globals(), program, harness)
    finally:
        harness.close()


if __name__ == "__main__":
    sys.exit(main())

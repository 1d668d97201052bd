"""What the page for people shows in a browser. Usage: page_test.py BUILD CHROMIUM"""

import re
import sys
import time

from webdriver import Browser
from world import GATEWAY_TOKEN, LIMIT_S, SECRET, World

MARKUP = "<img src=x onerror=alert(1)>"
SCRIPT = "</script><script>document.title='taken'</script>"
HOSTILE = [MARKUP, SCRIPT, "a\"b&amp;<b>c</b>"]

# Each piece of text, with its colour, and the ground it stands on: the ratio of WCAG 2.
CONTRASTS = """
const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
const channel = (value) => { value /= 255; return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
const light = (c) => 0.2126 * channel(c.r) + 0.7152 * channel(c.g) + 0.0722 * channel(c.b);
const ground = (node) => {
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
  const pair = [light(ink), light(ground(node))].sort((a, b) => b - a);
  found.push([(pair[0] + 0.05) / (pair[1] + 0.05), walker.currentNode.data.trim().slice(0, 40)]);
}
return found;
"""

GROUND = "return getComputedStyle(document.body).backgroundColor"


class Failed(Exception):
    pass


def must(condition, what):
    if not condition:
        raise Failed(what)


def wait_for(look, what):
    """The first true value of look; whatever it throws on the way counts as not yet."""
    deadline = time.monotonic() + LIMIT_S
    last = None
    while time.monotonic() < deadline:
        try:
            last = look()
            if last:
                return last
        except RuntimeError as error:
            last = error
        time.sleep(0.05)
    raise Failed("%s (last: %r)" % (what, last))


def wait_for_state(browser, word):
    wait_for(lambda: browser.text("#state-word") == word, "the state never became " + word)


def tile(browser, name):
    return browser.run("""
        for (const tile of document.querySelectorAll("#tiles > div"))
          if (tile.querySelector("dt").textContent === arguments[0])
            return tile.querySelector(".value").textContent;""", name)


def test_renders_when_nothing_happened(browser, world):
    browser.open(world.page())
    wait_for_state(browser, "Healthy")
    must(browser.run("return document.title") == "Healthy - Mission Control runtime", "the title")
    must(tile(browser, "Delivered") == "0", "a delivery out of nothing")
    must("nothing delivered yet" in browser.text("#charts"), "no word in an empty chart")
    must(browser.text("#waiting-caption") == "None.", "notifications that wait for nothing")
    must(browser.text("#workers-caption") == "All 10 are idle.", "workers that are not idle")
    must("OpenClaw 2026.9.6" in browser.text("#versions"), "the versions")


def test_updates_as_deliveries_happen(browser, world):
    world.load(12, 3)
    wait_for(lambda: tile(browser, "Delivered") == "12", "the deliveries never showed")
    wait_for(lambda: tile(browser, "Undelivered") == "0", "they stayed undelivered")
    wait_for(lambda: re.search("Delivered: last [1-9]", browser.text("#charts")),
             "the chart never showed a rate")
    for chart in ("rate", "latency"):
        must(browser.run("return document.querySelector(arguments[0])", "#chart-%s .one" % chart),
             "a chart without a line: " + chart)


def test_tells_no_more_than_is_known_of_long_deliveries(browser, world):
    longest_ms = world.status()["history"]["longestMs"]
    must(longest_ms == 900000, "the last bound of the histogram")
    for took_ms, half, most in ((900000, "over 15 min", "at least 5 % take over 15 min"),
                                (890000, "14 min 50 s", "95 % within 14 min 50 s")):
        sample = {"p50Ms": took_ms, "p95Ms": took_ms}
        must(browser.run("return medianText(...arguments)", sample, longest_ms) == half, "half")
        must(browser.run("return p95Text(...arguments)", sample, longest_ms) == most, "95 %")


def test_shows_who_works_and_who_waits(browser, world):
    rule = {"gateway": [{"name": "agent", "action": "hold"}]}
    world.post(world.gateway, "faults", rule)
    world.load(2, 1)
    wait_for(lambda: "being asked" in browser.text("#workers"), "nobody is seen to work")
    must("worker1" in browser.text("#workers"), "the agent of the worker")
    wait_for(lambda: "queued" in browser.text("#waiting"), "nothing is seen to wait")
    world.post(world.gateway, "faults/clear", {})
    wait_for(lambda: tile(browser, "Undelivered") == "0", "the deliveries were not let go")


def test_shows_when_sends_are_held(browser, world):
    world.hold_sends()
    wait_for_state(browser, "Sends paused")
    must("SIGUSR2 resumes them" in browser.text("#reasons"), "how to release them")
    world.hold_sends()
    wait_for_state(browser, "Healthy")


def test_shows_an_outage_of_the_gateway(browser, world):
    world.gateway.stop()
    world.load(1, 1)
    wait_for_state(browser, "Degraded")
    wait_for(lambda: "No agent can be asked: " in browser.text("#reasons"), "no reason is named")
    must("open, " in browser.text("#gateway"), "the circuit breaker")
    wait_for(lambda: "when the gateway is available" in browser.text("#waiting"),
             "what waits for the gateway")
    wait_for(lambda: "gateway unreachable" in browser.text("#waiting"), "the failure's class")
    wait_for(lambda: browser.run("return document.querySelectorAll('#errors li').length") > 0,
             "no error is listed")
    world.start_gateway()
    wait_for_state(browser, "Healthy")
    wait_for(lambda: tile(browser, "Undelivered") == "0", "what waited was not delivered")


def test_text_of_others_stays_text(browser, world):
    world.post(world.gateway, "faults", {"gateway": [
        {"before_checks": True, "action": "status", "status": 400, "body": "no: " + MARKUP}]})
    seeded = world.post(world.board, "seed", {
        "agents": [{"slug": name} for name in HOSTILE], "tasks": [{"title": MARKUP}]})
    for agent in seeded["agents"]:
        world.post(world.board, "notify", {
            "agent": agent["id"], "task": seeded["tasks"][0]["id"], "type": "assignment"})
    for name in HOSTILE:
        wait_for(lambda name=name: name[:60] in browser.text("#waiting"),
                 "%s does not wait" % name)
    wait_for(lambda: MARKUP in browser.text("#errors"), "the error does not show")
    must(browser.run("return document.querySelectorAll('img, body script, #waiting b').length") == 0,
         "a text became an element")
    must(browser.run("return document.title").endswith("Mission Control runtime"), "the title")


def test_hides_nothing_at_360_pixels(browser, world):
    for width in (320, 360, 400):
        browser.set_width(width)
        found = browser.run("return [innerWidth, document.documentElement.scrollWidth]")
        must(found == [width, width], "at %d pixels the page is %d wide" % tuple(found))
        wider = browser.run("""
            return [...document.querySelectorAll("body *")].filter((node) =>
              !node.closest(".scroll table, .hidden, svg") &&
              node.getBoundingClientRect().right > innerWidth + 0.5).map((node) => node.outerHTML.slice(0, 80))""")
        must(not wider, "these stick out at %d pixels: %s" % (width, wider))
    browser.set_width(1200)


def check_contrasts(browser, scheme):
    found = browser.run(CONTRASTS)
    must(len(found) > 60, "only %d texts were looked at" % len(found))
    low = sorted(pair for pair in found if pair[0] < 4.5)
    must(not low, "contrasts below 4.5 in the %s scheme: %s" % (scheme, low[:5]))


def brightness(colour):
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3


def test_is_legible_in_both_schemes(browser, world):
    browser.set_scheme("light")
    must(brightness(browser.run(GROUND)) > 200, "a dark ground in the light scheme")
    check_contrasts(browser, "light")
    browser.set_scheme("dark")
    must(brightness(browser.run(GROUND)) < 60, "a light ground in the dark scheme")
    # The colours of the state change in a moment, not at once.
    wait_for(lambda: browser.run("return document.getAnimations().length") == 0, "an animation")
    check_contrasts(browser, "dark")
    browser.set_scheme("light")


def test_is_accessible(browser, world):
    must(browser.run("return document.documentElement.lang") == "en", "the language")
    must(browser.accessible("main")[0] == "main", "the main part")
    must(browser.run("return [...document.querySelectorAll('[aria-live]')].map((n) => n.ariaLive)")
         == ["polite"], "what is read out")
    for chart in ("rate", "latency", "queue", "busy"):
        role, name = browser.accessible("#chart-" + chart)
        must(role in ("img", "image") and "last 30 minutes" in name, "the chart %s: %s, %s" % (
            chart, role, name))
    for region in ("state", "charts-title", "waiting-title", "workers-title", "errors-title",
                   "gateway-title", "spool-title", "backend-title"):
        selector = "#state" if region == "state" else "section[aria-labelledby=%s]" % region
        role, name = browser.accessible(selector)
        must(role == "region" and name, "%s: %s, %s" % (region, role, name))
    must(browser.run("""
        return [...document.querySelectorAll("h1, h2, h3")].every((node, i, all) =>
          i === 0 ? node.tagName === "H1" : node.tagName[1] - all[i - 1].tagName[1] <= 1)"""),
         "the order of the headings")
    must(browser.run("""
        return [...document.querySelectorAll("table")].every((table) =>
          table.caption && [...table.querySelectorAll("th")].every((cell) => cell.scope))"""),
         "captions and scopes of the tables")
    must(browser.run("""
        return [...document.querySelectorAll("main *")].every((region) =>
          !["auto", "scroll"].includes(getComputedStyle(region).overflowY) ||
          region.matches("[role=region].scroll") && (region.tabIndex === 0 ||
            region.scrollHeight <= region.clientHeight && region.scrollWidth <= region.clientWidth))"""),
         "something that the keyboard cannot scroll")


def test_does_not_ask_while_hidden(browser, world):
    browser.run("""
        window.asked = window.answered = 0;
        const ask = window.fetch;
        window.fetch = (...all) => {
          window.asked++;
          return ask(...all).finally(() => window.answered++);
        };""")
    wait_for(lambda: browser.run("return window.asked") >= 2, "it does not ask while it is seen")
    browser.run("""
        window.planned = 0;
        const later = window.setTimeout;
        window.setTimeout = (...all) => { window.planned++; return later(...all); };
        Object.defineProperty(document, "hidden", { value: true, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));""")
    before = browser.run("return window.asked")
    wait_for(lambda: browser.run("return window.answered") == before, "a question stays open")
    must(browser.run("return window.planned") == 0, "it means to ask while nobody looks")
    must(browser.run("return window.asked") == before, "it asks while nobody looks")
    browser.run("""
        delete document.hidden;
        document.dispatchEvent(new Event("visibilitychange"));""")
    wait_for(lambda: browser.run("return window.asked") > before, "it does not ask again")


def test_keeps_to_its_policy(browser, world):
    found = browser.console()
    must(not found, "the console says %s" % found[:3])
    blocked = browser.run("""
        const script = document.createElement("script");
        script.textContent = "window.taken = true";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<p style='color: red'>");
        return fetch("http://127.0.0.2:1/").then(() => false, () => !window.taken &&
          getComputedStyle(document.body.lastElementChild).color !== "rgb(255, 0, 0)");""")
    must(blocked, "the policy lets something in")
    violations = [line for line in browser.console() if "Content Security Policy" in line["message"]]
    must(len(violations) >= 3, "the policy was kept by chance: %s" % violations)


def test_says_when_the_runtime_is_gone(browser, world):
    must(world.runtime.stop() == 0, "the runtime did not stop as it should")
    wait_for_state(browser, "No response")
    wait_for(lambda: re.fullmatch(r"last seen \d+ s ago", browser.text("#seen")), "when it was seen")
    must("No response" in browser.run("return document.title"), "the title")
    must(tile(browser, "Delivered") == "15", "what was last seen is gone")
    world.start_runtime()
    wait_for(lambda: browser.text("#state-word") not in ("No response", "Starting"),
             "its return does not show")


def test_shows_no_secret(browser, world):
    status = world.status()
    text = repr(status) + browser.run("return document.documentElement.outerHTML")
    for secret in (SECRET, GATEWAY_TOKEN, "agent:"):
        must(secret not in text, "it shows " + secret)


def main():
    build, program = sys.argv[1:]
    failed = 0
    world = World(build, ["worker1", "worker2", "worker3"])
    try:
        world.start_runtime()
        browser = Browser(program)
        try:
            tests = [test for name, test in globals().items() if name.startswith("test_")]
            for test in tests:
                name = test.__name__[5:].replace("_", " ")
                try:
                    test(browser, world)
                    print("ok      " + name, flush=True)
                except (Failed, RuntimeError) as problem:
                    failed += 1
                    print("FAILED  %s: %s" % (name, problem), flush=True)
        finally:
            browser.close()
    finally:
        world.close()
    print("%d passed, %d failed" % (len(tests) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

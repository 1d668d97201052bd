"use strict";

/*
 * Polls /status and shows it. Nothing is kept between two responses except the last one, so the page
 * recovers by itself from anything that happens to the runtime, including a restart. It does not
 * poll while it is hidden.
 */

const POLL_INTERVAL_MS = 2000;
const RESPONSE_TIMEOUT_MS = 5000;

const element = (id) => document.getElementById(id);
const seen = { status: null, at: 0, timer: 0, polling: false };

/* Text from the runtime only ever becomes a text node, never markup. */
function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}

function draw(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/* Unchanged text is not written, so that a screen reader does not announce it again. */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function count(number) {
  return number.toLocaleString("en");
}

function plural(number, one, many) {
  return count(number) + " " + (number === 1 ? one : many);
}

function short(number) {
  if (number >= 100 || Number.isInteger(number)) return count(Math.round(number));
  return String(Number(number.toPrecision(2)));
}

/* A duration in at most two units, such as "3 min 20 s". */
function span(ms) {
  if (ms < 1000) return Math.round(ms) + " ms";
  if (ms < 9950) return (ms / 1000).toFixed(1) + " s";
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return seconds + " s";
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  const [size, unit] = parts[first];
  const rest = Math.floor((seconds % size) / parts[first + 1][0]);
  return Math.floor(seconds / size) + " " + unit + (rest ? " " + rest + " " + parts[first + 1][1] : "");
}

/* The same in one unit. */
function roughly(ms) {
  return span(ms).replace(/^(\S+ \S+) .*/, "$1");
}

function ago(ms) {
  return ms === null ? "never" : span(Math.max(ms, 1000)).replace(/\.\d/, "") + " ago";
}

function bytes(number) {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  let unit = 0;
  for (; number >= 1024 && unit < 3; unit++) number /= 1024;
  return short(number) + " " + units[unit];
}

const words = (name) => name.replace(/_/g, " ");

const STATES = {
  healthy: ["Healthy", "Notifications are being delivered."],
  attention: ["Attention", "Notifications are being delivered, but something needs a look:"],
  degraded: ["Degraded", "Notifications are delayed or not delivered:"],
  held: ["Sends paused", "Everything works, but no agent is being asked:"],
  starting: ["Starting", "The runtime is not ready yet."],
  stopping: ["Stopping", "Work in flight is being finished; nothing new is started."],
};

const NOTHING_DELIVERED = "Backend and gateway answer. No notification has been delivered since the start.";

const STAGES = {
  known: "to be asked",
  sending: "being asked",
  replied: "to be written back",
  written: "to be marked",
  giving_up: "giving up",
  settled: "ended",
};

function showState(status) {
  const [word, usual] = STATES[status.state] || [status.state, ""];
  const line = status.state === "healthy" && !status.totals.delivered ? NOTHING_DELIVERED : usual;
  element("state").dataset.state = status.state in STATES ? status.state : "unknown";
  write(element("state-word"), word);
  write(element("state-line"), line);
  const list = element("reasons");
  const old = [...list.children].map((item) => item.textContent);
  const reasons = [...status.reasons, ...status.warnings];
  if (old.join("\n") !== reasons.join("\n"))
    list.replaceChildren(...reasons.map((reason) => make("li", "", reason)));
  list.hidden = !reasons.length;
  write(element("upgrade"), status.upgrade ? status.upgrade + "." : "");
  element("upgrade").hidden = !status.upgrade;
  showIdentity(status);
  document.title = word + " - " + identity(status) + " - Mission Control runtime";
}

/* The beginning of a long id: enough to tell accounts apart in a tab or on a phone. */
function shortId(id) {
  return id && id.length > 12 ? id.slice(0, 8) + "\u2026" : id;
}

/* Whose runtime this is, and where: it tells the tabs of several apart. */
function identity(status) {
  return [shortId(status.account), status.host].filter(Boolean).join(" - ");
}

/* The board's address is the operator's setting; anything but a web address is left out. */
function showIdentity(status) {
  write(element("account"), shortId(status.account));
  element("account").title = status.account || "";
  write(element("where"), (status.host ? status.host + ", " : "") + location.host);
  const board = element("board");
  board.hidden = !/^https?:\/\//.test(status.board || "");
  if (!board.hidden) board.href = status.board;
}

function showUnreachable(why) {
  element("state").dataset.state = "unreachable";
  write(element("state-word"), "No response");
  write(element("state-line"), seen.status
    ? why + " The data below is from its last response."
    : why);
  element("reasons").hidden = true;
  element("upgrade").hidden = true;
  document.title = "No response - " + (seen.status ? identity(seen.status) + " - " : "") + "Mission Control runtime";
}

function showSeen() {
  const unreachable = element("state").dataset.state === "unreachable";
  if (!seen.at) return;
  write(element("seen"), unreachable
    ? "last seen " + ago(Date.now() - seen.at)
    : "up for " + span(seen.status.uptimeMs).replace(/\.\d/, "") + ", updated " + new Date(seen.at).toLocaleTimeString());
}

function showTiles(status, samples) {
  const sum = (name) => samples.reduce((total, sample) => total + sample[name], 0);
  const now = samples[samples.length - 1];
  const last = now && now.p50Ms !== null ? now : null;
  const rate = perMinute("delivered")(toMinutes(samples).pop());
  const busy = status.workers.filter((worker) => worker.busy).length;
  const { longestMs } = status.history;
  const { queue, totals, spool } = status;
  const tiles = [
    ["Delivered", count(totals.delivered), "", count(sum("delivered")) + " in the last " + axisFor(samples)[0] + " min"],
    ["Rate", short(rate), "per min", "over the last minute"],
    ["Time to deliver", last ? medianText(last, longestMs) : "-", "", last ? p95Text(last, longestMs) : totals.delivered ? "none in the last 5 min" : "nothing delivered yet"],
    ["Undelivered", count(queue.undelivered), "", queue.undelivered ? "oldest: " + roughly(queue.oldestMs || 0) : "none waiting"],
    ["Workers", String(busy), "of " + status.workers.length + " busy", plural(queue.lanes, "agent has", "agents have") + " work"],
    ["Given up on", count(totals.dead), "", plural(spool.dead, "dead letter", "dead letters") + " kept"],
  ];
  element("tiles").replaceChildren(...tiles.map(([label, value, unit, more]) => {
    const tile = make("div");
    const number = make("dd", "value", value);
    if (unit) number.append(" ", make("small", "", unit));
    tile.append(make("dt", "", label), number, make("dd", "more", more));
    return tile;
  }));
}

/* cells are texts; heading is the index of the row header, numbers those to align right. */
function row(cells, heading, numbers, className) {
  const made = make("tr", className);
  made.append(...cells.map((cell, i) => {
    const node = make(i === heading ? "th" : "td", numbers.includes(i) ? "number" : "", cell);
    if (i === heading) node.scope = "row";
    return node;
  }));
  return made;
}

function nextTry(entry, status) {
  if (entry.nextTryMs !== null) return entry.nextTryMs ? "in " + span(entry.nextTryMs) : "now";
  if (entry.stage !== "known") return "queued";
  if (status.heldByHand) return "when sends are resumed";
  return ["open", "trickle"].includes(status.gateway.state) ? "queued" : "when the gateway is available";
}

/* A region can be focused, and so scrolled with the keyboard, only if it has something to scroll. */
function showRegion(region) {
  const scrolls = region.scrollWidth > region.clientWidth || region.scrollHeight > region.clientHeight;
  if (scrolls) region.tabIndex = 0;
  else region.removeAttribute("tabindex");
}

function showTable(id, caption, rows) {
  const body = element(id);
  write(element(id + "-caption"), caption);
  body.replaceChildren(...rows);
  const table = body.parentNode;
  const region = table.parentNode;
  table.tHead.hidden = !rows.length;
  showRegion(region);
}

function showWaiting(status) {
  const { total, oldest } = status.waiting;
  const caption = !total ? "None." : total > oldest.length
    ? "The oldest " + oldest.length + " of " + count(total) + "." : count(total) + ", oldest first.";
  showTable("waiting", caption, oldest.map((entry) => row([
    entry.agent, STAGES[entry.stage] || entry.stage, entry.lastFailure ? words(entry.lastFailure) : "none",
    nextTry(entry, status), entry.ageMs === null ? "unknown" : roughly(entry.ageMs),
  ], 0, [4])));
}

/* What an operator asks first: which agent is it that does not answer, and since when? */
function showAgents(status) {
  const { list, scheduled, unusableSlugs } = status.agents;
  const caption = !scheduled ? "The board has listed none yet." : scheduled > list.length
    ? "The first " + list.length + " of " + count(scheduled) + "." : plural(scheduled, "agent.", "agents.");
  const since = (ms, never) => ms === null ? never : roughly(Math.max(ms, 1000)).replace(/\.\d/, "") + " ago";
  showTable("agents", caption, list.map((agent) => {
    const fails = agent.failingMs !== null;
    const isKnown = agent.knownToGateway && !unusableSlugs.includes(agent.agent);
    const made = row([
      agent.agent || "unnamed", fails ? "for " + roughly(agent.failingMs) : "no", count(agent.inFlight),
      count(agent.waiting), since(agent.lastReplyMs, "none yet"), since(agent.lastWakeMs, "not yet"),
      agent.nextWakeMs === null ? "now" : "in " + roughly(agent.nextWakeMs),
      isKnown ? "yes" : agent.knownToGateway ? "slug not usable" : "no",
    ], 0, [2, 3]);
    made.cells[1].classList.toggle("wrong", fails);
    made.cells[7].classList.toggle("wrong", !isKnown);
    return made;
  }));
}

function showWorkers(status) {
  const busy = status.workers.filter((worker) => worker.busy).sort((a, b) => b.forMs - a.forMs);
  const idle = status.workers.filter((worker) => !worker.busy);
  const caption = busy.length ? busy.length + " busy, " + idle.length + " idle."
    : "All " + idle.length + " are idle.";
  const rows = busy.map((worker) => row([
    String(worker.number), worker.does, worker.agent,
    worker.does === "wake-up" ? "being woken" : STAGES[worker.stage] || worker.stage, span(worker.forMs),
  ], 0, [4]));
  rows.push(...idle.map((worker) =>
    row([String(worker.number), "idle", "", "", span(worker.forMs)], 0, [4], "quiet")));
  showTable("workers", caption, busy.length ? rows : []);
}

function showErrors(errors) {
  element("errors-none").hidden = errors.length > 0;
  element("errors").hidden = !errors.length;
  element("errors").replaceChildren(...errors.map((error) => {
    const item = make("li", "", error.text);
    item.append(make("small", "", error.part + ", " + ago(error.agoMs) +
      (error.times > 1 ? ", " + count(error.times) + " times" : "") +
      " (" + new Date(error.at).toLocaleTimeString() + ")"));
    return item;
  }));
  showRegion(element("errors").parentNode);
}

/* facts are [label, text, wrong]; those with the text null are left out. */
function showFacts(id, facts) {
  element(id).replaceChildren(...facts.filter(([, text]) => text !== null).flatMap(
    ([label, text, wrong]) => [make("dt", "", label), make("dd", wrong ? "wrong" : "", text)]));
}

function showParts(status) {
  const { gateway, spool, backend, agents, versions } = status;
  /* In /status the words are those of a gate, which is open when agents can be asked. */
  const breaker = { open: "closed, agents can be asked", trickle: "closed, three sends at a time", suspect: "half-open, being probed", shut: "open, no agent is asked" };
  const tools = { flat: "taken", none: "not taken", unknown: "not known yet" };
  const process = gateway.process;
  showFacts("gateway", [
    ["Circuit breaker", breaker[gateway.state] || gateway.state, gateway.state !== "open"],
    ["Since", ago(gateway.forMs)],
    ["Reason", gateway.reason],
    ["Sends", status.heldByHand ? "paused by an operator" : "not paused", status.heldByHand],
    ["Next probe", gateway.nextProbeMs === null ? null : gateway.nextProbeMs ? "in " + span(gateway.nextProbeMs) : "now"],
    ["Next send", gateway.nextSendMs === null ? null : "in " + span(gateway.nextSendMs)],
    ["Last send", ago(gateway.lastSendMs)],
    ["Tools for agents", gateway.toolsCollide ? "refused: a name collides" : tools[gateway.toolDialect], gateway.toolsCollide],
    ["Process", process && (process.accepting ? "running" : "not accepting connections") + ", " + plural(process.restarts, "restart", "restarts"), process && !process.accepting],
  ]);
  showFacts("spool", [
    ["State directory", spool.broken ? "not writable" : "writable", spool.broken],
    ["Records", count(spool.entries)],
    ["Oldest", spool.entries ? span(spool.oldestMs || 0) + " old" : null],
    ["Dead letters", spool.dead ? count(spool.dead) + " (" + bytes(spool.deadBytes) + ")" : "none", spool.dead > 0],
    ["Runs", plural(status.totals.agentRuns, "agent run", "agent runs") + " since startup"],
    ["Skipped", plural(status.totals.skipped, "notification", "notifications")],
  ]);
  const some = (total, slugs) => total ? slugs.join(", ") + (total > slugs.length ? " and others" : "") : "none";
  showFacts("backend", [
    ["Version", backend.version],
    ["Last successful poll", ago(backend.lastPollMs), backend.pollFailures > 0],
    ["Failed polls", backend.pollFailures ? count(backend.pollFailures) + " in a row" : "none", backend.pollFailures > 0],
    ["Last agent sync", ago(backend.lastSyncMs)],
    ["Last report", ago(backend.lastReportMs)],
    ["Scheduled agents", count(agents.scheduled)],
    ["Unknown to the gateway", some(agents.unknownTotal, agents.unknownToGateway), agents.unknownTotal > 0],
    ["Slugs not usable", agents.unusableTotal ? some(agents.unusableTotal, agents.unusableSlugs) : null, true],
  ]);
  write(element("versions"), "account " + status.account + ", runtime " + versions.runtimeService + ", OpenClaw " + versions.openclaw);
}

function showCharts() {
  if (!seen.status) return;
  const samples = readHistory(seen.status.history);
  write(element("charts-title"), "Last " + axisFor(samples)[0] + " minutes");
  for (const chart of CHARTS) showChart(chart, samples);
}

function show(status) {
  showState(status);
  showSeen();
  showTiles(status, readHistory(status.history));
  showCharts();
  showAgents(status);
  showWaiting(status);
  showWorkers(status);
  showErrors(status.errors);
  showParts(status);
}

class NoResponse extends Error {}

async function fetchStatus() {
  const stop = new AbortController();
  const limit = setTimeout(() => stop.abort(), RESPONSE_TIMEOUT_MS);
  try {
    const answer = await fetch("/status", { signal: stop.signal, cache: "no-store" });
    if (!answer.ok) throw new NoResponse("The runtime responded with status " + answer.status + ".");
    return await answer.json();
  } catch (error) {
    throw error instanceof NoResponse ? error : new NoResponse("The runtime does not respond.");
  } finally {
    clearTimeout(limit);
  }
}

async function refresh() {
  if (seen.polling || document.hidden) return;
  seen.polling = true;
  clearTimeout(seen.timer);
  try {
    const status = await fetchStatus();
    Object.assign(seen, { status, at: Date.now() });
    show(status);
  } catch (error) {
    showUnreachable(error instanceof NoResponse ? error.message : "This page belongs to another version of the runtime. Reload it.");
    showSeen();
  } finally {
    seen.polling = false;
    if (!document.hidden) seen.timer = setTimeout(refresh, POLL_INTERVAL_MS);
  }
}

write(element("where"), location.host);
CHARTS.forEach(makeChart);
document.addEventListener("visibilitychange", () => {
  clearTimeout(seen.timer);
  refresh();
});
window.addEventListener("resize", showCharts);
refresh();

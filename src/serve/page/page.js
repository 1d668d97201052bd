"use strict";

const EVERY_MS = 2000;
const LIMIT_MS = 5000;
const MINUTE_MS = 60 * 1000;
const WINDOW_MS = 30 * MINUTE_MS;

const element = (id) => document.getElementById(id);
const seen = { status: null, at: 0, timer: 0, asking: false };

/* Texts from the runtime only ever become text nodes. */
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

/* What did not change is left alone, so that nobody is told of it again. */
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

/* A duration in at most two units. */
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

/* In one unit. */
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
  healthy: ["Healthy", "Notifications are delivered."],
  degraded: ["Degraded", "Something keeps notifications from being delivered:"],
  held: ["Held by hand", "Everything works, but no agent is asked:"],
  starting: ["Starting", "The runtime is not ready yet."],
  stopping: ["Stopping", "What is under way may end; nothing new begins."],
};

const STAGES = {
  known: "to be asked",
  sending: "being asked",
  replied: "to be written back",
  written: "to be marked",
  giving_up: "giving up",
  settled: "ended",
};

function showState(status) {
  const [word, line] = STATES[status.state] || [status.state, ""];
  element("state").dataset.state = status.state in STATES ? status.state : "unknown";
  write(element("state-word"), word);
  write(element("state-line"), line);
  const list = element("reasons");
  const old = [...list.children].map((item) => item.textContent);
  if (old.join("\n") !== status.reasons.join("\n"))
    list.replaceChildren(...status.reasons.map((reason) => make("li", "", reason)));
  list.hidden = !status.reasons.length;
  document.title = word + " - Mission Control runtime";
}

function showUnreachable(why) {
  element("state").dataset.state = "unreachable";
  write(element("state-word"), "No answer");
  write(element("state-line"), seen.status
    ? why + " What is shown below is from when it last told its state."
    : why);
  element("reasons").hidden = true;
  document.title = "No answer - Mission Control runtime";
}

function showSeen() {
  const unreachable = element("state").dataset.state === "unreachable";
  if (!seen.at) return;
  write(element("seen"), unreachable
    ? "last seen " + ago(Date.now() - seen.at)
    : "up for " + span(seen.status.uptimeMs).replace(/\.\d/, "") + ", updated " + new Date(seen.at).toLocaleTimeString());
}

/* The samples as objects, each with how long ago its middle was. */
function readHistory(history) {
  let end = 0;
  const samples = history.samples.slice().reverse().map((row) => {
    const sample = Object.fromEntries(history.columns.map((name, i) => [name, row[i]]));
    sample.agoMs = end + sample.lastedMs / 2;
    end += sample.lastedMs;
    return sample;
  });
  return samples.reverse().filter((sample) => sample.agoMs <= WINDOW_MS);
}

/* Samples put together to minutes, the last of which ends now. */
function toMinutes(samples) {
  const minutes = [];
  let open = null;
  let endMs = 0;
  for (const sample of samples.slice().reverse()) {
    open = open || { lastedMs: 0, delivered: 0, failed: 0 };
    for (const name of ["lastedMs", "delivered", "failed"]) open[name] += sample[name];
    if (open.lastedMs < MINUTE_MS && sample !== samples[0]) continue;
    minutes.push({ ...open, agoMs: endMs + open.lastedMs / 2 });
    endMs += open.lastedMs;
    open = null;
  }
  return minutes.reverse();
}

/* Of what took longer than that, the runtime tells no more than this. */
function half(last, longestMs) {
  return last.p50Ms < longestMs ? span(last.p50Ms) : "over " + span(longestMs);
}

function most(last, longestMs) {
  return last.p95Ms < longestMs ? "95 % within " + span(last.p95Ms) : "5 % and more take over " + span(longestMs);
}

/* Of what is younger than ten seconds, no more is told than if it were as old. */
const perMinute = (name) => (sample) => (sample[name] * MINUTE_MS) / Math.max(sample.lastedMs, 10000);
const inSeconds = (name) => (sample) => (sample[name] === null ? null : sample[name] / 1000);
const plain = (name) => (sample) => sample[name];

const CHARTS = [
  {
    id: "rate", title: "Deliveries", unit: "per minute", empty: "nothing delivered yet", minutes: true,
    series: [["delivered", perMinute("delivered")], ["failed attempts", perMinute("failed")]],
  },
  {
    id: "latency", title: "Time to deliver", unit: "seconds", empty: "nothing delivered yet", gaps: true,
    series: [["half within", inSeconds("p50Ms")], ["95 % within", inSeconds("p95Ms")]],
  },
  {
    id: "queue", title: "Queue", unit: "notifications", empty: "nothing has waited",
    series: [["ready for a worker", plain("ready")], ["waiting after a failure", plain("waiting")]],
  },
  {
    id: "busy", title: "Busy workers", unit: "workers", empty: "no worker was busy",
    series: [["busy", plain("busy")]],
  },
];

const NAMES = ["one", "two"];

/* The least round number that is not below the highest value. */
function ceiling(highest, whole) {
  const step = 10 ** Math.floor(Math.log10(Math.max(highest, 1e-3)));
  const found = [1, 2, 4, 6, 8, 10].find((factor) => factor * step >= highest * 0.999999) * step;
  return whole ? Math.max(found, 2) : found;
}

function axes(svg, box, top, unit) {
  for (const share of [0, 0.5, 1]) {
    const y = box.bottom - share * (box.bottom - box.top);
    svg.append(draw("line", { class: share ? "grid" : "base", x1: box.left, x2: box.right, y1: y, y2: y }));
    svg.append(draw("text", { x: box.left - 7, y: y + 4, "text-anchor": "end" }, short(top * share)));
  }
  for (const minutes of [30, 20, 10, 0]) {
    const x = box.right - (minutes / 30) * (box.right - box.left);
    const anchor = minutes === 30 ? "start" : minutes ? "middle" : "end";
    svg.append(draw("text", { x, y: box.bottom + 17, "text-anchor": anchor },
      minutes ? "-" + minutes + " min" : "now"));
  }
}

/* Runs of points that belong together: two minutes without a value end one. */
function runs(points) {
  const found = [];
  let last = Infinity;
  for (const point of points.filter((one) => one.value !== null)) {
    if (last - point.agoMs > 2 * MINUTE_MS) found.push([]);
    found[found.length - 1].push(point);
    last = point.agoMs;
  }
  return found;
}

function drawSeries(svg, box, points, top, name, gaps) {
  const place = (point) => [
    box.right - (point.agoMs / WINDOW_MS) * (box.right - box.left),
    box.bottom - (point.value / top) * (box.bottom - box.top),
  ].map((number) => number.toFixed(1));
  for (const run of runs(points)) {
    const path = run.map((point, i) => (i ? "L" : "M") + place(point).join(" ")).join("");
    if (run.length === 1) {
      const [cx, cy] = place(run[0]);
      svg.append(draw("circle", { class: "dot " + name, cx, cy, r: 2.5 }));
      continue;
    }
    if (name === "one" && !gaps) {
      const [first] = place(run[0]);
      const [last] = place(run[run.length - 1]);
      svg.append(draw("path", { class: "area", d: path + "L" + last + " " + box.bottom + "L" + first + " " + box.bottom + "Z" }));
    }
    svg.append(draw("path", { class: "series " + name, d: path }));
  }
}

/* What the picture shows, in words. */
function summary(chart, all) {
  return chart.series.map(([label], i) => {
    const values = all[i].map((point) => point.value).filter((value) => value !== null);
    if (!values.length) return label + ": none";
    return label + ": last " + short(values[values.length - 1]) + ", highest " + short(Math.max(...values));
  }).join("; ");
}

function makeChart(chart) {
  const figure = make("figure");
  const heading = make("h3", "", chart.title + " ");
  heading.append(make("span", "", chart.unit));
  const legend = make("ul", "legend");
  legend.append(...chart.series.map(([label], i) => {
    const item = make("li");
    const swatch = draw("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
    swatch.append(draw("path", { class: "series " + NAMES[i], d: "M2 5H24" }));
    item.append(swatch, label);
    return item;
  }));
  const svg = draw("svg", { class: "chart", role: "img", id: "chart-" + chart.id });
  figure.append(heading, legend, svg, make("figcaption"));
  element("charts").append(figure);
}

function showChart(chart, samples) {
  const svg = element("chart-" + chart.id);
  const width = Math.max(svg.clientWidth, 200);
  const box = { left: 42, right: width - 6, top: 10, bottom: 124 };
  const shown = chart.minutes ? toMinutes(samples) : samples;
  const all = chart.series.map(([, value]) =>
    shown.map((sample) => ({ agoMs: sample.agoMs, value: value(sample) })));
  const highest = Math.max(0, ...all.flat().map((point) => point.value));
  const top = highest ? ceiling(highest, !chart.gaps) : 1;
  const text = highest ? summary(chart, all) : chart.empty;
  svg.replaceChildren();
  svg.setAttribute("viewBox", "0 0 " + width + " 150");
  svg.setAttribute("aria-label", chart.title + " (" + chart.unit + "), last 30 minutes. " + text);
  axes(svg, box, top, chart.unit);
  if (highest)
    all.forEach((points, i) => drawSeries(svg, box, points, top, NAMES[i], chart.gaps));
  else
    svg.append(draw("text", { class: "empty", x: (box.left + box.right) / 2, y: 58, "text-anchor": "middle" }, chart.empty));
  write(svg.parentNode.querySelector("figcaption"), highest ? text[0].toUpperCase() + text.slice(1) : "");
}

function showTiles(status, samples) {
  const sum = (name) => samples.reduce((total, sample) => total + sample[name], 0);
  const last = samples.filter((sample) => sample.p50Ms !== null).pop();
  const rate = perMinute("delivered")(toMinutes(samples).pop());
  const busy = status.workers.filter((worker) => worker.busy).length;
  const { longestMs } = status.history;
  const { queue, totals, spool } = status;
  const tiles = [
    ["Delivered", count(totals.delivered), "", count(sum("delivered")) + " in 30 min"],
    ["Rate", short(rate), "per min", "over the last minute"],
    ["Time to deliver", last ? half(last, longestMs) : "-", "", last ? most(last, longestMs) : "nothing delivered yet"],
    ["Undelivered", count(queue.undelivered), "", queue.undelivered ? "oldest: " + roughly(queue.oldestMs || 0) : "nothing waits"],
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

/* cells are texts; the one at heading names the row, those in numbers are set to the right. */
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
  if (entry.stage !== "known") return "in its turn";
  if (status.heldByHand) return "when sends are released";
  return ["open", "trickle"].includes(status.gateway.state) ? "in its turn" : "when the gateway answers";
}

/* The keyboard reaches a region for what of it cannot be seen, and passes over one that shows all. */
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
    ? "The oldest " + oldest.length + " of " + count(total) + "." : count(total) + ", the oldest first.";
  showTable("waiting", caption, oldest.map((entry) => row([
    entry.agent, STAGES[entry.stage] || entry.stage, entry.lastFailure ? words(entry.lastFailure) : "none",
    nextTry(entry, status), entry.ageMs === null ? "unknown" : roughly(entry.ageMs),
  ], 0, [4])));
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

/* facts are [label, text, wrong]; one without a text is left out. */
function showFacts(id, facts) {
  element(id).replaceChildren(...facts.filter(([, text]) => text !== null).flatMap(
    ([label, text, wrong]) => [make("dt", "", label), make("dd", wrong ? "wrong" : "", text)]));
}

function showParts(status) {
  const { gateway, spool, backend, agents, versions } = status;
  const gate = { open: "open: agents can be asked", trickle: "open, one send at a time", suspect: "suspect: being probed", shut: "shut: no agent is asked" };
  const process = gateway.process;
  showFacts("gateway", [
    ["Gate", gate[gateway.state] || gateway.state, gateway.state !== "open"],
    ["Since", ago(gateway.forMs)],
    ["Reason", gateway.reason],
    ["By hand", status.heldByHand ? "sends are held" : "not held", status.heldByHand],
    ["Next probe", gateway.nextProbeMs === null ? null : gateway.nextProbeMs ? "in " + span(gateway.nextProbeMs) : "now"],
    ["Next send", gateway.nextSendMs === null ? null : "in " + span(gateway.nextSendMs)],
    ["Last send", ago(gateway.lastSendMs)],
    ["Process", process && (process.accepting ? "runs" : "accepts no connections") + ", " + plural(process.restarts, "restart", "restarts"), process && !process.accepting],
  ]);
  showFacts("spool", [
    ["State directory", spool.broken ? "cannot be written" : "works", spool.broken],
    ["Records", count(spool.entries)],
    ["Oldest", spool.entries ? span(spool.oldestMs || 0) + " old" : null],
    ["Dead letters", spool.dead ? count(spool.dead) + " (" + bytes(spool.deadBytes) + ")" : "none", spool.dead > 0],
    ["Runs", plural(status.totals.agentRuns, "agent run", "agent runs") + " since the start"],
    ["Skipped", plural(status.totals.skipped, "notification", "notifications")],
  ]);
  showFacts("backend", [
    ["Last good poll", ago(backend.lastPollMs), backend.pollFailures > 0],
    ["Failed polls", backend.pollFailures ? count(backend.pollFailures) + " in a row" : "none", backend.pollFailures > 0],
    ["Last agent sync", ago(backend.lastSyncMs)],
    ["Last report", ago(backend.lastReportMs)],
    ["Agents to wake", count(agents.scheduled)],
    ["Unknown to the gateway", agents.unknownTotal ? agents.unknownToGateway.join(", ") +
      (agents.unknownTotal > agents.unknownToGateway.length ? " and others" : "") : "none", agents.unknownTotal > 0],
  ]);
  write(element("versions"), "runtime " + versions.runtimeService + ", OpenClaw " + versions.openclaw);
}

function showCharts() {
  if (!seen.status) return;
  const samples = readHistory(seen.status.history);
  for (const chart of CHARTS) showChart(chart, samples);
}

function show(status) {
  showState(status);
  showSeen();
  showTiles(status, readHistory(status.history));
  showCharts();
  showWaiting(status);
  showWorkers(status);
  showErrors(status.errors);
  showParts(status);
}

class NoAnswer extends Error {}

async function ask() {
  const stop = new AbortController();
  const limit = setTimeout(() => stop.abort(), LIMIT_MS);
  try {
    const answer = await fetch("/status", { signal: stop.signal, cache: "no-store" });
    if (!answer.ok) throw new NoAnswer("The runtime answers with status " + answer.status + ".");
    return await answer.json();
  } catch (error) {
    throw error instanceof NoAnswer ? error : new NoAnswer("The runtime does not answer.");
  } finally {
    clearTimeout(limit);
  }
}

async function refresh() {
  if (seen.asking || document.hidden) return;
  seen.asking = true;
  clearTimeout(seen.timer);
  try {
    const status = await ask();
    Object.assign(seen, { status, at: Date.now() });
    show(status);
  } catch (error) {
    showUnreachable(error instanceof NoAnswer ? error.message : "This page is of another version than the runtime: load it again.");
    showSeen();
  } finally {
    seen.asking = false;
    if (!document.hidden) seen.timer = setTimeout(refresh, EVERY_MS);
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

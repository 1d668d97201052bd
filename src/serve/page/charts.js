"use strict";

/*
 * The charts of the status page, from the samples that /status has. They show what there is: the
 * axis begins two minutes long and grows with the history, up to half an hour.
 */

const MINUTE_MS = 60 * 1000;
const WINDOW_MS = 30 * MINUTE_MS;
/* The lengths that the axis may have, in minutes, and between its labels. */
const AXES = [[2, 1], [5, 1], [10, 2], [20, 5], [30, 10]];

/* The samples as objects, each with the age of its middle. */
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

/* The shortest axis on which all samples fit: its length in minutes, and that between labels. */
function axisFor(samples) {
  const total = samples.reduce((sum, sample) => sum + sample.lastedMs, 0);
  return AXES.find(([minutes]) => total <= minutes * MINUTE_MS) || AXES[AXES.length - 1];
}

/* The samples combined into minutes, the last of which ends now. */
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

/* A 95th percentile of fewer deliveries than this is only the slowest of them. */
const ENOUGH = 20;

/* longestMs is the last bound of the histogram: longer times are not known more precisely. */
function medianText(last, longestMs) {
  return last.p50Ms < longestMs ? span(last.p50Ms) : "over " + span(longestMs);
}

function p95Text(last, longestMs) {
  if (last.timed < ENOUGH) return "median of " + plural(last.timed, "delivery", "deliveries");
  return last.p95Ms < longestMs ? "95 % within " + span(last.p95Ms) : "at least 5 % take over " + span(longestMs);
}

/* In a minute that has only begun the rate is what there was so far: it is not extrapolated. */
const perMinute = (name) => (sample) => (sample[name] * MINUTE_MS) / Math.max(sample.lastedMs, MINUTE_MS);
const inSeconds = (name) => (sample) => (sample[name] === null ? null : sample[name] / 1000);
const p95InSeconds = (sample) => (sample.timed < ENOUGH ? null : inSeconds("p95Ms")(sample));
const plain = (name) => (sample) => sample[name];

const CHARTS = [
  {
    id: "rate", title: "Deliveries", unit: "per minute", empty: "nothing delivered yet", minutes: true,
    series: [["delivered", perMinute("delivered")], ["failed attempts", perMinute("failed")]],
  },
  {
    id: "latency", title: "Time to deliver", unit: "seconds, over 5 min", empty: "nothing delivered yet", gaps: true,
    series: [["median", inSeconds("p50Ms")], ["95th percentile, of " + ENOUGH + " or more", p95InSeconds]],
  },
  {
    id: "queue", title: "Queue", unit: "notifications", empty: "the queue was empty",
    series: [["ready for a worker", plain("ready")], ["waiting after a failure", plain("waiting")]],
  },
  {
    id: "busy", title: "Busy workers", unit: "workers", empty: "no worker was busy",
    series: [["busy", plain("busy")]],
  },
];

const NAMES = ["one", "two"];

/* The smallest round number that is not below the highest value. */
function ceiling(highest, whole) {
  const step = 10 ** Math.floor(Math.log10(Math.max(highest, 1e-3)));
  const found = [1, 2, 4, 6, 8, 10].find((factor) => factor * step >= highest * 0.999999) * step;
  return whole ? Math.max(found, 2) : found;
}

function axes(svg, box, top, [length, step]) {
  for (const share of [0, 0.5, 1]) {
    const y = box.bottom - share * (box.bottom - box.top);
    svg.append(draw("line", { class: share ? "grid" : "base", x1: box.left, x2: box.right, y1: y, y2: y }));
    svg.append(draw("text", { x: box.left - 7, y: y + 4, "text-anchor": "end" }, short(top * share)));
  }
  for (let minutes = length; minutes >= 0; minutes -= step) {
    const x = box.right - (minutes / length) * (box.right - box.left);
    const anchor = minutes === length ? "start" : minutes ? "middle" : "end";
    svg.append(draw("text", { x, y: box.bottom + 17, "text-anchor": anchor },
      minutes ? "-" + minutes + " min" : "now"));
  }
}

/* Splits the points where there is no value for two minutes: a line must not bridge a gap. */
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

function drawSeries(svg, box, points, top, name, gaps, windowMs) {
  const place = (point) => [
    box.right - (point.agoMs / windowMs) * (box.right - box.left),
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

/* The chart in words, for its label and caption. */
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
  const axis = axisFor(samples);
  const windowMs = axis[0] * MINUTE_MS;
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
  svg.setAttribute("aria-label", chart.title + " (" + chart.unit + "), last " + axis[0] + " minutes. " + text);
  axes(svg, box, top, axis);
  if (highest)
    all.forEach((points, i) => drawSeries(svg, box, points, top, NAMES[i], chart.gaps, windowMs));
  else
    svg.append(draw("text", { class: "empty", x: (box.left + box.right) / 2, y: 58, "text-anchor": "middle" }, chart.empty));
  write(svg.parentNode.querySelector("figcaption"), highest ? text[0].toUpperCase() + text.slice(1) : "");
}

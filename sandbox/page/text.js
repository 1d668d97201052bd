"use strict";

/*
 * Texts of the board as nodes: Markdown, times, ids, initials. Text only ever becomes a text node,
 * never markup, whatever it contains. Links lead nowhere but to documents on this page: what an
 * agent writes must not take a reader elsewhere with one click.
 */

const element = (id) => document.getElementById(id);

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/* Unchanged text is not written, so that a screen reader does not announce it again. */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function list(names) {
  if (names.length < 2) return names.join("");
  return names.slice(0, -1).join(", ") + " and " + names[names.length - 1];
}

/* An age in words, with the verb's tense left to the caller: "just now", "12 s ago". */
function ageText(time) {
  const seconds = Math.max(0, Math.round((Date.now() - time) / 1000));
  if (seconds < 5) return "just now";
  if (seconds < 60) return seconds + " s ago";
  if (seconds < 3600) return Math.round(seconds / 60) + " min ago";
  if (seconds < 48 * 3600) return Math.round(seconds / 3600) + " h ago";
  return Math.round(seconds / 86400) + " days ago";
}

/* The age of a time, kept up to date by showAges, with the full time on hover. */
function makeTime(time) {
  const made = make("time", "when", ageText(time));
  made.dateTime = new Date(time).toISOString();
  made.title = new Date(time).toLocaleString();
  return made;
}

function showAges() {
  for (const node of document.querySelectorAll("time")) write(node, ageText(Date.parse(node.dateTime)));
}

/* Ids are 31 to 37 characters of the backend's alphabet; a word of that form has a digit at most by
   chance, so one is asked for. */
const ID = /\b(?=[a-z]*\d)[0-9a-hjkmnp-tv-z]{31,37}\b/;
const SHORT_ID = 7;

function makeId(id) {
  const made = make("span", "id", id.slice(0, SHORT_ID) + "…");
  made.title = id;
  return made;
}

/* Two letters for an agent or a person, in one of six colours; names are read out beside them. */
function makeInitials(name) {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const letters = words.length > 1 ? [...words[0]][0] + [...words[words.length - 1]][0]
    : [...(words[0] || "?")].slice(0, 2).join("");
  const sum = [...name].reduce((total, letter) => total + letter.codePointAt(0), 0);
  const made = make("span", "initials colour-" + sum % 6, letters.toUpperCase());
  made.setAttribute("aria-hidden", "true");
  return made;
}

/* A link to a document of the task, which opens it beside the thread. */
function makeDocumentLink(text, id) {
  const link = make("a", "", text);
  link.href = "#document-" + id;
  link.addEventListener("click", (event) => {
    const shown = element("document-" + id);
    event.preventDefault();
    if (!shown) return;
    shown.open = true;
    shown.scrollIntoView({ block: "nearest" });
    shown.querySelector("summary").focus();
  });
  return link;
}

/* The lengths are limited so that no text makes the search slow. */
const INLINE = new RegExp([
  /`(?<code>[^`\n]{1,1000})`/,
  /\[(?<label>[^\]\n]{1,300})\]\((?<url>[^()\s]{1,1000})\)/,
  /\*\*(?<bold>[^\n]{1,1000}?)\*\*/,
  /(?<![\w*])\*(?<italic>[^*\s][^*\n]{0,500})\*(?![\w*])/,
  /(?<mention>@\w[\w-]{0,100}|@"[^"\n]{1,100}")/,
  new RegExp("(?<id>" + ID.source + ")"),
].map((part) => part.source).join("|"), "gu");

function makeLink(label, url) {
  const id = /^\/document\/([a-z0-9]+)$/.exec(url);
  if (id) return [makeDocumentLink(label, id[1])];
  return label === url ? [label] : [...makeInline(label), " (" + url + ")"];
}

function makePart(groups, whole) {
  if (groups.code !== undefined) return [make("code", "", groups.code)];
  if (groups.label !== undefined) return makeLink(groups.label, groups.url);
  if (groups.mention !== undefined) return [make("span", "mention", whole)];
  if (groups.id !== undefined) return [makeId(whole)];
  const made = make(groups.bold !== undefined ? "strong" : "em");
  made.append(...makeInline(groups.bold !== undefined ? groups.bold : groups.italic));
  return [made];
}

/* The nodes and strings of one or several lines of text. */
function makeInline(text) {
  const nodes = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    nodes.push(text.slice(at, found.index), ...makePart(found.groups, found[0]));
    at = found.index + found[0].length;
  }
  nodes.push(text.slice(at));
  return nodes.filter((node) => node !== "");
}

const FENCE = /^\s{0,3}(```+|~~~+)/;
const HEADING = /^\s{0,3}#{1,6}\s+(.*)$/;
const RULE = /^\s{0,3}([-*_])(\s*\1){2,}\s*$/;
const QUOTE = /^\s{0,3}>\s?(.*)$/;
const ITEM = /^(\s{0,20})([-*+]|(\d{1,9})[.)])\s+(.*)$/;
const DEEPEST_LIST = 5;

/* Lines that are taken from the front, one by one. */
class Lines {
  constructor(lines) {
    this.lines = lines;
    this.at = 0;
  }

  /* The next line; undefined at the end. */
  get next() {
    return this.lines[this.at];
  }

  get hasText() {
    return this.at < this.lines.length && this.next.trim() !== "";
  }

  take() {
    return this.lines[this.at++];
  }
}

/* A fenced block goes on to its closing fence, or to the end. */
function takeFenced(lines) {
  const fence = FENCE.exec(lines.take())[1];
  const inner = [];
  while (lines.next !== undefined && !lines.next.trim().startsWith(fence)) inner.push(lines.take());
  lines.take();
  const made = make("pre");
  made.append(make("code", "", inner.join("\n")));
  return made;
}

function takeQuote(lines, depth) {
  const inner = [];
  while (lines.hasText && QUOTE.test(lines.next)) inner.push(QUOTE.exec(lines.take())[1]);
  const made = make("blockquote");
  made.append(...makeBlocks(inner, depth + 1));
  return made;
}

/* Lines that continue an item are indented more than its mark; deeper marks make lists in it. */
function takeList(lines, depth) {
  const [, indent, , number] = ITEM.exec(lines.next);
  const made = make(number === undefined ? "ul" : "ol");
  if (number !== undefined && Number(number) !== 1) made.start = Number(number);
  for (let found; lines.hasText && (found = ITEM.exec(lines.next)); ) {
    if (found[1].length !== indent.length || (found[3] === undefined) !== (number === undefined)) break;
    lines.take();
    const inner = [found[4]];
    while (lines.hasText && /^\s*/.exec(lines.next)[0].length > indent.length) inner.push(lines.take());
    const item = make("li");
    item.append(...makeBlocks(inner, depth + 1));
    made.append(item);
  }
  return made;
}

function takeParagraph(lines) {
  const taken = [lines.take().trimStart()];
  const begins = [FENCE, HEADING, RULE, QUOTE, ITEM];
  while (lines.hasText && !begins.some((one) => one.test(lines.next)))
    taken.push(lines.take().trimStart());
  const made = make("p");
  made.append(...makeInline(taken.join("\n")));
  return made;
}

function takeHeading(lines) {
  const made = make("p", "heading");
  made.append(...makeInline(HEADING.exec(lines.take())[1]));
  return made;
}

function takeRule(lines) {
  lines.take();
  return make("hr");
}

function takeBlock(lines, depth) {
  const line = lines.next;
  if (FENCE.test(line)) return takeFenced(lines);
  if (HEADING.test(line)) return takeHeading(lines);
  if (RULE.test(line)) return takeRule(lines);
  if (depth < DEEPEST_LIST && QUOTE.test(line)) return takeQuote(lines, depth);
  if (depth < DEEPEST_LIST && ITEM.test(line)) return takeList(lines, depth);
  return takeParagraph(lines);
}

function makeBlocks(texts, depth) {
  const lines = new Lines(texts);
  const blocks = [];
  while (lines.next !== undefined)
    if (lines.hasText) blocks.push(takeBlock(lines, depth));
    else lines.take();
  return blocks;
}

/* The blocks of a text in Markdown. */
function makeMarkdown(text) {
  return makeBlocks(text.split(/\r?\n/), 0);
}

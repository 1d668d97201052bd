"use strict";

/*
 * The board: tasks by status, the thread of one of them, and who is there. It long-polls for
 * changes, so replies appear without a reload, and looks for the runtime every second, because its
 * end is no change of the board.
 */

const board = {
  tasks: [], agents: [], users: [], accounts: [], notifications: [], thread: null, calls: [],
  task: null, backend: "v1", running: new Set(),
};

/* What /sandbox/runtime says; null while the sandbox does not answer. What is shown goes by it. */
let presence = null;
let shownAsQuiet = true;
let loaded = false; /* the board: before, nothing can be said of it */

const PRESENCE_INTERVAL_MS = 1000;
const READERS_DELAY_MS = 150;

async function request(path, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch("/sandbox/" + path, options);
  } catch {
    throw new Error("The sandbox does not answer. This page goes on trying; is it still running?");
  }
  const value = await answer.json();
  if (!answer.ok)
    throw new Error("The sandbox refused this: " + (value.message || "status " + answer.status) + ".");
  return value;
}

/* What a person reads of an error: ours are sentences. */
function sentenceOf(error) {
  return error.message;
}

function showError(error) {
  element("trouble").hidden = !error;
  write(element("trouble"), error ? sentenceOf(error) : "");
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/* The runtime. */

const PRESENCE_TEXTS = {
  none: "No runtime has called yet", starting: "Runtime starting", silent: "Runtime silent",
  lost: "Runtime lost", stopped: "Runtime stopped",
};

/* A silent one may be busy, or poll rarely: what is known of it still holds. */
function isRuntimeGone() {
  return !presence || ["none", "lost", "stopped"].includes(presence.presence);
}

function isRuntimeQuiet() {
  return isRuntimeGone() || presence.presence === "silent";
}

function showRuntime() {
  const word = presence ? presence.presence : "unknown";
  write(element("runtime"), presence ? PRESENCE_TEXTS[word] || "Runtime " + word : "Runtime unknown");
  element("runtime").className = "badge " + word;
  const seen = presence && presence.silent_ms !== undefined && isRuntimeQuiet();
  write(element("runtime-seen"), seen ? "last call " + ageText(Date.now() - presence.silent_ms) : "");
  const link = element("runtime-link");
  link.hidden = !(presence && presence.url);
  if (!link.hidden) link.href = presence.url;
}

async function readPresence() {
  presence = await request("runtime").catch(() => null);
}

/* Looks again and again; what has changed by it is shown at once, ages every second. */
async function followRuntime() {
  for (;;) {
    if (!document.hidden) {
      await readPresence();
      const waits = board.backend === "v0" && board.notifications.length > 0;
      if (waits) await readRunning();
      showRuntime();
      showAges();
      if (loaded && (waits || shownAsQuiet !== isRuntimeQuiet())) showAll();
    }
    await sleep(PRESENCE_INTERVAL_MS);
  }
}

/* The agent runs that the gateway is at, among the latest. */
async function runsInFlight() {
  const { gateway } = await request("stats");
  if (!gateway.in_flight) return [];
  const { requests } = await request("gateway?since=" + Math.max(0, gateway.requests - 50));
  return requests.filter((run) => !run.ended_us);
}

/* Version 0 of the backend does not know who is typing: the gateway's runs tell. */
async function readRunning() {
  const runs = await runsInFlight().catch(() => []);
  board.running = new Set(runs.map((run) => run.notification));
}

/* Tasks. */

/* In the order of a task's life; a status that is not listed gets a column at the end. */
const STATUSES = ["inbox", "assigned", "in_progress", "review", "blocked", "done", "archived"];
const RARE = ["archived"];

function isTyping(notification) {
  if (isRuntimeGone()) return false;
  if (board.backend === "v0") return board.running.has(notification._id);
  return notification.readAt && !notification.deliveredAt && !notification.deliveryEndedAt;
}

/* The agents with such a notification for the task, each once. */
function waitingAgents(task, condition) {
  const ids = board.notifications
    .filter((one) => one.taskId === task && one.recipientType === "agent" && condition(one))
    .map((one) => one.recipientId);
  return board.agents.filter((agent) => ids.includes(agent._id));
}

function namesOfWaiting(task, condition) {
  return waitingAgents(task, condition).map((agent) => agent.name);
}

function nameOf(id) {
  const found = board.agents.concat(board.users).find((actor) => actor._id === id);
  return found ? found.name : "unknown";
}

function isChat(task) {
  return (task.labels || []).includes("system:orchestrator-chat");
}

/* Shows the task; the rest follows with the next refresh. */
function openTask(id) {
  if (id === board.task) return;
  board.task = id;
  board.thread = null;
  board.calls = [];
  for (const list of ["thread", "documents", "calls"]) element(list).replaceChildren();
  refresh().catch(showError);
}

/* On a phone the thread takes the place of the list. */
function showView(view) {
  document.body.dataset.view = view;
}

function makeCard(task) {
  const button = make("button", "", task.title);
  button.type = "button";
  button.dataset.id = task._id;
  button.setAttribute("aria-current", String(task._id === board.task));
  if (task.assignedAgentIds.length)
    button.append(make("small", "", list(task.assignedAgentIds.map(nameOf))));
  const typing = namesOfWaiting(task._id, isTyping);
  if (typing.length) button.append(make("small", "typing", list(typing) + " typing ..."));
  button.addEventListener("click", () => {
    openTask(task._id);
    showView("thread");
    /* The list with the focus is gone on a phone. */
    if (element("back").checkVisibility()) element("back").focus({ preventScroll: true });
  });
  const item = make("li");
  item.append(button);
  return item;
}

function makeColumn(status) {
  const tasks = board.tasks.filter((task) => task.status === status);
  const column = make("section");
  const heading = make("h2", "", status.replace("_", " ") + " ");
  heading.id = "status-" + status;
  heading.append(make("small", "", String(tasks.length)));
  column.setAttribute("aria-labelledby", heading.id);
  const list = make("ul");
  list.append(...tasks.map(makeCard));
  column.append(heading, list);
  return column;
}

function showTasks() {
  const used = new Set(board.tasks.map((task) => task.status));
  const statuses = STATUSES.filter((status) => used.has(status) || !RARE.includes(status));
  const columns = statuses.concat([...used].filter((status) => !STATUSES.includes(status)));
  const focused = element("tasks").contains(document.activeElement)
    ? document.activeElement.dataset.id : null;
  element("tasks").replaceChildren(...columns.map(makeColumn));
  const again = focused && element("tasks").querySelector('button[data-id="' + focused + '"]');
  if (again) again.focus({ preventScroll: true });
}

/* The thread. */

function makeMessage(message) {
  const name = nameOf(message.authorId);
  const item = make("li", message.authorType);
  item.dataset.id = message._id;
  const head = make("div", "author");
  head.append(makeInitials(name), make("strong", "", name), " ", makeTime(message.createdAt));
  item.append(head, ...makeMarkdown(message.content));
  return item;
}

/* Why nobody is asked, while there seems to be no runtime that could. */
function reasonToWait() {
  if (!presence || !isRuntimeQuiet()) return "";
  return {
    none: "no runtime has called yet", stopped: "the runtime is stopped", lost: "the runtime is lost",
    silent: "the runtime is silent",
  }[presence.presence] + ", so the message waits on the board";
}

function showWaiting(task) {
  const typing = task ? namesOfWaiting(task._id, isTyping) : [];
  const waiting = task ? namesOfWaiting(task._id, (one) => !isTyping(one)) : [];
  const reason = reasonToWait();
  write(element("waiting"), [
    typing.length ? list(typing) + (typing.length > 1 ? " are" : " is") + " typing ..." : "",
    waiting.length ? "Waiting for " + list(waiting) + (reason ? ": " + reason + "." : " ...") : "",
  ].join(" ").trim());
}

/*
 * The newest message stays in sight when the room for the thread changes, such as when the tour
 * opens, unless a reader has gone up to older ones.
 */
const END_SLACK_PX = 8;
let isAtEnd = true;

/* Scrolls the thread alone: on a phone the page stays at the list. */
function scrollToEnd() {
  element("messages").scrollTop = element("messages").scrollHeight;
}

function followEnd() {
  const messages = element("messages");
  messages.addEventListener("scroll", () => {
    isAtEnd = messages.scrollHeight - messages.clientHeight - messages.scrollTop < END_SLACK_PX;
  });
  const observer = new ResizeObserver(() => {
    if (isAtEnd) scrollToEnd();
  });
  observer.observe(messages);
}

function showThread() {
  const task = board.tasks.find((one) => one._id === board.task);
  write(element("task-title"), task ? task.title : "No task yet");
  write(element("task-text"), task ? task.description || "" : "");
  element("post").hidden = !task;
  const thread = element("thread");
  const messages = task && board.thread ? board.thread.messages : [];
  const wanted = new Set(messages.map((message) => message._id));
  for (const item of [...thread.children]) if (!wanted.has(item.dataset.id)) item.remove();
  const shown = new Set([...thread.children].map((item) => item.dataset.id));
  const fresh = messages.filter((message) => !shown.has(message._id));
  thread.append(...fresh.map(makeMessage));
  if (fresh.length) scrollToEnd();
  element("empty").hidden = !board.thread || messages.length > 0;
  showWaiting(task);
}

/* Who reads a message: the board's rules answer, for what is in the box now. */

function readersText(task, readers) {
  const agents = readers.filter((one) => one.kind === "agent");
  const names = (type) => agents.filter((one) => one.type === type).map((one) => nameOf(one.id));
  const mentioned = names("mention");
  const following = names("thread_update");
  if (!agents.length && ["done", "blocked"].includes(task.status) && board.backend === "v1")
    return "No agent reads this: the task is " + task.status + ". Mention one to be read.";
  if (!agents.length) return "No agent reads this: none follows the thread. Mention one to be read.";
  const parts = [];
  if (mentioned.length) parts.push(list(mentioned) + " (mentioned)");
  if (following.length) parts.push(list(following) + " (follow" + (following.length > 1 ? "" : "s") +
    " the thread)");
  const chat = isChat(task) && mentioned.length ? " In this chat only the orchestrator is asked." : "";
  return "Read by " + parts.join(" and ") + "." + chat;
}

async function showReaders() {
  const task = board.tasks.find((one) => one._id === board.task);
  if (!task) return;
  const content = element("content").value;
  const { readers } = await request("readers", { task: task._id, content });
  if (task._id === board.task && content === element("content").value)
    write(element("readers"), readersText(task, readers));
}

let readersTimer = 0;

function showReadersSoon() {
  clearTimeout(readersTimer);
  readersTimer = setTimeout(() => showReaders().catch(showError), READERS_DELAY_MS);
}

/* Puts words at the end of the message that is being written. */
function addToMessage(words) {
  const content = element("content");
  content.value = (content.value.trimEnd() + " " + words + " ").trimStart();
  showView("thread");
  content.focus({ preventScroll: true });
  showReadersSoon();
}

/* Documents and tool calls. */

/*
 * Shows items, of which key tells whether one has changed: only then is it made again, so that what
 * a reader has opened stays open.
 */
function showList(list, items, key, makeItem) {
  const shown = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const open = new Set([...list.querySelectorAll("details[open]")].map((one) => one.id));
  const wanted = items.map((item) => shown.get(key(item)) || makeItem(item));
  wanted.forEach((item, i) => {
    item.dataset.key = key(items[i]);
    const details = item.querySelector("details");
    if (open.has(details.id)) details.open = true;
  });
  if (wanted.length !== list.children.length || wanted.some((item, i) => item !== list.children[i]))
    list.replaceChildren(...wanted);
}

function makeDetails(id, summary, parts) {
  const item = make("li");
  const details = make("details");
  details.id = id;
  details.append(summary, ...parts);
  item.append(details);
  return item;
}

function makeDocument(document) {
  const summary = make("summary", "", document.title + " ");
  summary.append(make("small", "", "(" + document.type + ", version " + document.version + ")"));
  return makeDetails("document-" + document._id, summary, [make("pre", "", document.content)]);
}

const SHORT_ARGUMENTS = 80;

/* Arguments in short: ids by their beginnings, and not all of them. */
function shorten(text) {
  const short = text.replace(new RegExp(ID.source, "g"), (id) => id.slice(0, SHORT_ID) + "…");
  return short.length > SHORT_ARGUMENTS ? short.slice(0, SHORT_ARGUMENTS) + " ..." : short;
}

function makeCall(call) {
  const agent = board.agents.find((one) => one.slug === call.agent);
  const summary = make("summary", "", (agent ? agent.name : call.agent) + ": ");
  summary.append(make("strong", "", call.name), " ", make("code", "", shorten(call.arguments)), " ");
  summary.append(make("span", "outcome " + call.outcome,
    call.outcome === "told" ? "refused by the gateway" : call.outcome));
  const parts = [make("pre", "", call.arguments)];
  const result = call.output === undefined ? call.told : call.output;
  if (result !== undefined) parts.push(make("pre", "", result));
  return makeDetails("call-" + call.number, summary, parts);
}

function showDocuments() {
  const documents = board.task && board.thread
    ? (board.thread.documents || []).filter((one) => !one.deletedAt) : [];
  element("documents-part").hidden = !documents.length;
  showList(element("documents"), documents, (one) => one._id + " " + one.updatedAt, makeDocument);
}

function showCalls() {
  element("calls-part").hidden = !board.calls.length;
  showList(element("calls"), board.calls, (one) => one.number + " " + one.outcome, makeCall);
}

/* All together. */

function showAll() {
  shownAsQuiet = isRuntimeQuiet();
  showRuntime();
  showTasks();
  showAgents();
  showMentions();
  showThread();
  showDocuments();
  showCalls();
  showTour();
}

/* The task to begin with: the one that was written in last, else one that is being worked on. */
function firstTask() {
  const written = board.tasks.filter((task) => task.lastMessageAt)
    .sort((one, other) => other.lastMessageAt - one.lastMessageAt);
  const worked = board.tasks.find((task) => task.status === "in_progress" && !isChat(task));
  return written[0] || worked || board.tasks[0] || null;
}

async function refresh() {
  const state = await request("state?tables=accounts,users,agents,tasks,notifications&undelivered=1");
  Object.assign(board, state);
  loaded = true;
  if (!board.tasks.some((task) => task._id === board.task)) {
    const first = firstTask();
    board.task = first && first._id;
  }
  const task = board.task;
  const thread = task &&
    await request("state?tables=messages,documents&task=" + encodeURIComponent(task));
  const calls = task && await request("tools?limit=50&task=" + encodeURIComponent(task));
  if (task !== board.task) return state.change;
  board.thread = thread;
  board.calls = calls ? calls.calls : [];
  showAll();
  await showReaders();
  return state.change;
}

async function follow() {
  for (;;) {
    try {
      board.backend = (await request("info")).backend;
      const change = await refresh();
      showError(null);
      await request("wait?timeout_ms=20000&change=" + (change + 1));
      await sleep(200);
    } catch (error) {
      showError(error);
      await sleep(2000);
    }
  }
}

element("post").addEventListener("submit", async (event) => {
  event.preventDefault();
  const content = element("content").value.trim();
  if (!content || !board.task) return;
  try {
    await request("message", { task: board.task, content });
    element("content").value = "";
    showReadersSoon();
  } catch (error) {
    showError(error);
  }
});

element("content").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("post").requestSubmit();
});

element("content").addEventListener("input", showReadersSoon);

element("back").addEventListener("click", () => {
  showView("list");
  const card = element("tasks").querySelector("[aria-current=true]");
  if (card) card.focus();
});

element("new-task").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const made = await request("seed", { tasks: [{ title: element("title").value }] });
    element("title").value = "";
    openTask(made.tasks[0].id);
    showView("thread");
  } catch (error) {
    showError(error);
  }
});

showView("list");
followEnd();
follow();
followRuntime();

"use strict";

const element = (id) => document.getElementById(id);
const board = {
  tasks: [], agents: [], users: [], accounts: [], notifications: [], thread: null, calls: [],
  task: null,
};

/* Text from the board is only ever inserted as text nodes. */
function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

async function request(path, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const answer = await fetch("/sandbox/" + path, options);
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.message || "status " + answer.status);
  return value;
}

function showError(error) {
  element("trouble").hidden = !error;
  element("trouble").textContent = error ? "Request to the sandbox failed: " + error.message : "";
}

function ago(time) {
  if (!time) return "never";
  const seconds = Math.max(0, Math.round((Date.now() - time) / 1000));
  if (seconds < 60) return seconds + " s ago";
  if (seconds < 3600) return Math.round(seconds / 60) + " min ago";
  return Math.round(seconds / 3600) + " h ago";
}

function showRuntime() {
  const status = board.accounts.length ? board.accounts[0].runtimeStatus : "unknown";
  element("runtime").textContent = "runtime: " + status;
  element("runtime").className = "badge " + status;
}

/* In the order of a task's life; a status that is not listed gets a column at the end. */
const STATUSES = ["inbox", "assigned", "in_progress", "review", "blocked", "done", "archived"];
const RARE = ["archived"];

function isTyping(notification) {
  return notification.readAt && !notification.deliveredAt && !notification.deliveryEndedAt;
}

/* The names of the agents with such a notification for the task, each once. */
function namesOfWaiting(task, condition) {
  const names = board.notifications
    .filter((one) => one.taskId === task && one.recipientType === "agent" && condition(one))
    .map((one) => nameOf(one.recipientId));
  return [...new Set(names)];
}

function makeCard(task) {
  const button = make("button", "", task.title);
  button.type = "button";
  button.dataset.id = task._id;
  button.setAttribute("aria-current", String(task._id === board.task));
  if (task.assignedAgentIds.length)
    button.append(make("small", "", task.assignedAgentIds.map(nameOf).join(", ")));
  const typing = namesOfWaiting(task._id, isTyping);
  if (typing.length) button.append(make("small", "typing", typing.join(", ") + " typing ..."));
  button.addEventListener("click", () => {
    board.task = task._id;
    clearTask();
    refresh().catch(showError);
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
  if (again) again.focus();
}

function showAgents() {
  const items = board.agents.map((agent) => {
    const item = make("li", "", agent.name + " ");
    item.append(make("span", "badge " + agent.status, agent.status));
    item.append(make("small", "", "last heartbeat: " + ago(agent.lastHeartbeat)));
    return item;
  });
  if (!items.length)
    items.push(make("li", "", "None. Start the sandbox with --demo to create some."));
  element("agents").replaceChildren(...items);
}

/* Buttons that insert a mention; rebuilt only when the agents change, to keep the focus. */
function showMentions() {
  const slugs = board.agents.map((agent) => agent.slug);
  if (element("mentions").dataset.slugs === slugs.join()) return;
  element("mentions").dataset.slugs = slugs.join();
  element("mentions").replaceChildren(...slugs.slice(0, 6).map((slug) => {
    const name = /^\w+$/.test(slug) ? "@" + slug : '@"' + slug + '"';
    const button = make("button", "", name);
    button.type = "button";
    button.addEventListener("click", () => {
      const content = element("content");
      content.value = (content.value + " " + name + " ").trimStart();
      content.focus();
    });
    return button;
  }));
}

function nameOf(id) {
  const found = board.agents.concat(board.users).find((actor) => actor._id === id);
  return found ? found.name : "unknown";
}

const DOCUMENT_LINK = /^\[([^\]]+)\]\(\/document\/([a-z0-9]+)\)$/;

/* A link to a document of the task, which opens it below the thread. */
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

/* One line: **bold**, mentions and links to documents stand out, everything else is plain. */
function makeLine(line) {
  const made = make("p");
  for (const part of line.split(/(\*\*[^*]+\*\*|@\w+|@"[^"]+"|\[[^\]]+\]\(\/document\/[a-z0-9]+\))/)) {
    const link = DOCUMENT_LINK.exec(part);
    if (link) made.append(makeDocumentLink(link[1], link[2]));
    else if (part.startsWith("**") && part.length > 4) made.append(make("strong", "", part.slice(2, -2)));
    else if (part.startsWith("@") && part.length > 1) made.append(make("span", "mention", part));
    else made.append(part);
  }
  return made;
}

function makeMessage(message) {
  const item = make("li", message.authorType);
  item.dataset.id = message._id;
  item.append(make("strong", "", nameOf(message.authorId)));
  item.append(make("span", "when", "  " + new Date(message.createdAt).toLocaleTimeString()));
  item.append(...message.content.split("\n").map(makeLine));
  return item;
}

function showThread() {
  const task = board.tasks.find((one) => one._id === board.task);
  element("task-title").textContent = task ? task.title : "No task yet";
  element("task-text").textContent = task ? task.description || "" : "";
  element("post").hidden = !task;
  const list = element("thread");
  const messages = task && board.thread ? board.thread.messages : [];
  const wanted = new Set(messages.map((message) => message._id));
  for (const item of [...list.children]) if (!wanted.has(item.dataset.id)) item.remove();
  const shown = new Set([...list.children].map((item) => item.dataset.id));
  const fresh = messages.filter((message) => !shown.has(message._id));
  list.append(...fresh.map(makeMessage));
  if (fresh.length) list.lastElementChild.scrollIntoView({ block: "nearest" });
  const typing = task ? namesOfWaiting(task._id, isTyping) : [];
  const waiting = task ? namesOfWaiting(task._id, (one) => !isTyping(one)) : [];
  element("waiting").textContent = [
    typing.length ? "Typing: " + typing.join(", ") + " ..." : "",
    waiting.length ? "Waiting for " + waiting.join(", ") + " ..." : "",
  ].join(" ").trim();
}

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

function shorten(text) {
  return text.length > SHORT_ARGUMENTS ? text.slice(0, SHORT_ARGUMENTS) + " ..." : text;
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

function clearTask() {
  for (const id of ["thread", "documents", "calls"]) element(id).replaceChildren();
}

async function refresh() {
  const state = await request("state?tables=accounts,users,agents,tasks,notifications&undelivered=1");
  Object.assign(board, state);
  if (!board.tasks.some((task) => task._id === board.task))
    board.task = board.tasks.length ? board.tasks[0]._id : null;
  const task = board.task;
  const thread = task &&
    await request("state?tables=messages,documents&task=" + encodeURIComponent(task));
  const calls = task && await request("tools?limit=50&task=" + encodeURIComponent(task));
  if (task !== board.task) return state.change;
  board.thread = thread;
  board.calls = calls ? calls.calls : [];
  showRuntime();
  showTasks();
  showAgents();
  showMentions();
  showThread();
  showDocuments();
  showCalls();
  return state.change;
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/* Long-polls for the next change, so replies appear without a reload. */
async function follow() {
  for (;;) {
    try {
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
  } catch (error) {
    showError(error);
  }
});

element("content").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("post").requestSubmit();
});

element("new-task").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const made = await request("seed", { tasks: [{ title: element("title").value }] });
    board.task = made.tasks[0].id;
    clearTask();
    element("title").value = "";
    await refresh();
  } catch (error) {
    showError(error);
  }
});

follow();

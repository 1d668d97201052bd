"use strict";

/*
 * The guided tour: three buttons that do what goes wrong in real life, and say what to watch. What
 * has happened is read from the board and the gateway's records, never assumed.
 *
 * A tour that breaks something does so with a rule that ends by itself, so that nothing stays
 * broken when this page is closed in the middle.
 */

const GATEWAY_OUTAGE_MS = 30000;
const LONG_RUN_MS = 8000;
const TIME_TO_WATCH_MS = 2500;
const LONG_RUN_BY_HAND_MS = 30000;
const STEP_LIMIT_MS = 120000;
const LOOK_INTERVAL_MS = 300;
const TOUR_RULE = "tour";
const QUESTION = "what would you do first?";

/* The steps that are shown: {text, state}, where state is "later", "now" or "done". */
const tour = { running: false, steps: [] };

const MARKS = { later: "○", now: "●", done: "✓" };

function showSteps() {
  element("tour-steps").replaceChildren(...tour.steps.map((step) => {
    const item = make("li", step.state);
    const mark = make("span", "mark", MARKS[step.state]);
    mark.setAttribute("aria-hidden", "true");
    item.append(mark, " " + step.text);
    return item;
  }));
}

/* Does the step of that number, and then tells what came of it: what work returns, if anything. */
async function doStep(number, work) {
  const step = tour.steps[number];
  step.state = "now";
  showSteps();
  const text = await work();
  if (text) step.text = text;
  step.state = "done";
  showSteps();
}

/* Waits until look returns something. */
async function lookUntil(look) {
  const end = Date.now() + STEP_LIMIT_MS;
  while (Date.now() < end) {
    /* A request may fail, such as when the sandbox is restarted: the next one tells. */
    const found = await look().catch(() => null);
    if (found) return found;
    await sleep(LOOK_INTERVAL_MS);
  }
  throw new Error("This took longer than " + STEP_LIMIT_MS / 1000 +
    " s. The runtime's page and its log say why.");
}

function chooseAgent() {
  return board.agents.find((agent) => !isOrchestrator(agent)) || board.agents[0];
}

/* A task that no rule keeps agents from: not the orchestrator's chat, and not at rest. */
function chooseTask() {
  const fit = board.tasks.filter((task) =>
    !isChat(task) && !["done", "blocked", "archived"].includes(task.status));
  return fit.find((task) => task._id === board.task) || fit[0];
}

/* Mentions the agent in a task; returns what the rest of the tour is about. */
async function beginMessage() {
  const agent = chooseAgent();
  let task = chooseTask();
  if (!task) {
    const made = await request("seed", { tasks: [{ title: "Tour" }] });
    task = { _id: made.tasks[0].id };
  }
  openTask(task._id);
  showView("thread");
  const content = mentionOf(agent.slug) + " " + QUESTION;
  const posted = await request("message", { task: task._id, content });
  return { agent, task: task._id, notification: posted.notifications[0], sent: Date.now() };
}

/* The notification and the replies to it, as the board has them now. */
async function look(message) {
  const state = await request(
    "state?tables=messages,notifications&task=" + encodeURIComponent(message.task));
  return {
    notification: state.notifications.find((one) => one._id === message.notification),
    replies: state.messages.filter((one) => one.sourceNotificationId === message.notification),
  };
}

async function isAtWork(message) {
  const runs = await runsInFlight();
  return runs.some((run) => run.notification === message.notification);
}

async function waitForReply(message) {
  const seen = await lookUntil(async () => {
    const found = await look(message);
    return found.replies.length && found.notification.deliveredAt ? found : null;
  });
  const seconds = ((seen.replies[0].createdAt - message.sent) / 1000).toFixed(1);
  return { seconds, count: seen.replies.length };
}

async function tourMention() {
  const agent = chooseAgent();
  start("Watch the thread: the runtime takes the message from the board to the agent, and the answer back.", [
    "The board notes that " + agent.name + " is mentioned.",
    "The runtime finds the note and asks " + agent.name + ", who is shown as typing.",
    "The reply is in the thread.",
  ]);
  let message;
  await doStep(0, async () => { message = await beginMessage(); });
  await doStep(1, () => lookUntil(async () => {
    const found = await look(message);
    return found.notification.readAt || found.notification.deliveredAt || await isAtWork(message);
  }).then(() => null));
  await doStep(2, async () => {
    const { seconds } = await waitForReply(message);
    return "The reply is in the thread, " + seconds + " s after the message.";
  });
}

/* Ends what the tour has broken. */
async function repairTour() {
  await request("faults/clear?name=" + TOUR_RULE, {});
}

/* The time that the tour's rule is still in force. */
async function ruleLeftMs() {
  const { rules } = await request("faults");
  const rule = rules.find((one) => one.name === TOUR_RULE);
  return rule ? rule.left_ms : 0;
}

async function breakGateway() {
  const error = { message: "The tour has broken the gateway.", type: "service_unavailable",
    code: "gateway_unavailable" };
  await request("faults", { gateway: [{ name: TOUR_RULE, before_checks: true, action: "status",
    status: 503, for_ms: GATEWAY_OUTAGE_MS, headers: { "Retry-After": "1" }, body_json: { error } }] });
}

async function waitForGateway() {
  await lookUntil(async () => {
    const left_ms = await ruleLeftMs();
    if (left_ms) {
      tour.steps[2].text = "The gateway works again in " + Math.ceil(left_ms / 1000) + " s.";
      showSteps();
    }
    return !left_ms;
  });
  return "The gateway works again.";
}

async function tourGateway() {
  const agent = chooseAgent();
  start("Watch the runtime's page: it turns degraded and its circuit breaker opens, so it stops asking and tries the gateway now and then.", [
    "The gateway refuses every request.",
    "A message mentions " + agent.name + ". It cannot be delivered, and waits.",
    "The gateway works again after 30 s.",
    agent.name + " answers: once, with nothing lost.",
  ]);
  let message;
  await doStep(0, breakGateway);
  await doStep(1, async () => { message = await beginMessage(); });
  await doStep(2, waitForGateway);
  await doStep(3, async () => {
    const { seconds, count } = await waitForReply(message);
    return agent.name + " answered " + seconds + " s after the message: " + timesText(count) +
      ", with nothing lost.";
  });
}

function timesText(count) {
  return count === 1 ? "once" : count + " times";
}

const BY_HAND = "kill -9 $(pidof mission-control-runtime)";

function isKillable() {
  return presence !== null && presence.killable;
}

/* Kills the runtime, or has it killed where the sandbox does not know its process. */
async function killRuntime() {
  if (!isKillable()) {
    tour.steps[1].text = "This sandbox does not know the runtime's process. Kill it now, in a terminal: " +
      BY_HAND + " - and start it again.";
    showSteps();
    await lookUntil(async () => (await readPresence(), isRuntimeQuiet()));
    return "The runtime is gone.";
  }
  await sleep(TIME_TO_WATCH_MS);
  await request("runtime/kill", {});
  return "The runtime was killed while " + chooseAgent().name + " was at work (SIGKILL).";
}

async function tourKill() {
  const agent = chooseAgent();
  const run_ms = isKillable() ? LONG_RUN_MS : LONG_RUN_BY_HAND_MS;
  start("Watch the runtime vanish and come back: what it was doing is in its spool on disk.", [
    "A message mentions " + agent.name + ", who takes " + run_ms / 1000 + " s to answer this one.",
    "The runtime is killed while " + agent.name + " is at work.",
    "The runtime is started again, and finds in its spool what it was doing.",
    agent.name + " is asked again, as no answer had arrived, and the reply is in the thread: once.",
  ]);
  let message;
  await request("faults", { gateway: [{ name: TOUR_RULE, match: { agent: agent.slug },
    latency_ms: run_ms, for_ms: STEP_LIMIT_MS }] });
  await doStep(0, async () => {
    message = await beginMessage();
    await lookUntil(() => isAtWork(message));
  });
  await doStep(1, killRuntime);
  await doStep(2, async () => {
    await repairTour();
    await lookUntil(async () => (await readPresence(), !isRuntimeQuiet()));
    return "The runtime is back, and has found in its spool what it was doing.";
  });
  await doStep(3, async () => {
    const { seconds, count } = await waitForReply(message);
    return agent.name + " was asked again, and the reply is in the thread: " + timesText(count) + ", " +
      seconds + " s after the message.";
  });
}

function start(what, texts) {
  tour.steps = texts.map((text) => ({ text, state: "later" }));
  element("tour-watch").hidden = false;
  write(element("tour-what"), what);
  showSteps();
}

const TOURS = { mention: tourMention, gateway: tourGateway, kill: tourKill };

/* One at a time; without agents there is nobody to write to. A phone has room for steps or buttons. */
function showTour() {
  element("tour-buttons").classList.toggle("busy", tour.running);
  for (const button of element("tour-buttons").children)
    button.disabled = tour.running || !board.agents.length;
}

async function runTour(name) {
  tour.running = true;
  showTour();
  try {
    await TOURS[name]();
  } catch (error) {
    tour.steps.push({ text: sentenceOf(error), state: "now" });
    showSteps();
  } finally {
    tour.running = false;
    showTour();
    await repairTour().catch(() => null);
  }
}

for (const button of element("tour-buttons").children)
  button.addEventListener("click", () => runTour(button.dataset.tour));

/* On a phone the list comes first; there is room for the tour beside it on larger screens. */
element("tour").open = matchMedia("(min-width: 56.01rem)").matches;

"use strict";

/* The agents: what they do now, and the form with which people make new ones. */

/* How an agent is mentioned: names of several words need quotes. */
function mentionOf(slug) {
  return /^[\w-]+$/.test(slug) ? "@" + slug : '@"' + slug + '"';
}

/* What the board knows of an agent. While there is no runtime, a status of "online" means nothing. */
function stateOfAgent(agent) {
  const typing = board.tasks.filter((task) => waitingAgents(task._id, isTyping).includes(agent));
  if (typing.length) return ["typing", "typing in " + list(typing.map((task) => task.title))];
  if (!agent.lastHeartbeat) return ["unknown", "not woken yet"];
  if (isRuntimeGone() || agent.status === "offline") return ["unknown", "last woken"];
  return [agent.status, agent.status + ", last woken"];
}

function isOrchestrator(agent) {
  const settings = board.accounts.length ? board.accounts[0].settings : null;
  return Boolean(settings) && settings.orchestratorAgentId === agent._id;
}

function makeAgent(agent) {
  const [className, text] = stateOfAgent(agent);
  const item = make("li");
  const facts = make("div");
  const name = make("strong", "", agent.name);
  name.title = agent.role || "";
  facts.append(name, " ", make("small", "", mentionOf(agent.slug)));
  if (isOrchestrator(agent)) facts.append(" ", make("small", "", "orchestrator"));
  const state = make("p", "badge " + className, text);
  if (text.endsWith("last woken")) state.append(" ", makeTime(agent.lastHeartbeat));
  facts.append(state);
  item.append(makeInitials(agent.name), facts);
  return item;
}

function showAgents() {
  const items = board.agents.map(makeAgent);
  if (!items.length) items.push(make("li", "", board.backend === "v1"
    ? "None yet. Make one below." : "None. Start the sandbox with --demo to have some."));
  element("agents").replaceChildren(...items);
  element("new-agent-part").hidden = board.backend !== "v1";
}

/* Buttons that insert a mention; rebuilt only when the agents change, to keep the focus. */
function showMentions() {
  const slugs = board.agents.map((agent) => agent.slug);
  if (element("mentions").dataset.slugs === slugs.join()) return;
  element("mentions").dataset.slugs = slugs.join();
  element("mentions").replaceChildren(...slugs.slice(-5).map((slug) => {
    const button = make("button", "", mentionOf(slug));
    button.type = "button";
    button.addEventListener("click", () => addToMessage(mentionOf(slug)));
    return button;
  }));
}

function slugOf(name) {
  return name.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "")
    .slice(0, 64);
}

const valueOf = (id) => element(id).value.trim();

/* What the form says, without what it leaves open: the board has defaults for that. */
function readAgent() {
  const texts = { role: "agent-role", soul: "agent-soul", identity: "agent-identity",
    user: "agent-user" };
  const agent = { slug: slugOf(valueOf("agent-name")), name: valueOf("agent-name") };
  for (const [key, id] of Object.entries(texts)) if (valueOf(id)) agent[key] = valueOf(id);
  const skill = valueOf("agent-skill");
  if (skill)
    agent.skills = [{ slug: slugOf(skill), name: skill, contentMarkdown: valueOf("agent-skill-text") }];
  if (element("agent-orchestrator").checked) agent.orchestrator = true;
  return agent;
}

function showSlug() {
  const slug = slugOf(valueOf("agent-name"));
  write(element("agent-slug"), slug ? "Mentioned as @" + slug : "");
}

function showAgentError(text) {
  element("agent-error").hidden = !text;
  write(element("agent-error"), text);
}

async function makeNewAgent() {
  const agent = readAgent();
  if (!agent.slug) throw new Error("The name needs a letter from a to z or a digit, for mentions.");
  await request("agents", agent);
  element("new-agent").reset();
  element("new-agent-part").open = false;
  element("agent-made").hidden = false;
  write(element("agent-made"), agent.name + " is on the board. Send a message that mentions @" +
    agent.slug + ", and watch.");
  await refresh();
  addToMessage("@" + agent.slug);
}

element("agent-name").addEventListener("input", showSlug);

element("new-agent").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await makeNewAgent();
    showAgentError("");
    showSlug();
  } catch (error) {
    showAgentError(sentenceOf(error));
  }
});

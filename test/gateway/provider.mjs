// A stub of a model provider: OpenAI chat completions with canned answers.
//
// Usage: node provider.mjs [HOST PORT]     (a free port of 127.0.0.1 by default; prints "listening on
//        http://HOST:PORT")
//
// POST /mode {"delay_ms": N, "failures": N}   delay of answers; number of calls to fail with 400
// POST /script {"rounds": [[ACTION, ...], ...]}   what the next answers to notifications call, one round
//               each, instead of words. ACTION: {"name", "arguments"} for a tool, or {"post", "arguments"} for a request to
//               that path of the agents' HTTP API, made with curl by the gateway's own tool exec
// GET /calls    {"calls": [{"notification", "session", "replies_as", "model", "turns", "offered", "results",
//               "state": "waits", "answered" or "gone"}]}
//               replies_as: the agent's name in the instructions; turns: earlier replies in the session;
//               offered: how many tools the model sees; results: what the last turn's calls gave
// GET /told?notification=ID&text=TEXT    {"told": whether its last call was told the text}
// GET /wait?notification=ID    as /calls, once a call for it is waiting; 504 after 60 s
//
// The model acts only on what it has been told: it calls a tool by its name if it sees it, else through
// tool_call if its instructions list it; and it knows the URL and the key of the HTTP API from them.

import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const WAIT_MS = 60000;
// The gateway's own context for the model, which may follow the message.
const OWN_CONTEXT = "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>";
const HTTP_ACCESS = /^- HTTP base URL: (\S+)\. Send the header x-openclaw-session-key: (\S+) /m;
const mode = { delay_ms: 0, failures: 0 };
const calls = [];
const prompts = new Map(); // of each notification's last call
let rounds = [];
let nextCallId = 1;

function textOf(message) {
  if (typeof message.content === "string") return message.content;
  return (message.content ?? []).map((part) => part.text ?? "").join("");
}

// What the calls of the last turn gave: results of client tools come as a user's words.
function readResults(messages) {
  const turn = messages.slice(messages.findLastIndex(({ role }) => role === "assistant") + 1);
  return turn
    .map((message) => [message.role, textOf(message)])
    .filter(([role, text]) => role === "tool" || /(^|\s)Tool:[0-9a-f]+: /.test(text))
    .map(([, text]) => text)
    .join("\n");
}

// Extracts the session, the instructions' agent, the latest notification and so on from the prompt.
function readCall(body) {
  const textsOf = (...roles) => body.messages.filter(({ role }) => roles.includes(role)).map(textOf);
  const all = body.messages.map(textOf).join("\n");
  const asked = textsOf("user").filter((text) => !text.startsWith(OWN_CONTEXT));
  const results = readResults(body.messages);
  const said = results === "" ? (asked.at(-1) ?? "") : asked.join("\n");
  return {
    notification: [...said.matchAll(/Notification ID: (\S+)/g)].at(-1)?.[1] ?? "",
    session: /^Runtime: .*\bsession=(\S+)/m.exec(all)?.[1] ?? "",
    replies_as: /^You reply as \*\*(.+?)\*\*/m.exec(textsOf("system", "developer").join("\n"))?.[1] ?? "",
    model: body.model,
    turns: textsOf("assistant").filter((text) => text.startsWith("Echo of ")).length,
    offered: body.tools?.length ?? 0,
    results,
    state: "waits",
  };
}

function replyTo(call) {
  if (call.notification === "") return "HEARTBEAT_OK";
  return `Echo of ${call.notification}, the model's call ${calls.length}.`;
}

// The call of the gateway's exec that posts to the agents' HTTP API.
function postCall({ post, arguments: fields }, told) {
  const [, url, key] = HTTP_ACCESS.exec(told) ?? [];
  if (url === undefined) throw new Error("the instructions name no HTTP API");
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const command =
    `curl -sS -X POST -H 'Content-Type: application/json' -H ${quoted(`x-openclaw-session-key: ${key}`)} ` +
    `-d ${quoted(JSON.stringify(fields))} ${quoted(url + post)}`;
  return { name: "exec", arguments: { command } };
}

// What the model calls for an action, given the tools that it sees and what it was told.
function callFor(action, seen, told) {
  if (action.post !== undefined) return postCall(action, told);
  if (seen.has(action.name)) return action;
  const isTold = told.includes(`- ${action.name}: `) && told.includes("tool_call");
  if (!seen.has("tool_call") || !isTold) throw new Error(`the model knows no tool ${action.name}`);
  return { name: "tool_call", arguments: { id: action.name, args: action.arguments } };
}

function callsOf(round, body) {
  const seen = new Set((body.tools ?? []).map((tool) => tool.function?.name));
  const told = body.messages
    .filter(({ role }) => role === "system" || role === "developer")
    .map(textOf)
    .join("\n");
  return round.map((action, index) => {
    const { name, arguments: fields } = callFor(action, seen, told);
    const id = `call_${nextCallId++}`;
    return { index, id, type: "function", function: { name, arguments: JSON.stringify(fields) } };
  });
}

// The next answer: the script's calls, or words. What goes wrong with a script is said in words as well.
function nextDelta(call, body) {
  if (rounds.length === 0 || call.notification === "") return { content: replyTo(call) };
  try {
    return { content: null, tool_calls: callsOf(rounds.shift(), body) };
  } catch (error) {
    rounds = [];
    return { content: `Cannot: ${error.message}` };
  }
}

function sendStream(response, model, delta) {
  const chunk = (choices, rest) =>
    `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", model, choices, ...rest })}\n\n`;
  const reason = delta.tool_calls === undefined ? "stop" : "tool_calls";
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write(chunk([{ index: 0, delta: { role: "assistant", ...delta } }]));
  response.write(chunk([{ index: 0, delta: {}, finish_reason: reason }]));
  const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
  response.write(chunk([], { usage }));
  response.end("data: [DONE]\n\n");
}

function sendJson(response, status, value) {
  const body = Buffer.from(JSON.stringify(value));
  const headers = { "Content-Type": "application/json", "Content-Length": body.length };
  response.writeHead(status, { ...headers, Connection: "close" });
  response.end(body);
}

async function complete(response, body) {
  const call = readCall(body);
  calls.push(call);
  prompts.set(call.notification, body.messages.map(textOf).join("\n"));
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  if (mode.failures > 0) {
    mode.failures--;
    call.state = "answered";
    sendJson(response, 400, { error: { message: "made to fail", type: "invalid" } });
    return;
  }
  await sleep(mode.delay_ms, undefined, { signal: gone.signal }).catch(() => {});
  call.state = gone.signal.aborted ? "gone" : "answered";
  if (call.state === "answered") sendStream(response, body.model, nextDelta(call, body));
}

function takeScript(script) {
  ({ rounds } = script);
  return script;
}

function isTold(asked) {
  return (prompts.get(asked.get("notification")) ?? "").includes(asked.get("text"));
}

async function wait(response, notification) {
  const deadline = Date.now() + WAIT_MS;
  const waits = (call) => call.notification === notification && call.state === "waits";
  while (!calls.some(waits) && Date.now() < deadline) await sleep(20);
  sendJson(response, calls.some(waits) ? 200 : 504, { calls });
}

async function serve(request, response) {
  const url = new URL(request.url, "http://localhost");
  let text = "";
  for await (const piece of request) text += piece;
  if (url.pathname === "/v1/chat/completions") await complete(response, JSON.parse(text));
  else if (url.pathname === "/mode") sendJson(response, 200, Object.assign(mode, JSON.parse(text)));
  else if (url.pathname === "/script") sendJson(response, 200, takeScript(JSON.parse(text)));
  else if (url.pathname === "/calls") sendJson(response, 200, { calls });
  else if (url.pathname === "/told") sendJson(response, 200, { told: isTold(url.searchParams) });
  else if (url.pathname === "/wait") await wait(response, url.searchParams.get("notification"));
  else sendJson(response, 404, { error: { message: "not here" } });
}

const [host, port] = [process.argv[2] ?? "127.0.0.1", Number(process.argv[3] ?? 0)];
const server = http.createServer((request, response) => {
  serve(request, response).catch((error) => {
    console.error(error);
    response.destroy();
  });
});
server.listen(port, host, () => {
  console.log(`listening on http://${host}:${server.address().port}`);
});

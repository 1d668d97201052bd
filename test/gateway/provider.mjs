// A stub of a model provider: OpenAI chat completions with canned answers.
//
// Usage: node provider.mjs [HOST PORT]     (a free port of 127.0.0.1 by default; prints "listening on
//        http://HOST:PORT")
//
// POST /mode {"delay_ms": N, "failures": N}   delay of answers; number of calls to fail with 400
// GET /calls    {"calls": [{"notification", "session", "replies_as", "turns",
//               "state": "waits", "answered" or "gone"}]}
//               replies_as: the agent's name in the instructions; turns: earlier replies in the session
// GET /wait?notification=ID    as /calls, once a call for it is waiting; 504 after 60 s

import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const WAIT_MS = 60000;
// The gateway's own context for the model, which may follow the message.
const OWN_CONTEXT = "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>";
const mode = { delay_ms: 0, failures: 0 };
const calls = [];

function textOf(message) {
  if (typeof message.content === "string") return message.content;
  return (message.content ?? []).map((part) => part.text ?? "").join("");
}

// Extracts the session, the instructions' agent and the latest notification from the prompt.
function readCall(body) {
  const textsOf = (...roles) => body.messages.filter(({ role }) => roles.includes(role)).map(textOf);
  const all = body.messages.map(textOf).join("\n");
  const asked = textsOf("user");
  const last = asked.filter((text) => !text.startsWith(OWN_CONTEXT)).at(-1) ?? "";
  return {
    notification: [...last.matchAll(/Notification ID: (\S+)/g)].at(-1)?.[1] ?? "",
    session: /^Runtime: .*\bsession=(\S+)/m.exec(all)?.[1] ?? "",
    replies_as: /^You reply as \*\*(.+?)\*\*/m.exec(textsOf("system", "developer").join("\n"))?.[1] ?? "",
    turns: textsOf("assistant").filter((text) => text.startsWith("Echo of ")).length,
    state: "waits",
  };
}

function replyTo(call) {
  if (call.notification === "") return "HEARTBEAT_OK";
  return `Echo of ${call.notification}, the model's call ${calls.length}.`;
}

function sendStream(response, model, text) {
  const chunk = (choices, rest) =>
    `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", model, choices, ...rest })}\n\n`;
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write(chunk([{ index: 0, delta: { role: "assistant", content: text } }]));
  response.write(chunk([{ index: 0, delta: {}, finish_reason: "stop" }]));
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
  const text = replyTo(call);
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
  if (call.state === "answered") sendStream(response, body.model, text);
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
  else if (url.pathname === "/calls") sendJson(response, 200, { calls });
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

// Tests of merge-config.mjs and its modules. Run with: node --test openclaw/

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { fillIn, merge } from "./merge-config.mjs";
import { boardModels } from "./models.mjs";
import { readSettings } from "./settings.mjs";

const PROGRAM = path.join(import.meta.dirname, "merge-config.mjs");
const TEMPLATE = JSON.parse(
  fs.readFileSync(path.join(import.meta.dirname, "openclaw.template.json"), "utf8"),
);
let home;

beforeEach(() => {
  home = fs.mkdtempSync(path.join(os.tmpdir(), "merge-config-"));
});

afterEach(() => {
  fs.rmSync(home, { recursive: true });
});

function configFile() {
  return path.join(home, ".openclaw", "openclaw.json");
}

function written() {
  return JSON.parse(fs.readFileSync(configFile(), "utf8"));
}

function write(text) {
  fs.mkdirSync(path.dirname(configFile()), { recursive: true });
  fs.writeFileSync(configFile(), text, { mode: 0o644 });
}

function settings(env = {}) {
  return readSettings({ HOME: home, OPENCLAW_BROWSER_EXECUTABLE_PATH: "/nowhere", ...env });
}

function merged(config, env) {
  return merge(config, TEMPLATE, settings(env));
}

// Runs the program as a child process with its own environment.
function run(env = {}, ...words) {
  return spawnSync(process.execPath, [PROGRAM, ...words], {
    encoding: "utf8",
    env: { HOME: home, ...env },
  });
}

test("agents see the runtime's tools, unless the operator decided otherwise", () => {
  assert.deepEqual(merged({}).tools, { toolSearch: { mode: "directory" } });
  assert.deepEqual(merged({ tools: { profile: "coding" } }).tools, {
    profile: "coding",
    toolSearch: { mode: "directory" },
  });
  assert.equal(merged({ tools: { toolSearch: false } }).tools.toolSearch, false);
  assert.equal(merged({ tools: { toolSearch: true } }).tools.toolSearch, true);
});

const SYNC = { OPENCLAW_PROFILE_SYNC: "true", OPENCLAW_WORKSPACE_ROOT: "/srv/agents/" };
const AGENTS_FILE = "/srv/mission-control-agents.json";

test("the runtime's file of agents is included while profiles are synced", () => {
  assert.equal(merged({}).$include, undefined);
  const config = merged({}, SYNC);
  assert.equal(config.$include, AGENTS_FILE);
  // What the file adds makes several agents of one, and each has to be chosen explicitly then.
  assert.deepEqual(Object.keys(config.agents.entries), ["main"]);
  assert.equal(config.agents.ownership, "explicit");
  assert.deepEqual(merged(config, SYNC), config);
  assert.equal(merged(config).$include, undefined);
  const path = { ...SYNC, OPENCLAW_AGENTS_FILE: "/own/agents.json" };
  assert.equal(merged({}, path).$include, "/own/agents.json");
  const seen = { ...SYNC, OPENCLAW_WORKSPACE_ROOT_IN_GATEWAY: "/seen/here" };
  assert.equal(merged({}, seen).$include, "/seen/mission-control-agents.json");
});

test("the operator's own includes are kept", () => {
  const both = ["./mine.json", AGENTS_FILE];
  assert.deepEqual(merged({ $include: "./mine.json" }, SYNC).$include, both);
  assert.deepEqual(merged({ $include: both }, SYNC).$include, both);
  assert.equal(merged({ $include: both }).$include, "./mine.json");
});

test("settings of the profile sync are checked", () => {
  assert.throws(() => settings({ OPENCLAW_PROFILE_SYNC: "maybe" }), /OPENCLAW_PROFILE_SYNC "maybe"/);
  const relative = { ...SYNC, OPENCLAW_AGENTS_FILE: "agents.json" };
  assert.throws(() => settings(relative), /OPENCLAW_AGENTS_FILE "agents.json" is not an absolute path/);
});

test("an empty file is made for the gateway, and one of the runtime's kept", () => {
  const file = path.join(home, "shared", "mission-control-agents.json");
  const env = { OPENCLAW_PROFILE_SYNC: "yes", OPENCLAW_AGENTS_FILE: file, ANTHROPIC_API_KEY: "k" };
  assert.equal(run(env, "--print-agents-file").stdout.trim(), file);
  assert.ok(!fs.existsSync(file));
  assert.equal(run(env).status, 0);
  assert.equal(fs.readFileSync(file, "utf8"), "{}\n");
  fs.writeFileSync(file, '{"agents":{}}');
  assert.equal(run(env).status, 0);
  assert.equal(fs.readFileSync(file, "utf8"), '{"agents":{}}');
  const models = path.join(home, "shared", "mission-control-models.json");
  assert.deepEqual(JSON.parse(fs.readFileSync(models, "utf8")), {
    "claude-haiku-4.5": "anthropic/claude-haiku-4-5",
  });
  assert.deepEqual(fs.readdirSync(path.dirname(file)).sort(), [
    "mission-control-agents.json",
    "mission-control-models.json",
  ]);
});

test("the board's models are those that the keys and the configuration allow", () => {
  const modelsFor = (config, env) => {
    const all = { ...SYNC, ...env };
    const result = merged(config, all);
    return [boardModels(result, settings(all)), result];
  };
  assert.deepEqual(modelsFor({})[0], {});
  const [vercel, config] = modelsFor({}, { AI_GATEWAY_API_KEY: "k" });
  assert.equal(vercel["minimax-m2.5"], "ai-gateway/minimax/minimax-m2.5");
  assert.equal(vercel["claude-haiku-4.5"], "ai-gateway/anthropic/claude-haiku-4.5");
  const names = config.models.providers["ai-gateway"].models.map(({ id }) => id);
  assert.ok(names.includes("moonshotai/kimi-k2.5") && names.includes("openai/gpt-5-nano"));
  const [openai, own] = modelsFor({}, { OPENAI_API_KEY: "k" });
  assert.deepEqual(openai, { "gpt-5-nano": "openai/gpt-5-nano" });
  assert.equal(own.agents.defaults.models["openai/gpt-5-nano"].agentRuntime.id, "openclaw");
  const custom = { models: { providers: { minimax: { baseUrl: "http://here" } } } };
  assert.deepEqual(modelsFor(custom)[0], { "minimax-m2.5": "minimax/minimax-m2.5" });
});

test("fillIn keeps existing values and adds missing ones", () => {
  const target = { a: { b: 1 }, list: [1], nothing: null };
  fillIn(target, { a: { b: 2, c: 3 }, list: [2, 3], nothing: 4, d: { e: 5 } });
  assert.deepEqual(target, { a: { b: 1, c: 3 }, list: [1], nothing: null, d: { e: 5 } });
});

test("the first start creates a file readable only by its owner", () => {
  const result = run({ OPENCLAW_GATEWAY_TOKEN: "a-secret" });
  assert.equal(result.status, 0, result.stderr);
  const { gateway, skills } = written();
  assert.equal(gateway.port, 18789);
  assert.equal(gateway.mode, "local");
  assert.equal(gateway.bind, "loopback");
  assert.deepEqual(gateway.auth, { mode: "token", token: "a-secret" });
  assert.equal(gateway.http.endpoints.responses.enabled, true);
  assert.equal(skills.entries.weather.enabled, true);
  assert.equal(fs.statSync(configFile()).mode & 0o777, 0o600);
  assert.equal(fs.statSync(path.dirname(configFile())).mode & 0o777, 0o700);
  assert.ok(fs.statSync(path.join(home, "workspace", "main")).isDirectory());
});

test("the output contains no token or key, the file no key", () => {
  const result = run({
    OPENCLAW_GATEWAY_TOKEN: "the-token",
    VERCEL_AI_GATEWAY_API_KEY: "the-key",
    ANTHROPIC_API_KEY: "the-key",
    OPENAI_API_KEY: "the-key",
  });
  assert.equal(result.status, 0, result.stderr);
  assert.doesNotMatch(result.stdout + result.stderr, /the-token|the-key/);
  assert.doesNotMatch(fs.readFileSync(configFile(), "utf8"), /the-key/);
});

test("the responses endpoint is re-enabled at each start", () => {
  write(JSON.stringify({ gateway: { http: { endpoints: { responses: { enabled: false } } } } }));
  assert.equal(run().status, 0);
  assert.equal(written().gateway.http.endpoints.responses.enabled, true);
});

test("the operator's settings are kept, with a copy of the previous file", () => {
  const own = {
    channels: { x: { y: 1 } },
    skills: { entries: { weather: { enabled: false } } },
    commands: { native: false },
    agents: { defaults: { maxConcurrent: 3, model: { primary: "mine/model" } } },
  };
  write(JSON.stringify(own));
  assert.equal(run({ ANTHROPIC_API_KEY: "k" }).status, 0);
  const config = written();
  assert.deepEqual(config.channels, own.channels);
  assert.equal(config.skills.entries.weather.enabled, false);
  assert.equal(config.skills.entries.postgres.enabled, true);
  assert.equal(config.commands.native, false);
  assert.equal(config.agents.defaults.maxConcurrent, 3);
  assert.equal(config.agents.defaults.model.primary, "mine/model");
  const copy = `${configFile()}.before-start`;
  assert.deepEqual(JSON.parse(fs.readFileSync(copy, "utf8")), own);
  assert.equal(fs.statSync(copy).mode & 0o777, 0o600);
});

test("a second start with the same environment does not rewrite the file", () => {
  const env = { OPENCLAW_AGENTS: "jarvis", ANTHROPIC_API_KEY: "k" };
  assert.equal(run(env).status, 0);
  const before = fs.statSync(configFile());
  fs.chmodSync(configFile(), 0o644);
  assert.equal(run(env).status, 0);
  const after = fs.statSync(configFile());
  assert.equal(after.ino, before.ino);
  assert.equal(after.mode & 0o777, 0o600);
  assert.ok(!fs.existsSync(`${configFile()}.before-start`));
});

test("invalid JSON stops the start and the file is left unchanged", () => {
  write("{ gateway: ");
  const result = run();
  assert.equal(result.status, 78);
  assert.match(result.stderr, /openclaw\.json: invalid JSON; fix the file or move it away/);
  assert.equal(fs.readFileSync(configFile(), "utf8"), "{ gateway: ");
});

test("a file that is not an object, or is unreadable, stops the start", () => {
  write("[1]");
  assert.equal(run().status, 78);
  fs.rmSync(configFile());
  fs.mkdirSync(configFile());
  const result = run();
  assert.equal(result.status, 78);
  assert.match(result.stderr, /cannot read the file: EISDIR/);
});

test("the token is local if unset, none if empty, or read from a file", () => {
  assert.equal(settings().token, "local");
  assert.equal(settings({ OPENCLAW_GATEWAY_TOKEN: ` "quoted" ` }).token, "quoted");
  const file = path.join(home, "token");
  fs.writeFileSync(file, "from-a-file\n");
  assert.equal(settings({ OPENCLAW_GATEWAY_TOKEN_FILE: file }).token, "from-a-file");
  const both = { OPENCLAW_GATEWAY_TOKEN_FILE: file, OPENCLAW_GATEWAY_TOKEN: "x" };
  assert.throws(() => settings(both), /both set/);
  assert.throws(() => settings({ OPENCLAW_GATEWAY_TOKEN_FILE: `${file}x` }), /ENOENT/);
});

test("without a token the gateway binds to loopback and requires none", () => {
  const config = merged({ gateway: { auth: { token: "old" } } }, { OPENCLAW_GATEWAY_TOKEN: "" });
  assert.equal(config.gateway.bind, "loopback");
  assert.deepEqual(config.gateway.auth, { mode: "none" });
});

test("a bare host binds to loopback, the image to its default", () => {
  assert.equal(settings().bind, "loopback");
  assert.equal(settings({ OPENCLAW_GATEWAY_TOKEN: "a-secret" }).bind, "loopback");
  const image = { OPENCLAW_DEFAULT_BIND: "lan" };
  assert.equal(settings({ ...image, OPENCLAW_GATEWAY_TOKEN: "a-secret" }).bind, "lan");
  assert.equal(settings({ ...image, OPENCLAW_GATEWAY_TOKEN: "" }).bind, "loopback");
});

test("the well-known token is refused beyond loopback, and nothing is written", () => {
  for (const token of [{}, { OPENCLAW_GATEWAY_TOKEN: "local" }])
    for (const bind of [{ OPENCLAW_GATEWAY_BIND: "lan" }, { OPENCLAW_DEFAULT_BIND: "lan" }]) {
      const result = run({ ...token, ...bind });
      assert.equal(result.status, 78);
      assert.match(result.stderr, /well-known token "local"; set OPENCLAW_GATEWAY_TOKEN/);
      assert.equal(fs.existsSync(configFile()), false);
    }
  assert.equal(settings({ OPENCLAW_GATEWAY_TOKEN: "local" }).bind, "loopback");
});

test("a token is generated once, and read by whoever comes later", () => {
  const file = path.join(home, "shared", "gateway_token");
  const image = { OPENCLAW_DEFAULT_BIND: "lan", OPENCLAW_GENERATED_TOKEN_FILE: file };
  const { token, bind } = settings(image);
  assert.match(token, /^[0-9a-f]{64}$/);
  assert.equal(bind, "lan");
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  assert.equal(settings(image).token, token);
  assert.deepEqual(fs.readdirSync(path.dirname(file)), ["gateway_token"]);
  assert.equal(settings({ ...image, OPENCLAW_GATEWAY_TOKEN: "given" }).token, "given");
  fs.writeFileSync(file, "of-the-runtime\n");
  assert.equal(settings(image).token, "of-the-runtime");
  fs.writeFileSync(file, "");
  assert.throws(() => settings(image), /OPENCLAW_GENERATED_TOKEN_FILE is empty/);
  assert.throws(
    () => settings({ ...image, OPENCLAW_GENERATED_TOKEN_FILE: path.join(file, "x") }),
    /cannot make or read OPENCLAW_GENERATED_TOKEN_FILE: EEXIST/,
  );
});

test("only bind modes that the gateway knows are accepted", () => {
  const tailnet = { OPENCLAW_GATEWAY_TOKEN: "a-secret", OPENCLAW_GATEWAY_BIND: "tailnet" };
  assert.equal(settings(tailnet).bind, "tailnet");
  assert.throws(() => settings({ OPENCLAW_GATEWAY_BIND: "local" }), /OPENCLAW_GATEWAY_BIND "local"/);
});

test("numbers must be integers within their range", () => {
  assert.equal(settings({ OPENCLAW_GATEWAY_PORT: "19000" }).port, 19000);
  for (const port of ["0", "65536", "1e3", "-1", "x"])
    assert.throws(() => settings({ OPENCLAW_GATEWAY_PORT: port }), /OPENCLAW_GATEWAY_PORT/);
  assert.equal(settings({ OPENCLAW_MAX_CONCURRENT: "4" }).maxConcurrent, 4);
  const result = run({ OPENCLAW_GATEWAY_PORT: "19000" }, "--print-port");
  assert.equal(result.stdout, "19000\n");
  assert.ok(!fs.existsSync(configFile()));
});

test("the address of a Kubernetes Service is not the port", () => {
  for (const value of ["tcp://10.96.0.7:18789", "udp://10.96.0.7:1", '"sctp://[fd00::7]:1"'])
    assert.equal(settings({ OPENCLAW_GATEWAY_PORT: value }).port, 18789);
  assert.throws(() => settings({ OPENCLAW_GATEWAY_PORT: "http://x:1" }), /OPENCLAW_GATEWAY_PORT/);
  const result = run({ OPENCLAW_GATEWAY_PORT: "tcp://10.96.0.7:18789" }, "--print-port");
  assert.equal(result.stdout, "18789\n");
});

test("OPENCLAW_AGENTS get an entry and a workspace next to main", () => {
  const { agents } = merged({}, { OPENCLAW_AGENTS: " Jarvis, friday,,jarvis" });
  assert.deepEqual(Object.keys(agents.entries), ["main", "jarvis", "friday"]);
  assert.equal(agents.entries.jarvis.workspace, path.join(home, "workspace", "jarvis"));
  assert.equal(agents.ownership, "explicit");
  assert.equal(agents.defaults.systemAgent.agentId, "main");
});

test("without OPENCLAW_AGENTS there are no entries and no ownership", () => {
  const { agents } = merged({});
  assert.equal(agents.entries, undefined);
  assert.equal(agents.ownership, undefined);
});

test("existing agents are left unchanged", () => {
  const own = { entries: { jarvis: { workspace: "/own", name: "J" }, old: {} } };
  const { agents } = merged({ agents: own }, { OPENCLAW_AGENTS: "jarvis" });
  assert.deepEqual(agents.entries.jarvis, { workspace: "/own", name: "J" });
  assert.deepEqual(Object.keys(agents.entries).sort(), ["jarvis", "main", "old"]);
});

test("slugs that are not valid directory names are rejected", () => {
  for (const slug of ["../x", "a b", "-x", "é", "a".repeat(65)])
    assert.throws(() => settings({ OPENCLAW_AGENTS: slug }), /OPENCLAW_AGENTS/);
});

test("settings of older releases are converted or removed", () => {
  const config = merged(
    {
      gateway: { controlUi: { allowInsecureAuth: true } },
      browser: { attachOnly: true, profiles: { openclaw: { cdpPort: 18800, attachOnly: true } } },
      agents: { list: [{ id: "vision", default: true, name: "V" }] },
    },
    { OPENCLAW_AGENTS: "jarvis" },
  );
  assert.equal(config.gateway.controlUi.allowInsecureAuth, undefined);
  assert.deepEqual(config.browser.profiles.openclaw, { cdpPort: 18800 });
  assert.equal(config.browser.attachOnly, undefined);
  assert.equal(config.agents.list, undefined);
  assert.deepEqual(config.agents.entries.vision, { name: "V" });
});

test("the model is chosen by key: Vercel, then Anthropic, then OpenAI", () => {
  const primary = (env) => merged({}, env).agents.defaults.model?.primary;
  const keys = { OPENAI_API_KEY: "o" };
  assert.equal(primary({}), undefined);
  assert.equal(primary(keys), "openai/gpt-5.4-mini");
  keys.ANTHROPIC_API_KEY = "a";
  assert.equal(primary(keys), "anthropic/claude-haiku-4-5");
  keys.AI_GATEWAY_API_KEY = "v";
  assert.equal(primary(keys), "ai-gateway/anthropic/claude-haiku-4.5");
});

test("Vercel's provider refers to the key by name and does not contain it", () => {
  const env = { VERCEL_AI_GATEWAY_API_KEY: "v", OPENCLAW_MODEL: "ai-gateway/openai/gpt-6-sol" };
  const config = merged({}, env);
  const provider = config.models.providers["ai-gateway"];
  assert.equal(provider.apiKey, "${VERCEL_AI_GATEWAY_API_KEY}");
  assert.ok(provider.models.some((model) => model.id === "openai/gpt-6-sol"));
  assert.equal(config.agents.defaults.model.primary, "ai-gateway/openai/gpt-6-sol");
});

test("a model chosen for a key since removed is replaced", () => {
  const first = merged({}, { ANTHROPIC_API_KEY: "a" });
  const second = merged(first, { OPENAI_API_KEY: "o" });
  assert.equal(second.agents.defaults.model.primary, "openai/gpt-5.4-mini");
  assert.deepEqual(second.agents.defaults.models, {
    "openai/gpt-5.4-mini": { agentRuntime: { id: "openclaw" } },
  });
});

test("OPENCLAW_MODEL overrides all others and must name a provider", () => {
  const own = { agents: { defaults: { model: "mine/model" } } };
  const config = merged(own, { OPENCLAW_MODEL: "fake/echo" });
  assert.equal(config.agents.defaults.model.primary, "fake/echo");
  assert.throws(() => settings({ OPENCLAW_MODEL: "gpt" }), /provider\/model/);
});

test("the browser is enabled if it exists", () => {
  assert.deepEqual(merged({}).browser, { enabled: false });
  const { browser } = merged(
    {},
    { OPENCLAW_BROWSER_EXECUTABLE_PATH: process.execPath, OPENCLAW_BROWSER_NO_SANDBOX: "1" },
  );
  assert.equal(browser.enabled, true);
  assert.equal(browser.executablePath, process.execPath);
  assert.equal(browser.headless, true);
  assert.equal(browser.noSandbox, true);
  assert.equal(merged({ browser: { headless: false } }).browser.headless, false);
});

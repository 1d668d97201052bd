// Brings the gateway's configuration in line with the environment, before each start.
//
// Usage: node merge-config.mjs [--print-port]
//
// Reads the configuration file, or the template when there is none, sets what the environment
// decides, fills in what is missing from the template, and writes the file if anything changed.
// What else the operator wrote there stays. A file that cannot be read is left as it is: status 78.
// With --print-port it only says on which port the gateway will listen.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { chooseModels } from "./models.mjs";
import { ConfigProblem, readSettings } from "./settings.mjs";

const PROBLEM = 78;

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

// Puts into target what defaults has and target lacks, at every depth.
export function fillIn(target, defaults) {
  for (const [key, value] of Object.entries(defaults)) {
    if (target[key] === undefined) target[key] = structuredClone(value);
    else if (isObject(target[key]) && isObject(value)) fillIn(target[key], value);
  }
  return target;
}

// The object at a path of keys, made where it is missing.
function section(config, ...keys) {
  let at = config;
  for (const key of keys) {
    if (!isObject(at[key])) at[key] = {};
    at = at[key];
  }
  return at;
}

function mergeGateway(config, settings) {
  const gateway = section(config, "gateway");
  gateway.mode = "local";
  gateway.port = settings.port;
  gateway.bind = settings.bind;
  section(gateway, "http", "endpoints", "responses").enabled = true;
  const auth = section(gateway, "auth");
  if (settings.token !== "") {
    auth.mode = "token";
    auth.token = settings.token;
  } else {
    auth.mode = "none";
    delete auth.token;
  }
  fillIn(section(gateway, "controlUi"), {
    allowedOrigins: [`http://localhost:${settings.port}`, `http://127.0.0.1:${settings.port}`],
  });
}

// The gateway starts it when an agent first needs it, and again when it is gone.
function mergeBrowser(config, { executable, noSandbox }) {
  if (executable === "") {
    fillIn(section(config, "browser"), { enabled: false });
    return;
  }
  Object.assign(section(config, "browser"), {
    enabled: true,
    executablePath: executable,
    headless: true,
    noSandbox,
  });
  fillIn(config.browser, {
    defaultProfile: "openclaw",
    extraArgs: ["--disable-gpu", "--disable-dev-shm-usage"],
  });
}

// Releases before the keyed form kept a list; ours could not be added to that.
function takeOverList(agents) {
  if (!Array.isArray(agents.list)) return;
  const entries = section(agents, "entries");
  for (const { id, ...entry } of agents.list)
    if (typeof id === "string" && entries[id] === undefined) entries[id] = entry;
  delete agents.list;
}

// What start scripts of older releases left, and this release refuses to start with or would wait
// for in vain: the browser was started beside the gateway then.
function dropRetired(config) {
  delete config.gateway.controlUi.allowInsecureAuth;
  delete config.browser.attachOnly;
  delete config.browser.profiles?.openclaw?.attachOnly;
  if (config.agents.ownership === "explicit")
    for (const entry of Object.values(config.agents.entries ?? {})) delete entry.default;
}

// Agents are added and never removed: the gateway keeps their sessions. "main" is always one of
// them, as a place for agents that the gateway does not know.
function mergeAgents(config, settings) {
  const agents = section(config, "agents");
  const defaults = section(agents, "defaults");
  if (settings.maxConcurrent !== undefined) defaults.maxConcurrent = settings.maxConcurrent;
  fillIn(defaults, { workspace: path.join(settings.workspaceDir, "main"), maxConcurrent: 10 });
  takeOverList(agents);
  if (settings.agents.length === 0) return;
  for (const slug of new Set(["main", ...settings.agents]))
    fillIn(section(agents, "entries", slug), {
      workspace: path.join(settings.workspaceDir, slug),
    });
  if (Object.keys(agents.entries).length === 1) return;
  agents.ownership = "explicit";
  fillIn(defaults, { systemAgent: { agentId: "main" } });
}

// The configuration to write: a new object.
export function merge(config, template, settings) {
  const merged = structuredClone(config);
  mergeGateway(merged, settings);
  mergeBrowser(merged, settings.browser);
  mergeAgents(merged, settings);
  chooseModels(merged, settings);
  dropRetired(merged);
  return fillIn(merged, template);
}

// The gateway allows comments and trailing commas, and brings a reader for them.
function parse(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    const from = process.env.OPENCLAW_PACKAGE_DIR;
    if (from === undefined) throw error;
    return createRequire(path.join(from, "package.json"))("json5").parse(text);
  }
}

// The object in a file, or undefined when there is no such file.
export function readConfig(file) {
  let config;
  try {
    config = parse(fs.readFileSync(file, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    const why = error instanceof SyntaxError ? "is no JSON" : `cannot be read: ${error.code}`;
    throw new ConfigProblem(`${file} ${why}; mend it or move it away. It was left as it is.`);
  }
  if (!isObject(config))
    throw new ConfigProblem(`${file} holds no object; mend it or move it away.`);
  return config;
}

// Replaces the file at once, readable for its owner only, and keeps the one before it.
export function writeConfig(file, config) {
  const temporary = `${file}.new`;
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  fs.rmSync(temporary, { force: true });
  fs.writeFileSync(temporary, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
  if (fs.existsSync(file)) {
    fs.copyFileSync(file, `${file}.before-start`);
    fs.chmodSync(`${file}.before-start`, 0o600);
  }
  fs.renameSync(temporary, file);
}

function makeWorkspaces(config) {
  const entries = Object.values(config.agents.entries ?? {});
  for (const { workspace } of [config.agents.defaults, ...entries])
    if (typeof workspace === "string") fs.mkdirSync(workspace, { recursive: true });
}

function update(settings) {
  const template = readConfig(settings.templatePath);
  if (template === undefined)
    throw new ConfigProblem(`the template ${settings.templatePath} is not there`);
  const config = readConfig(settings.configPath);
  const merged = merge(config ?? {}, template, settings);
  makeWorkspaces(merged);
  if (JSON.stringify(merged) !== JSON.stringify(config))
    writeConfig(settings.configPath, merged);
  else fs.chmodSync(settings.configPath, 0o600);
  return merged;
}

function report(config, settings) {
  const names = Object.keys(config.agents.entries ?? { main: {} });
  const model = config.agents.defaults.model;
  console.log(`configuration: ${settings.configPath}`);
  console.log(`agents: ${names.join(", ")}; model: ${model?.primary ?? model ?? "none"}`);
  console.log(`port: ${settings.port}, bind: ${settings.bind}`);
  if (model === undefined)
    console.warn(
      "no model provider: set AI_GATEWAY_API_KEY, ANTHROPIC_API_KEY or OPENAI_API_KEY,",
      "or agents cannot answer",
    );
  if (settings.token === "local" && settings.bind !== "loopback")
    console.warn('the token is the default "local": set OPENCLAW_GATEWAY_TOKEN to a secret');
  if (settings.token === "" && settings.bind === "loopback")
    console.warn("OPENCLAW_GATEWAY_TOKEN is empty: only this machine can reach the gateway");
}

function main(argument) {
  try {
    const settings = readSettings(process.env);
    if (argument === "--print-port") console.log(settings.port);
    else report(update(settings), settings);
  } catch (error) {
    if (!(error instanceof ConfigProblem) && error.code === undefined) throw error;
    console.error(`merge-config: ${error.message}`);
    process.exitCode = PROBLEM;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main(process.argv[2]);

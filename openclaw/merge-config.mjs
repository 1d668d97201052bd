// Updates the gateway's configuration from the environment before each start.
//
// Usage: node merge-config.mjs [--print-port | --print-agents-file]
//
// Reads the configuration file (if there is one), sets everything that the environment determines, adds
// missing settings from the template, and writes the file if anything has changed. Everything else that
// the operator configured is kept. An unreadable file is left untouched: exit status 78. --print-port
// only prints the port on which the gateway will listen, --print-agents-file the included file with the
// board's agents, or nothing.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { boardModels, chooseModels } from "./models.mjs";
import { ConfigError, makeFile, readSettings } from "./settings.mjs";

const EX_CONFIG = 78;
const AGENTS_FILE = "mission-control-agents.json";
const MODELS_FILE = "mission-control-models.json";

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

// Recursively copies into target the keys of defaults that target lacks.
export function fillIn(target, defaults) {
  for (const [key, value] of Object.entries(defaults)) {
    if (target[key] === undefined) target[key] = structuredClone(value);
    else if (isObject(target[key]) && isObject(value)) fillIn(target[key], value);
  }
  return target;
}

// Returns the object at a path of keys, creating missing levels.
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

// The gateway starts the browser on demand and restarts it if it dies.
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

// Older releases stored agents as a list instead of by key; mergeAgents handles only the keyed form.
function convertAgentList(agents) {
  if (!Array.isArray(agents.list)) return;
  const entries = section(agents, "entries");
  for (const { id, ...entry } of agents.list)
    if (typeof id === "string" && entries[id] === undefined) entries[id] = entry;
  delete agents.list;
}

// Removes settings written by older start scripts with which this release fails to start or hangs (it would
// wait for a browser started outside the gateway).
function removeObsolete(config) {
  delete config.gateway.controlUi.allowInsecureAuth;
  delete config.browser.attachOnly;
  delete config.browser.profiles?.openclaw?.attachOnly;
  if (config.agents.ownership === "explicit")
    for (const entry of Object.values(config.agents.entries ?? {})) delete entry.default;
}

// Adds agents and never removes any, because the gateway keeps their sessions. "main" is always included, as a
// fallback for agents that the gateway does not know.
function mergeAgents(config, settings) {
  const agents = section(config, "agents");
  const defaults = section(agents, "defaults");
  if (settings.maxConcurrent !== undefined) defaults.maxConcurrent = settings.maxConcurrent;
  fillIn(defaults, { workspace: path.join(settings.workspaceDir, "main"), maxConcurrent: 10 });
  convertAgentList(agents);
  if (settings.agents.length === 0 && settings.agentsFile === undefined) return;
  for (const slug of new Set(["main", ...settings.agents]))
    fillIn(section(agents, "entries", slug), {
      workspace: path.join(settings.workspaceDir, slug),
    });
  if (Object.keys(agents.entries).length === 1 && settings.agentsFile === undefined) return;
  agents.ownership = "explicit";
  fillIn(defaults, { systemAgent: { agentId: "main" } });
}

// Includes the runtime's file of the board's agents, or no longer does. The operator's own includes stay.
function mergeInclude(config, { agentsFile }) {
  const own = [config.$include ?? []]
    .flat()
    .filter((file) => typeof file !== "string" || path.basename(file) !== AGENTS_FILE);
  const included = [...own, agentsFile ?? []].flat().filter((file, at, all) => all.indexOf(file) === at);
  if (included.length === 0) delete config.$include;
  else config.$include = included.length === 1 ? included[0] : included;
}

// Returns the configuration to write, as a new object.
export function merge(config, template, settings) {
  const merged = structuredClone(config);
  mergeInclude(merged, settings);
  mergeGateway(merged, settings);
  mergeBrowser(merged, settings.browser);
  mergeAgents(merged, settings);
  chooseModels(merged, settings);
  if (settings.agentsFile !== undefined) boardModels(merged, settings);
  removeObsolete(merged);
  return fillIn(merged, template);
}

// The gateway accepts comments and trailing commas, and its package includes a parser for them (json5).
function parse(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    const packageDir = process.env.OPENCLAW_PACKAGE_DIR;
    if (packageDir === undefined) throw error;
    return createRequire(path.join(packageDir, "package.json"))("json5").parse(text);
  }
}

// Returns the object in a file, or undefined if the file does not exist.
export function readConfig(file) {
  let config;
  try {
    config = parse(fs.readFileSync(file, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    const reason = error instanceof SyntaxError ? "invalid JSON" : `cannot read the file: ${error.code}`;
    throw new ConfigError(`${file}: ${reason}; fix the file or move it away. It was left unchanged.`);
  }
  if (!isObject(config))
    throw new ConfigError(`${file}: not a JSON object; fix the file or move it away.`);
  return config;
}

// Atomically replaces the file, with mode 0600, and keeps a copy of the previous one.
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

function replaceFile(file, text) {
  const temporary = `${file}.${process.pid}`;
  fs.rmSync(temporary, { force: true });
  fs.writeFileSync(temporary, text, { mode: 0o600, flag: "wx" });
  fs.renameSync(temporary, file);
}

// The gateway does not start without a file that it includes, and the runtime may come later. The models are
// for the runtime, which does not know the keys.
function makeAgentsFiles(config, settings) {
  const { agentsFile } = settings;
  fs.mkdirSync(path.dirname(agentsFile), { recursive: true });
  makeFile(agentsFile, "{}\n");
  const models = JSON.stringify(boardModels(config, settings), null, 2);
  replaceFile(path.join(path.dirname(agentsFile), MODELS_FILE), `${models}\n`);
}

function update(settings) {
  const template = readConfig(settings.templatePath);
  if (template === undefined)
    throw new ConfigError(`template ${settings.templatePath} does not exist`);
  const config = readConfig(settings.configPath);
  const merged = merge(config ?? {}, template, settings);
  makeWorkspaces(merged);
  if (settings.agentsFile !== undefined) makeAgentsFiles(merged, settings);
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
      "no model provider: agents cannot respond until AI_GATEWAY_API_KEY, ANTHROPIC_API_KEY or",
      "OPENAI_API_KEY is set",
    );
  if (settings.token === "" && settings.bind === "loopback")
    console.warn("OPENCLAW_GATEWAY_TOKEN is empty: the gateway is reachable from this machine only");
}

function main(argument) {
  try {
    const settings = readSettings(process.env);
    if (argument === "--print-port") console.log(settings.port);
    else if (argument === "--print-agents-file") console.log(settings.agentsFile ?? "");
    else report(update(settings), settings);
  } catch (error) {
    if (!(error instanceof ConfigError) && error.code === undefined) throw error;
    console.error(`merge-config: ${error.message}`);
    process.exitCode = EX_CONFIG;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main(process.argv[2]);

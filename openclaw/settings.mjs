// Reads and validates the environment variables that configure the gateway.

import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const AGENT = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const BINDS = ["auto", "lan", "loopback", "custom", "tailnet"];
const CHROMIUM = "/usr/bin/chromium";

// An error for the operator to fix; the message is for people and contains no secrets.
export class ConfigError extends Error {}

// Strips blanks and one pair of quotes, because `docker run --env-file` passes quotes through.
function clean(value) {
  const text = (value ?? "").trim();
  const quoted = /^(["'])(.*)\1$/s.exec(text);
  return quoted ? quoted[2] : text;
}

function readTokenFile(file) {
  try {
    return fs.readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new ConfigError(`cannot read OPENCLAW_GATEWAY_TOKEN_FILE: ${error.code ?? error}`);
  }
}

// Makes the file, as a whole and readable by this user only, unless it exists. The runtime may do the same at
// the same moment: the first that links its file wins.
export function makeFile(file, text) {
  const temporary = `${file}.${process.pid}`;
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  fs.rmSync(temporary, { force: true });
  fs.writeFileSync(temporary, text, { mode: 0o600, flag: "wx" });
  try {
    fs.linkSync(temporary, file);
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  } finally {
    fs.rmSync(temporary);
  }
}

// Returns the token in a file, after making it if there is none.
function readGeneratedToken(file) {
  const name = "OPENCLAW_GENERATED_TOKEN_FILE";
  let token;
  try {
    if (!fs.existsSync(file)) makeFile(file, crypto.randomBytes(32).toString("hex"));
    token = fs.readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new ConfigError(`cannot make or read ${name}: ${error.code ?? error}`);
  }
  if (token === "") throw new ConfigError(`${name} is empty; remove the file, and a token is made`);
  return token;
}

// Unset means a generated token where the image names a file for it, and otherwise "local", as in the
// runtime; empty means no token.
function readToken(env) {
  const file = clean(env.OPENCLAW_GATEWAY_TOKEN_FILE);
  if (file !== "") {
    if (clean(env.OPENCLAW_GATEWAY_TOKEN) !== "")
      throw new ConfigError(
        "OPENCLAW_GATEWAY_TOKEN and OPENCLAW_GATEWAY_TOKEN_FILE are both set; set only one",
      );
    return readTokenFile(file);
  }
  if (env.OPENCLAW_GATEWAY_TOKEN !== undefined) return clean(env.OPENCLAW_GATEWAY_TOKEN);
  const generated = clean(env.OPENCLAW_GENERATED_TOKEN_FILE);
  return generated !== "" ? readGeneratedToken(generated) : "local";
}

// Whether it is the address of a Kubernetes Service: one named "openclaw-gateway" puts
// OPENCLAW_GATEWAY_PORT=tcp://10.96.0.7:18789 into every container of its namespace.
export function isServiceLink(value) {
  return /^(tcp|udp|sctp):\/\//.test(clean(value));
}

function readNumber(env, name, min, max) {
  const text = clean(env[name]);
  if (text === "") return undefined;
  const number = Number(text);
  if (!/^[0-9]+$/.test(text) || number < min || number > max)
    throw new ConfigError(`${name} "${text}" is not an integer from ${min} to ${max}`);
  return number;
}

function readPort(env) {
  const name = "OPENCLAW_GATEWAY_PORT";
  const fallback = 18789;
  return isServiceLink(env[name]) ? fallback : (readNumber(env, name, 1, 65535) ?? fallback);
}

// Only this machine may connect, unless a secret token keeps others out. The image sets
// OPENCLAW_DEFAULT_BIND, because other containers must reach the gateway.
function readBind(env, token) {
  const fallback = (token !== "" && clean(env.OPENCLAW_DEFAULT_BIND)) || "loopback";
  const bind = clean(env.OPENCLAW_GATEWAY_BIND) || fallback;
  if (!BINDS.includes(bind))
    throw new ConfigError(`OPENCLAW_GATEWAY_BIND "${bind}" is not one of ${BINDS.join(", ")}`);
  if (token === "local" && bind !== "loopback")
    throw new ConfigError(
      `the gateway would listen on more than this machine (${bind}) with the well-known token "local"; ` +
        "set OPENCLAW_GATEWAY_TOKEN to a secret, or OPENCLAW_GATEWAY_BIND to loopback",
    );
  return bind;
}

function readAgents(env) {
  const slugs = clean(env.OPENCLAW_AGENTS)
    .split(",")
    .map((slug) => slug.trim().toLowerCase())
    .filter((slug) => slug !== "");
  for (const slug of slugs)
    if (!AGENT.test(slug))
      throw new ConfigError(
        `OPENCLAW_AGENTS: "${slug}" is not a slug (a-z, 0-9, - and _; at most 64 characters)`,
      );
  return [...new Set(slugs)];
}

function isOn(env, name) {
  const word = clean(env[name]).toLowerCase();
  if (["", "false", "no", "off", "0"].includes(word)) return false;
  if (["true", "yes", "on", "1"].includes(word)) return true;
  throw new ConfigError(`${name} "${word}" is not one of true, false, yes, no, on, off, 1, 0`);
}

function readAbsolutePath(env, name, fallback) {
  const text = clean(env[name]).replace(/(?<=.)\/+$/, "");
  if (text === "") return fallback;
  if (!text.startsWith("/")) throw new ConfigError(`${name} "${text}" is not an absolute path`);
  return text;
}

// The file that the runtime writes the board's agents to, or undefined without profile sync. Settings and
// defaults are the runtime's.
function readAgentsFile(env) {
  if (!isOn(env, "OPENCLAW_PROFILE_SYNC")) return undefined;
  const root = readAbsolutePath(env, "OPENCLAW_WORKSPACE_ROOT", "/root/clawd/agents");
  const seen = readAbsolutePath(env, "OPENCLAW_WORKSPACE_ROOT_IN_GATEWAY", root);
  const fallback = path.join(path.dirname(seen), "mission-control-agents.json");
  return readAbsolutePath(env, "OPENCLAW_AGENTS_FILE", fallback);
}

function readModel(env) {
  const model = clean(env.OPENCLAW_MODEL);
  if (model !== "" && !/^[^/\s]+\/\S+$/.test(model))
    throw new ConfigError(`OPENCLAW_MODEL "${model}" is not in the form provider/model`);
  return model;
}

function readBrowser(env) {
  const executable = clean(env.OPENCLAW_BROWSER_EXECUTABLE_PATH) || CHROMIUM;
  return {
    executable: fs.existsSync(executable) ? executable : "",
    noSandbox: clean(env.OPENCLAW_BROWSER_NO_SANDBOX) === "1",
  };
}

// Returns the settings from an environment. Throws a ConfigError that names the invalid variable.
export function readSettings(env) {
  const home = env.HOME || os.homedir();
  const stateDir = clean(env.OPENCLAW_STATE_DIR) || path.join(home, ".openclaw");
  const token = readToken(env);
  return {
    configPath: clean(env.OPENCLAW_CONFIG_PATH) || path.join(stateDir, "openclaw.json"),
    templatePath:
      clean(env.OPENCLAW_CONFIG_TEMPLATE) ||
      path.join(import.meta.dirname, "openclaw.template.json"),
    workspaceDir: clean(env.OPENCLAW_WORKSPACE_DIR) || path.join(home, "workspace"),
    token,
    bind: readBind(env, token),
    port: readPort(env),
    maxConcurrent: readNumber(env, "OPENCLAW_MAX_CONCURRENT", 1, 256),
    agents: readAgents(env),
    agentsFile: readAgentsFile(env),
    model: readModel(env),
    browser: readBrowser(env),
    keys: {
      vercel: clean(env.VERCEL_AI_GATEWAY_API_KEY) || clean(env.AI_GATEWAY_API_KEY),
      anthropic: clean(env.ANTHROPIC_API_KEY),
      openai: clean(env.OPENAI_API_KEY),
    },
  };
}

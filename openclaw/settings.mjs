// Reads and validates the environment variables that configure the gateway.

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

// Same rules as in the runtime: unset means "local", empty means no token.
function readToken(env) {
  const file = clean(env.OPENCLAW_GATEWAY_TOKEN_FILE);
  if (file !== "") {
    if (clean(env.OPENCLAW_GATEWAY_TOKEN) !== "")
      throw new ConfigError(
        "OPENCLAW_GATEWAY_TOKEN and OPENCLAW_GATEWAY_TOKEN_FILE are both set; set only one",
      );
    return readTokenFile(file);
  }
  return env.OPENCLAW_GATEWAY_TOKEN === undefined ? "local" : clean(env.OPENCLAW_GATEWAY_TOKEN);
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

// Without a token only this machine may connect; otherwise the runtime's container must reach the gateway.
function readBind(env, token) {
  const bind = clean(env.OPENCLAW_GATEWAY_BIND) || (token === "" ? "loopback" : "lan");
  if (!BINDS.includes(bind))
    throw new ConfigError(`OPENCLAW_GATEWAY_BIND "${bind}" is not one of ${BINDS.join(", ")}`);
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
    model: readModel(env),
    browser: readBrowser(env),
    keys: {
      vercel: clean(env.VERCEL_AI_GATEWAY_API_KEY) || clean(env.AI_GATEWAY_API_KEY),
      anthropic: clean(env.ANTHROPIC_API_KEY),
      openai: clean(env.OPENAI_API_KEY),
    },
  };
}

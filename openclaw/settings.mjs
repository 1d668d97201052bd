// What the environment says about the gateway's configuration, checked.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const AGENT = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const BINDS = ["auto", "lan", "loopback", "custom", "tailnet"];
const CHROMIUM = "/usr/bin/chromium";

// A problem that the operator has to mend; its message is made for him and holds no secret.
export class ConfigProblem extends Error {}

// Blanks and one pair of quotes do not count: `docker run --env-file` passes quotes on.
function clean(value) {
  const text = (value ?? "").trim();
  const quoted = /^(["'])(.*)\1$/s.exec(text);
  return quoted ? quoted[2] : text;
}

function readTokenFile(file) {
  try {
    return fs.readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new ConfigProblem(`OPENCLAW_GATEWAY_TOKEN_FILE cannot be read: ${error.code ?? error}`);
  }
}

// As the runtime reads it: not set means "local", and set to nothing means that there is none.
function readToken(env) {
  const file = clean(env.OPENCLAW_GATEWAY_TOKEN_FILE);
  if (file !== "") {
    if (clean(env.OPENCLAW_GATEWAY_TOKEN) !== "")
      throw new ConfigProblem(
        "OPENCLAW_GATEWAY_TOKEN and OPENCLAW_GATEWAY_TOKEN_FILE are both set; set one of them",
      );
    return readTokenFile(file);
  }
  return env.OPENCLAW_GATEWAY_TOKEN === undefined ? "local" : clean(env.OPENCLAW_GATEWAY_TOKEN);
}

function readNumber(env, name, lowest, highest) {
  const text = clean(env[name]);
  if (text === "") return undefined;
  const number = Number(text);
  if (!/^[0-9]+$/.test(text) || number < lowest || number > highest)
    throw new ConfigProblem(`${name} "${text}" is no whole number from ${lowest} to ${highest}`);
  return number;
}

// Without a token only this machine may come in; else the runtime's container has to reach us.
function readBind(env, token) {
  const bind = clean(env.OPENCLAW_GATEWAY_BIND) || (token === "" ? "loopback" : "lan");
  if (!BINDS.includes(bind))
    throw new ConfigProblem(`OPENCLAW_GATEWAY_BIND "${bind}" is none of ${BINDS.join(", ")}`);
  return bind;
}

function readAgents(env) {
  const slugs = clean(env.OPENCLAW_AGENTS)
    .split(",")
    .map((slug) => slug.trim().toLowerCase())
    .filter((slug) => slug !== "");
  for (const slug of slugs)
    if (!AGENT.test(slug))
      throw new ConfigProblem(
        `OPENCLAW_AGENTS: "${slug}" is no slug: letters, digits, - and _, at most 64`,
      );
  return [...new Set(slugs)];
}

function readModel(env) {
  const model = clean(env.OPENCLAW_MODEL);
  if (model !== "" && !/^[^/\s]+\/\S+$/.test(model))
    throw new ConfigProblem(`OPENCLAW_MODEL "${model}" is not of the form provider/model`);
  return model;
}

function readBrowser(env) {
  const executable = clean(env.OPENCLAW_BROWSER_EXECUTABLE_PATH) || CHROMIUM;
  return {
    executable: fs.existsSync(executable) ? executable : "",
    noSandbox: clean(env.OPENCLAW_BROWSER_NO_SANDBOX) === "1",
  };
}

// All settings of an environment. Throws a ConfigProblem that names the variable.
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
    port: readNumber(env, "OPENCLAW_GATEWAY_PORT", 1, 65535) ?? 18789,
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

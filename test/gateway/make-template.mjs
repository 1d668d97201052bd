// Prints the gateway's template with settings that keep a test local and quiet, and with the stub in
// provider.mjs as its model provider.
//
// Usage: node make-template.mjs TEMPLATE PROVIDER_URL LOG_FILE [RELOAD]
//
// RELOAD is gateway.reload.mode: off by default, or hybrid, which is the template's own.

import fs from "node:fs";

const [templateFile, providerUrl, logFile, reload = "off"] = process.argv.slice(2);
const template = JSON.parse(fs.readFileSync(templateFile, "utf8"));
const provider = {
  baseUrl: `${providerUrl}/v1`,
  apiKey: "sk-unchecked",
  api: "openai-completions",
  models: [{ id: "echo", name: "Echo", input: ["text"], contextWindow: 200000, maxTokens: 8192 }],
};

const minimax = { ...provider.models[0], id: "minimax-m2.5", name: "MiniMax" };

template.gateway.controlUi = { enabled: false };
template.gateway.reload = { mode: reload };
template.cron = { enabled: false };
template.logging = { file: logFile };
template.models = {
  mode: "replace",
  catalogRefresh: { enabled: false },
  // The second is one whose models the board has.
  providers: { fake: provider, minimax: { ...provider, models: [minimax] } },
};
console.log(JSON.stringify(template));

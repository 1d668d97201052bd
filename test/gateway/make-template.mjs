// Prints the gateway's template with settings that keep a test local and quiet, and with the stub in
// provider.mjs as its model provider.
//
// Usage: node make-template.mjs TEMPLATE PROVIDER_URL LOG_FILE

import fs from "node:fs";

const [templateFile, providerUrl, logFile] = process.argv.slice(2);
const template = JSON.parse(fs.readFileSync(templateFile, "utf8"));
const provider = {
  baseUrl: `${providerUrl}/v1`,
  apiKey: "sk-unchecked",
  api: "openai-completions",
  models: [{ id: "echo", name: "Echo", input: ["text"], contextWindow: 200000, maxTokens: 8192 }],
};

template.gateway.controlUi = { enabled: false };
template.gateway.reload = { mode: "off" };
template.cron = { enabled: false };
template.logging = { file: logFile };
template.models = {
  mode: "replace",
  catalogRefresh: { enabled: false },
  providers: { fake: provider },
};
console.log(JSON.stringify(template));

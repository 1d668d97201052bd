// Chooses the agents' model by the API keys in the environment.

// In order of preference. Model names are those of the provider's catalog.
const PROVIDERS = [
  {
    key: "vercel",
    id: "ai-gateway",
    primary: "ai-gateway/anthropic/claude-haiku-4.5",
    fallbacks: ["ai-gateway/anthropic/claude-sonnet-4.5"],
  },
  {
    key: "anthropic",
    id: "anthropic",
    primary: "anthropic/claude-haiku-4-5",
    fallbacks: ["anthropic/claude-sonnet-5"],
  },
  {
    key: "openai",
    id: "openai",
    primary: "openai/gpt-5.4-mini",
    fallbacks: [],
  },
];

// The gateway's plugin for Vercel ("vercel-ai-gateway") is not part of its package: it would be downloaded at
// startup if the configuration named it or AI_GATEWAY_API_KEY were set. So configure a generic compatible
// endpoint under a different name. The key stays in the environment.
const VERCEL = {
  baseUrl: "https://ai-gateway.vercel.sh/v1",
  apiKey: "${VERCEL_AI_GATEWAY_API_KEY}",
  api: "openai-completions",
  models: [
    { id: "anthropic/claude-haiku-4.5", name: "Claude Haiku 4.5" },
    { id: "anthropic/claude-sonnet-4.5", name: "Claude Sonnet 4.5" },
  ].map((model) => ({
    ...model,
    reasoning: false,
    input: ["text", "image"],
    contextWindow: 200000,
    maxTokens: 32000,
  })),
};

// The board's names of models, with the provider of each and what that calls it.
const BOARD_MODELS = {
  "minimax-m2.5": ["minimax", "minimax-m2.5"],
  "claude-haiku-4.5": ["anthropic", "claude-haiku-4.5", "claude-haiku-4-5"],
  "kimi-k2.5": ["moonshotai", "kimi-k2.5"],
  "gpt-5-nano": ["openai", "gpt-5-nano"],
};

function primaryOf(model) {
  return typeof model === "string" ? model : model?.primary;
}

// Whether an earlier start chose this model for a provider whose key has since been removed.
function isStale(model, settings) {
  const provider = PROVIDERS.find(({ primary }) => primary === primaryOf(model));
  return provider !== undefined && settings.keys[provider.key] === "";
}

function addModel(provider, id) {
  const name = id.slice("ai-gateway/".length);
  if (!provider.models.some((model) => model.id === name))
    provider.models.push({ ...VERCEL.models[0], id: name, name });
}

// Without this, OpenAI models run in a plugin that the gateway would have to download at every start.
function useBuiltInRuntime(defaults, model) {
  if (!model.startsWith("openai/")) return;
  defaults.models ??= {};
  defaults.models[model] ??= {};
  defaults.models[model].agentRuntime ??= { id: "openclaw" };
}

// Keeps a model that the operator configured, unless OPENCLAW_MODEL names another.
export function chooseModels(config, settings) {
  const defaults = config.agents.defaults;
  const available = PROVIDERS.filter(({ key }) => settings.keys[key] !== "");
  if (settings.keys.vercel !== "") {
    config.models ??= {};
    config.models.providers ??= {};
    config.models.providers["ai-gateway"] ??= structuredClone(VERCEL);
    if (settings.model.startsWith("ai-gateway/"))
      addModel(config.models.providers["ai-gateway"], settings.model);
  }
  if (isStale(defaults.model, settings)) delete defaults.model;
  if (settings.model !== "") defaults.model = { primary: settings.model };
  else if (defaults.model === undefined && available.length > 0)
    defaults.model = { primary: available[0].primary, fallbacks: available[0].fallbacks };
  useBuiltInRuntime(defaults, primaryOf(defaults.model) ?? "");
}

// Returns the gateway's name of each model of the board that it can run, and configures what those need: a
// model without a provider would fail every run of its agents.
export function boardModels(config, { keys }) {
  const models = {};
  for (const [name, [provider, vercelId, ownId = vercelId]] of Object.entries(BOARD_MODELS)) {
    const isConfigured = config.models?.providers?.[provider] !== undefined;
    if (isConfigured || (keys[provider] ?? "") !== "") {
      models[name] = `${provider}/${ownId}`;
      if (!isConfigured) useBuiltInRuntime(config.agents.defaults, models[name]);
    } else if (keys.vercel !== "") {
      models[name] = `ai-gateway/${provider}/${vercelId}`;
      addModel(config.models.providers["ai-gateway"], models[name]);
    }
  }
  return models;
}

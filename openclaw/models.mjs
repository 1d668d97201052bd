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
function useBuiltInRuntime(defaults) {
  const primary = primaryOf(defaults.model) ?? "";
  if (!primary.startsWith("openai/")) return;
  defaults.models ??= {};
  defaults.models[primary] ??= {};
  defaults.models[primary].agentRuntime ??= { id: "openclaw" };
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
  useBuiltInRuntime(defaults);
}

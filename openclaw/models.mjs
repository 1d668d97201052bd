// Which model the agents use, by the keys of the model providers that the environment holds.

// In order of preference. Models are named as the provider's catalogue does.
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

// The gateway's own plugin for it ("vercel-ai-gateway") is not part of its package. It would be
// fetched at a start that sees its name or AI_GATEWAY_API_KEY, so this is described as any other
// compatible endpoint is, under names of its own. The key stays in the environment.
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

// Whether the model is one that an earlier start chose, for a provider whose key is gone.
function isStale(model, settings) {
  const gone = PROVIDERS.find(({ primary }) => primary === primaryOf(model));
  return gone !== undefined && settings.keys[gone.key] === "";
}

function addModel(provider, id) {
  const name = id.slice("ai-gateway/".length);
  if (!provider.models.some((model) => model.id === name))
    provider.models.push({ ...VERCEL.models[0], id: name, name });
}

// Without this a model of OpenAI's is run by a plugin that would have to be fetched at each start.
function keepOnGateway(defaults) {
  const primary = primaryOf(defaults.model) ?? "";
  if (!primary.startsWith("openai/")) return;
  defaults.models ??= {};
  defaults.models[primary] ??= {};
  defaults.models[primary].agentRuntime ??= { id: "openclaw" };
}

// A model that the operator configured stays, unless OPENCLAW_MODEL names another.
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
  keepOnGateway(defaults);
}

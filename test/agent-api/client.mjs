// Makes a client from the OpenAPI description and calls each endpoint with it once, as the orchestrator,
// then makes the errors that are easy to make. Each request and answer is checked against the schemas.
//
// Usage: AGENT_API_URL=http://HOST:PORT AGENT_API_KEY=SESSION_KEY node client.mjs FILE
//
// The board needs an agent "friday" besides the orchestrator. Prints a line for each call; exits with 1
// if one was not as described.

import { readFileSync } from "node:fs";
import Ajv2020 from "ajv/dist/2020.js";
import { load } from "js-yaml";
import { OpenAPIClientAxios } from "openapi-client-axios";

const { AGENT_API_URL: url, AGENT_API_KEY: key } = process.env;
const description = load(readFileSync(process.argv[2], "utf8"));
const ajv = new Ajv2020({ strict: false, allErrors: true });
ajv.addSchema({ $id: "api", ...description });

const api = new OpenAPIClientAxios({
    definition: structuredClone(description),
    withServer: { url },
    axiosConfigDefaults: {
        validateStatus: () => true,
        headers: { "x-openclaw-session-key": key, "content-type": "application/json" },
    },
});
const client = await api.getClient();
const called = new Set();
let failures = 0;

function report(title, problem) {
    if (problem) failures++;
    console.log(problem ? `FAIL  ${title}: ${problem}` : `ok    ${title}`);
}

// A JSON pointer into the description, as a schema's reference.
function reference(...names) {
    return `api#/${names.map((name) => name.replaceAll("~", "~0").replaceAll("/", "~1")).join("/")}`;
}

function mismatch(schema, value) {
    const validate = ajv.getSchema(schema);
    if (!validate) return `there is no ${schema}`;
    return validate(value) ? undefined : ajv.errorsText(validate.errors);
}

function schemaOf(path, status) {
    let names = ["paths", path, "post", "responses", String(status)];
    const response = description.paths[path].post.responses[status];
    if (!response) return undefined;
    if (response.$ref) names = response.$ref.slice(2).split("/");
    const [type] = Object.keys((response.$ref ? description.components.responses[names[2]] : response).content);
    return reference(...names, "content", type, "schema");
}

function pathOf(operation) {
    return Object.keys(description.paths).find((path) => description.paths[path].post.operationId === operation);
}

function problemOf(path, answer, status) {
    const said = `status ${answer.status}: ${JSON.stringify(answer.data)}`;
    if (answer.status !== status) return `expected ${status}, got ${said}`;
    const schema = schemaOf(path, status);
    if (!schema) return `the description lacks ${said}`;
    const problem = mismatch(schema, answer.data);
    return problem ? `${problem}: ${said}` : undefined;
}

// Calls an operation of the client, which must succeed; returns the answer's body.
async function call(operation, body) {
    const path = pathOf(operation);
    const answer = await client[operation](null, body);
    called.add(operation);
    report(
        operation,
        mismatch(reference("paths", path, "post", "requestBody", "content", "application/json", "schema"), body) ??
            problemOf(path, answer, 200),
    );
    return answer.data ?? {};
}

async function expectError(title, operation, body, status, config) {
    const answer = await client[operation](null, body, config);
    report(`${status}: ${title}`, problemOf(pathOf(operation), answer, status));
}

async function callAll() {
    const { taskId } = await call("task_create", { title: "Check the backups", priority: "high", labels: ["ops"] });
    await call("task_assign", { taskId, assigneeSlugs: ["@friday"] });
    await call("task_status", { taskId, status: "review" });
    await call("task_update", { taskId, description: "All of them", priority: 2, dueDate: 1900000000000 });
    const { documentId } = await call("document_upsert", { taskId, title: "Plan", content: "", type: "note" });
    await call("document_list", { taskId, type: "note", limit: 5 });
    if (!documentId) report("document_upsert", "no documentId");
    await call("response_request", { taskId, recipientSlugs: ["friday"], message: "Please look at the plan." });
    await call("task_message", { taskId, content: "The plan is there." });
    await call("task_list", { status: "review", assigneeSlug: "friday", limit: 3 });
    await call("task_get", { taskId });
    await call("task_thread", { taskId, limit: 10 });
    await call("task_search", { query: "backups" });
    await call("task_load", { taskId, messageLimit: 5 });
    await call("get_agent_skills", {});
    await call("task_link_pr", { taskId, prNumber: 42 });
    await call("task_delete", { taskId, reason: "The test is over." });
}

async function callBadly() {
    const json = { headers: { "content-type": "application/json" } };
    await expectError("no session key", "task_load", { taskId: "t1" }, 401, { headers: { "x-openclaw-session-key": "" } });
    await expectError("a session key without a tag", "task_load", { taskId: "t1" }, 401, {
        headers: { "x-openclaw-session-key": "agent:boss:task:t1:a:v1" },
    });
    await expectError("a missing field", "task_status", {}, 400);
    await expectError("a field of another type", "task_load", { taskId: 7 }, 400);
    await expectError("no JSON", "task_load", "{", 400, json);
    await expectError("an impossible status", "task_status", { taskId: "t1", status: "open" }, 422);
    await expectError("too many recipients", "response_request",
        { taskId: "t1", recipientSlugs: Array(11).fill("friday"), message: "x" }, 422);
    await expectError("a task that does not exist", "task_status", { taskId: "nosuchtask", status: "review" }, 404);
    await expectError("another method", "task_load", undefined, 405, { method: "get" });
}

await callAll();
await callBadly();
for (const path of Object.keys(description.paths)) {
    const { operationId } = description.paths[path].post;
    if (!called.has(operationId)) report(operationId, "it was not called");
}
process.exit(failures === 0 ? 0 : 1);

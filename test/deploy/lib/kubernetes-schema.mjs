// Validates objects against the published schemas of the Kubernetes API and the Prometheus operator.
//
// Usage: node kubernetes-schema.mjs MODULES_DIR <OBJECTS
//
// MODULES_DIR is where npm installed kubernetes-models and @kubernetes-models/prometheus-operator;
// OBJECTS is a JSON array. Prints every problem; exits with 1 if there is one, or an unknown kind.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

// The module that describes an API version, e.g. kubernetes-models/apps/v1.
function moduleOf(apiVersion) {
  const isOperator = apiVersion.startsWith("monitoring.coreos.com/");
  const name = isOperator ? "@kubernetes-models/prometheus-operator" : "kubernetes-models";
  return path.resolve(process.argv[2], "node_modules", name, apiVersion, "index.js");
}

async function problemsOf(object) {
  let models;
  try {
    models = await import(pathToFileURL(moduleOf(object.apiVersion)));
  } catch {
    return [`unknown API ${object.apiVersion}`];
  }
  const Model = models[object.kind];
  if (Model === undefined) return [`${object.apiVersion} has no ${object.kind}`];
  try {
    new Model(object).validate();
    return [];
  } catch (error) {
    return error.message.split("\n");
  }
}

const objects = JSON.parse(fs.readFileSync(0, "utf8"));
for (const object of objects) {
  const problems = await problemsOf(object);
  if (problems.length > 0) process.exitCode = 1;
  for (const problem of problems) console.log(`${object.kind}: ${problem}`);
}
console.log(`${objects.length} objects`);

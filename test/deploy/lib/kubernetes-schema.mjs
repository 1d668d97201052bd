// Checks objects against the schemas that the Kubernetes API and Prometheus' operator publish.
//
// Usage: node kubernetes-schema.mjs MODULES_FOLDER <OBJECTS
//
// MODULES_FOLDER is where npm has installed kubernetes-models and
// @kubernetes-models/prometheus-operator; OBJECTS is an array in JSON. Says what is wrong with each
// object; the status is 1 when anything is, or when a kind is unknown.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

// Where a version of an API is described, e.g. kubernetes-models/apps/v1.
function moduleOf(apiVersion) {
  const own = apiVersion.startsWith("monitoring.coreos.com/");
  const name = own ? "@kubernetes-models/prometheus-operator" : "kubernetes-models";
  return path.resolve(process.argv[2], "node_modules", name, apiVersion, "index.js");
}

async function problemsOf(object) {
  let models;
  try {
    models = await import(pathToFileURL(moduleOf(object.apiVersion)));
  } catch {
    return [`there is no API ${object.apiVersion}`];
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

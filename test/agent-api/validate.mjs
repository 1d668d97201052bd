// Checks that a document is valid OpenAPI 3.1.
//
// Usage: node validate.mjs FILE

import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";

const validator = new Validator();
const result = await validator.validate(readFileSync(process.argv[2], "utf8"));
if (!result.valid) {
    console.error(result.errors);
    process.exit(1);
}
if (!validator.version.startsWith("3.1")) {
    console.error(`the document is OpenAPI ${validator.version}, not 3.1`);
    process.exit(1);
}

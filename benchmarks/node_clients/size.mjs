// What a page loads at once for a client, bundled and minified alike, after gzip: bytes as JSON.
import { writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

const CLIENTS = {
  tinycdp: 'export { initTinyCDP } from "../../sdk/typescript/dist/browser.js";',
  segment: 'export { AnalyticsBrowser } from "@segment/analytics-next";',
  rudderstack: 'export { RudderAnalytics } from "@rudderstack/analytics-js";',
  posthog: 'export { posthog } from "posthog-js";',
};

const folder = mkdtempSync(join(import.meta.dirname, "entries-"));
const sizes = {};
try {
  for (const [name, source] of Object.entries(CLIENTS)) {
    const input = join(folder, `${name}.mjs`);
    writeFileSync(input, source.replace("../../", "../../../"));
    const define = { "process.env.NODE_ENV": "'production'" };
    const bundle = await rolldown({ input, platform: "browser", transform: { define }, logLevel: "silent" });
    const { output } = await bundle.generate({ format: "esm", minify: true });
    const chunks = new Map(output.filter((chunk) => chunk.type === "chunk").map((chunk) => [chunk.fileName, chunk]));
    const loaded = new Set();
    const load = (chunk) => {
      if (!chunk || loaded.has(chunk)) return;
      loaded.add(chunk);
      chunk.imports.forEach((imported) => load(chunks.get(imported)));
    };
    load(output.find((chunk) => chunk.isEntry));
    sizes[name] = [...loaded].reduce((sum, chunk) => sum + gzipSync(chunk.code, { level: 9 }).length, 0);
  }
} finally {
  rmSync(folder, { recursive: true });
}
console.log(JSON.stringify(sizes));

import { minify } from "terser";
import type { UserConfig } from "tsdown";
import { defineConfig } from "tsdown";

/** Once more over what the bundler has minified: functions that are called once go where they are called. */
const inPlace = {
  name: "in-place",
  async generateBundle(_: unknown, bundle: Record<string, any>): Promise<void> {
    for (const chunk of Object.values(bundle)) {
      if (!/\.c?js$/.test(chunk.fileName)) continue;
      const compress = { passes: 3, unsafe_arrows: true };
      chunk.code = (await minify(chunk.code, { ecma: 2020, toplevel: true, module: /\.js$/.test(chunk.fileName), compress })).code;
    }
  },
};

/** In the build for pages another file has the place of what is Node's alone. */
const forPages = {
  name: "for-pages",
  resolveId: (id: string): string | null => (id === "./node" ? new URL("src/page.ts", import.meta.url).pathname : null),
};

// React's entry and the test double import the client by the package's name: an app has it once, however it loads it.
const shared: UserConfig = {
  format: ["esm", "cjs"],
  minify: true,
  platform: "neutral",
  target: "es2021",
  fixedExtension: false,
  deps: { neverBundle: [/^@tinycdp\/sdk/, /^react/] },
};

export default defineConfig([
  { ...shared, entry: { index: "src/index.ts", react: "src/react.tsx", testing: "src/testing.ts" }, dts: true, plugins: [inPlace] },
  { ...shared, entry: { browser: "src/index.ts" }, dts: false, clean: false, plugins: [forPages, inPlace] },
  { ...shared, entry: { stream: "src/stream.ts" }, dts: true, clean: false, plugins: [forPages, inPlace] },
]);

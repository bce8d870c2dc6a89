import { defineConfig } from "tsdown";

// React's entry and the test double import the client by the package's name: an app has it once, however it loads it.
export default defineConfig({
  entry: { index: "src/index.ts", react: "src/react.tsx", testing: "src/testing.ts" },
  format: ["esm", "cjs"],
  dts: true,
  minify: true,
  platform: "neutral",
  target: "es2021",
  fixedExtension: false,
  deps: { neverBundle: [/^@tinycdp\/sdk/, /^react/] },
});

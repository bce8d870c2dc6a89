import { defineConfig } from "vitest/config";

const here = (path: string): string => new URL(path, import.meta.url).pathname;
// Where the packages of another React are, with which the same tests run a second time.
const modules = process.env["TINYCDP_REACT"];
const react = modules ? [{ find: /^(react|react-dom)(?=\/|$)/, replacement: `${modules}/$1` }] : [];

export default defineConfig({
  resolve: {
    alias: [
      { find: "@tinycdp/sdk/react", replacement: here("src/react.tsx") },
      { find: "@tinycdp/sdk/stream", replacement: here("src/stream.ts") },
      { find: "@tinycdp/sdk/testing", replacement: here("src/testing.ts") },
      { find: "@tinycdp/sdk", replacement: here("src/index.ts") },
      ...react,
    ],
  },
  test: { include: ["tests/**/*.test.{ts,tsx}"], unstubGlobals: true, pool: "threads", maxWorkers: 1 },
});

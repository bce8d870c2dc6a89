import { defineConfig } from "vitest/config";

const here = (path: string): string => new URL(path, import.meta.url).pathname;
export default defineConfig({
  resolve: {
    alias: [
      { find: "@tinycdp/sdk/react", replacement: here("src/react.tsx") },
      { find: "@tinycdp/sdk/testing", replacement: here("src/testing.ts") },
      { find: "@tinycdp/sdk", replacement: here("src/index.ts") },
    ],
  },
  test: { include: ["tests/**/*.test.{ts,tsx}"], unstubGlobals: true, pool: "threads", maxWorkers: 1 },
});

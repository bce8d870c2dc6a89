import { minify, type MinifyOptions } from "terser";
import type { UserConfig } from "tsdown";
import { defineConfig } from "tsdown";

/**
 * Properties of the client's own insides, which no app, server or store sees: the build gives them short names. Times are
 * such, but for the option `flushIntervalMs`, and for two that the browser's storage keeps. None may be named by a text, or be
 * one of the language's or the browser's that the client calls.
 */
const INSIDE = [
  "(?!flushInterval|first|last)\\w+Ms",
  ..."isAmbiguous fullAnswers isOld wasSent hurry giveUp forget stamp failures gone alone decided question".split(" "),
  ..."place fate waiting settle consent answered names resume release say ids hold begin".split(" "),
  ..."tell note put take session remove clear drop batch bytes last recall keep".split(" "),
];

/** A line for each statement, in what Node loads: it prints the whole line in which an error was thrown that nobody caught. */
const LINES = { semicolons: false };

/** Twice over what the bundler has minified: functions that are called once go where they are called. */
const inPlace = (format = {}) => ({
  name: "in-place",
  async generateBundle(_: unknown, bundle: Record<string, any>): Promise<void> {
    for (const chunk of Object.values(bundle)) {
      if (!/\.c?js$/.test(chunk.fileName)) continue;
      const options: MinifyOptions = {
        ecma: 2020,
        toplevel: true,
        module: /\.js$/.test(chunk.fileName),
        compress: { passes: 3, unsafe_arrows: true, unsafe_methods: true, pure_getters: true, evaluate: false },
        format,
      };
      const properties = { builtins: true, regex: new RegExp(`^(${INSIDE.join("|")})$`) };
      const once = await minify(chunk.code, { ...options, mangle: { properties } });
      const { code } = await minify(once.code!, options);
      chunk.code = code!.replace(/\bconst /g, "let "); // one word for both is shorter, once it is packed
    }
  },
});

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
  { ...shared, entry: { index: "src/index.ts" }, dts: true, plugins: [inPlace(LINES)] },
  { ...shared, entry: { testing: "src/testing.ts" }, dts: true, clean: false, plugins: [inPlace(LINES)] },
  { ...shared, entry: { react: "src/react.tsx" }, dts: true, clean: false, plugins: [inPlace(LINES)] },
  { ...shared, entry: { browser: "src/index.ts" }, dts: false, clean: false, plugins: [forPages, inPlace()] },
  { ...shared, entry: { stream: "src/stream.ts" }, dts: true, clean: false, plugins: [forPages, inPlace()] },
]);

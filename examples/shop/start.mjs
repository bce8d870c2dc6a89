/**
 * Builds the shop for the stack that runs on this machine, and serves it: `npm start`.
 *
 * The page gets the write key and the read key, which may stand in any page: the one can only send, the other can only ask
 * for decisions. Nothing else of `keys.json` leaves this process. TINYCDP_URL, TINYCDP_WRITE_KEY and TINYCDP_READ_KEY name
 * a stack elsewhere; TINYCDP_HOME is the folder of one here.
 */

import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build, preview } from "vite";

const SHOP = fileURLToPath(new URL(".", import.meta.url));
const FLAG = "member_price";

/** Ends the process with a sentence. */
function fail(reason) {
  console.error(reason);
  process.exit(1);
}

/** The address of the stack and the two keys, from the environment or the stack's folder. */
async function stackHere() {
  const { TINYCDP_URL: url, TINYCDP_WRITE_KEY: writeKey, TINYCDP_READ_KEY: readKey, TINYCDP_HOME: named } = process.env;
  if (url && writeKey && readKey) return { url, writeKey, readKey };
  // npm runs this in the shop's folder, and says in INIT_CWD where it was called.
  const home = named ? resolve(process.env.INIT_CWD ?? ".", named) : resolve(SHOP, "../../.tinycdp");
  const read = async (name) => JSON.parse(await readFile(join(home, name), "utf8"));
  try {
    const [{ api_url }, { write, read: readKeyHere }] = [await read("stack.json"), await read("keys.json")];
    return { url: api_url, writeKey: write, readKey: readKeyHere };
  } catch {
    return fail(`no stack runs on ${home}: run \`make demo\` first, or name its folder in TINYCDP_HOME`);
  }
}

/** Ends the process where the stack does not answer, or has no flags for the shop. */
async function check({ url, readKey }) {
  const asked = fetch(`${url}/v1/decide?userId=shop&flag=${FLAG}`, { headers: { Authorization: `Bearer ${readKey}` } });
  const answer = await asked.catch(() => fail(`nobody answers at ${url}: run \`make demo\` first`));
  if (answer.status === 404) fail(`the stack at ${url} has no flag ${FLAG}: run \`make demo\`, which saves it`);
  if (!answer.ok) fail(`the stack at ${url} answers ${answer.status}: ${await answer.text()}`);
}

const stack = await stackHere();
await check(stack);
Object.assign(process.env, {
  VITE_TINYCDP_URL: stack.url,
  VITE_TINYCDP_WRITE_KEY: stack.writeKey,
  VITE_TINYCDP_READ_KEY: stack.readKey,
});
await build({ root: SHOP, logLevel: "warn" });
const server = await preview({
  root: SHOP,
  logLevel: "warn",
  preview: { host: "127.0.0.1", port: Number(process.env.PORT ?? 4173) },
});
console.log(`shop     ${server.resolvedUrls.local[0]}`);
console.log(`stack    ${stack.url}`);
console.log("Ctrl-C stops the shop.");

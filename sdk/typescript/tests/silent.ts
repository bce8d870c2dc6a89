/** Clients that log nothing and are closed after each test. */

import { afterEach } from "vitest";
import type { TinyCDPClient, TinyCDPOptions } from "../src/index";
import { initTinyCDP } from "../src/index";

export const SILENT = { debug() {}, info() {}, warn() {}, error() {} };
const made: TinyCDPClient[] = [];

export function clientOf(options: Partial<TinyCDPOptions> = {}): TinyCDPClient {
  const client = initTinyCDP({ endpoint: "http://cdp.test", writeKey: "wk", readKey: "rk", logger: SILENT, ...options });
  made.push(client);
  return client;
}

afterEach(async () => {
  for (const client of made.splice(0)) {
    client.clearQueue();
    await client.destroy(1);
  }
});

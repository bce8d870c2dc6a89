/** The one client of a process. Its address and keys come from the environment, and stand in no file of yours. */

import { initTinyCDP } from "@tinycdp/sdk";

const { TINYCDP_URL, TINYCDP_WRITE_KEY, TINYCDP_READ_KEY } = process.env;

export const cdp = initTinyCDP({
  endpoint: TINYCDP_URL ?? "http://127.0.0.1:4000",
  writeKey: TINYCDP_WRITE_KEY,
  readKey: TINYCDP_READ_KEY,
  onError: ({ state, reason, messageId }) => console.error(`event ${messageId} is ${state}: ${reason}`),
});

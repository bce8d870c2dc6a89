/** What Node has and browsers lack. In the build for pages `page.ts` stands for this file, with the same names. */

import type { Logger } from "./logger";

/** This package, as the server is told; `package.json` has the same. */
const AGENT = "tinycdp-typescript/0.1.0";
/** The connection itself was refused: the server cannot have seen the request. */
const NOT_SENT = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"];
/** How long a process that ends by itself goes on to send what is queued. */
const EXIT_MS = 2_000;

const process: any = (globalThis as any).process;

/** Headers of each request. A browser, which names itself, would first ask the server whether they may be sent. */
export const ownHeaders: Record<string, string> = process?.versions?.node ? { "User-Agent": AGENT } : {};

/** Why a request failed, in a word that has nothing of its key. */
export const causeOf = (error: any): string => error?.cause?.code ?? error?.name;

/** Whether the server may have seen a request that failed for this cause. Browsers name no causes. */
export const mayHaveCome = (cause: string): boolean => !NOT_SENT.includes(cause);

/** Whether a process that has nothing to do but to wait for this timer waits for it, or ends. */
export const keepProcess = (timer: any, isKept: boolean): void => timer?.[isKept ? "ref" : "unref"]?.();

/**
 * Has what is queued sent before a process ends by itself, until the signal is given: once, since it would else go on as
 * long as it fails.
 */
export function sendAtExit(
  over: AbortSignal,
  queued: () => number,
  flush: (timeoutMs: number) => Promise<unknown>,
  logger: Logger,
): void {
  let isExiting = false;
  const send = async (): Promise<void> => {
    if (isExiting || !queued()) return;
    isExiting = true;
    await flush(EXIT_MS);
    if (queued()) logger.warn(`${queued()} events were not sent before the process ended`);
  };
  process?.on?.("beforeExit", send);
  over.onabort = () => process?.off?.("beforeExit", send);
}

/** Whom a client tells what becomes of events: `onError` of each that does not arrive, and the log. */

import { cut, type Verdict } from "./answers";
import type { Settings } from "./options";
import type { Entry } from "./outbox";

/** What becomes of an event as the app or the person wanted it: nobody is told of a loss. */
export const OPTED_OUT = "opted out";
export const BEFORE_SEND = "beforeSend";
export const isWanted = (reason: string): boolean => reason === OPTED_OUT || reason === BEFORE_SEND;
/** So many attempts that failed one after the other are worth a word in the log. */
const FAILURES_TOLD = 3;
/** Without `onError` the log says at most so often that events are lost. */
const LOSSES_TOLD_MS = 10_000;

export function lossesOf({ logger, onError }: Settings) {
  let isInTrouble = false;
  let losses = 0;
  let lastReason = "";
  let toldMs = -LOSSES_TOLD_MS;

  /** Tells `onError` of each that did not arrive; without it, the log, now and then. */
  function tell(entries: Entry[]): void {
    for (const { state, reason, messageId, body } of entries) {
      if (state === "sent" || isWanted(reason)) continue;
      if (onError) {
        void quietly(logger, "onError", () => onError({ state, reason, messageId, event: body || undefined }));
      } else {
        losses++;
        lastReason = reason;
      }
    }
    const nowMs = performance.now();
    if (!losses || nowMs - toldMs < LOSSES_TOLD_MS) return;
    logger.warn(`${losses} events do not arrive: ${lastReason} (see onError)`);
    losses = 0;
    toldMs = nowMs;
  }

  /** What the log says of an answer, after so many failures in a row: one warning for each outage. */
  function say({ fate, reason, warnings }: Verdict, failures: number): void {
    for (const warning of warnings) logger.warn(warning);
    const wasInTrouble = isInTrouble;
    isInTrouble = fate !== "stored" && (isInTrouble || fate === "held" || failures >= FAILURES_TOLD);
    if (isInTrouble && !wasInTrouble) logger.warn(`events wait: ${reason}`);
  }

  return { tell, say };
}

/** Calls back the app. What it throws, or rejects with, is logged, and breaks nothing of the client. */
export async function quietly(logger: Settings["logger"], name: string, act: () => unknown): Promise<void> {
  try {
    await act();
  } catch (error) {
    logger.error(`${name} threw ${cut((error as any)?.message ?? error)}`);
  }
}

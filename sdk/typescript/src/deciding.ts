/**
 * Decisions for callers: whom a call is about, what it waits for, and the default where nothing can be said.
 *
 *     decide → the event before it → what the change stream keeps → a fresh answer, or a request → the type of the default
 *
 * All of it within one deadline, which is taken when the call begins.
 */

import type { DecideAllParams, DecideParams } from "./calls";
import type { Asking, Decision, Request, Undecided } from "./decisions";
import { undecided } from "./decisions";
import type { Ids } from "./events";
import { idsIn, isNamed, namesOf } from "./events";
import { exchange } from "./http";
import { mismatch } from "./kinds";
import type { FlagStream, Settings } from "./options";

/**
 * Asks for decisions. `requireLife` throws after the client's end; `who` are the ids of whoever uses this browser, none
 * elsewhere; `hurry` sends the events of ids, and one of a `messageId`, ahead of others.
 */
export function decidingOf(
  settings: Settings,
  asking: Asking,
  requireLife: () => void,
  who: () => Ids,
  hurry: (names: string[]) => void,
  stream: FlagStream | undefined,
) {
  const { endpoint, readKey, fetch: fetcher, decideTimeout } = settings;

  /** The decisions about whom a call names, else about whoever uses this browser. Throws where there are none. */
  async function ask(params: DecideAllParams, flag?: string): Promise<Decision[]> {
    requireLife();
    const { after, timeout = decideTimeout } = params;
    const deadlineMs = performance.now() + timeout;
    const leftMs = (): number => deadlineMs - performance.now();
    if (!readKey) throw new Error("Read key is required for decide calls");
    const given = idsIn(params);
    const isOwn = !isNamed(given);
    const question = { ...(isOwn ? who() : given), flag };
    const names = namesOf(question);
    if (!names[0]) throw new Error("User ID is required and cannot be empty");
    let found: Decision[] | undefined;
    if (after) {
      hurry([...names, after.messageId]);
      if ((await after.wait(Math.max(leftMs(), 0))) !== "sent") throw undecided("the event was not acknowledged in time", "GENERAL", false);
      asking.drop(names); // the event may be of another id, whose answers alone it has dropped
    } else if (isOwn) {
      found = (await stream?.kept(leftMs()))?.filter((decision) => !flag || decision.flag === flag);
    }
    if (!found?.[0]) {
      const begun = asking.begin(question, performance.now(), deadlineMs);
      found = Array.isArray(begun) ? begun : await (begun.decided ??= decided(begun));
    }
    if (isOwn && `${namesOf(who())}` !== `${names}`) throw undecided("the identity was left meanwhile");
    return found;
  }

  async function decided(request: Request): Promise<Decision[]> {
    const { question, last, deadlineMs } = request;
    const body = JSON.stringify(question);
    const url = `${endpoint}/v1/decide${question.flag ? `?${new URLSearchParams(JSON.parse(body))}` : ""}`;
    const asked = { url, key: readKey, etag: last?.etag, body: question.flag ? undefined : body };
    return asking.answered(request, await exchange(fetcher, asked, deadlineMs - performance.now()), performance.now());
  }

  async function decide<T>(params: DecideParams<T>): Promise<Decision<T>> {
    const { flag, default: value } = params;
    let decision: Decision | undefined;
    try {
      if (!flag?.trim()) throw new Error("Flag key is required and cannot be empty");
      [decision] = await ask(params, flag);
      const wrong = mismatch(decision!.value, value);
      if (wrong) throw undecided(wrong, "TYPE_MISMATCH");
      return decision as Decision<T>;
    } catch (error) {
      if (!("default" in params)) throw error;
      const { message, code: errorCode = "GENERAL", afterMet = true } = error as Undecided;
      const userId = idsIn(params).userId ?? who().userId ?? "";
      // An answer of another type is told as it is, but for its value; and so is why the server has none.
      const said = decision ?? { flag, userId, allow: !!value, reasons: [], afterMet };
      return { error: message, errorCode, ...said, value: value as T, reason: "ERROR" };
    }
  }

  async function decideAll(params: DecideAllParams = {}): Promise<Record<string, Decision>> {
    const decisions = await ask(params).catch(() => []);
    return Object.fromEntries(decisions.map((decision) => [decision.flag, decision]));
  }

  return { decide, decideAll };
}

/** Who uses this browser: the anonymous id, the user, the session, and what the person said about being counted. */

import { randomId } from "./events";
import type { Store } from "./storage";

/** After so long without an event the next one begins a session. */
const SESSION_MS = 30 * 60_000;

const USER = "tinycdp.user";
const ANONYMOUS = "tinycdp.anonymous";
const SESSION = "tinycdp.session";
export const CONSENT = "tinycdp.consent";

export type Identity = ReturnType<typeof identityOf>;

/** The identity that a store keeps. It is read once: another tab's sign-in is not this tab's. */
export function identityOf(store: Store, isOptedOutAtFirst: boolean) {
  let userId = store.get(USER) ?? undefined;
  let anonymousId = store.get(ANONYMOUS) ?? undefined;

  function put(name: string, value: string | undefined): void {
    if (value === undefined) store.remove(name);
    else store.set(name, value);
  }

  /** The anonymous id, drawn at its first use. */
  function anonymous(): string {
    if (anonymousId === undefined) {
      anonymousId = store.get(ANONYMOUS) ?? randomId(); // another tab may have drawn it meanwhile
      if (!isOptedOut()) put(ANONYMOUS, anonymousId);
    }
    return anonymousId;
  }

  /** Takes a user's id; true if another user was there before, whose device this is no more. */
  function take(id: string): boolean {
    const isOther = userId !== undefined && userId !== id;
    if (isOther) clear();
    userId = id;
    if (!isOptedOut()) put(USER, id);
    return isOther;
  }

  function clear(): void {
    userId = anonymousId = undefined;
    for (const name of [USER, ANONYMOUS, SESSION]) store.remove(name);
  }

  /** The session of an event at this time. */
  function session(wallMs: number): string {
    const [id, lastMs] = (store.get(SESSION) ?? "").split(" ");
    const goesOn = id && wallMs - Number(lastMs) < SESSION_MS && wallMs >= Number(lastMs);
    const current = goesOn ? id : randomId();
    put(SESSION, `${current} ${wallMs}`);
    return current;
  }

  const isOptedOut = (): boolean => (store.get(CONSENT) ?? (isOptedOutAtFirst ? "out" : "in")) === "out";

  function consent(said: "in" | "out"): void {
    put(CONSENT, said);
    const isIn = said === "in";
    put(USER, isIn ? userId : undefined);
    put(ANONYMOUS, isIn ? anonymousId : undefined);
    put(SESSION, undefined);
  }

  return { anonymous, take, clear, session, isOptedOut, consent, user: () => userId };
}

/** What a page says of itself: its address, the campaign that led to it, language and time zone. */
export function pageContext(): Record<string, unknown> {
  const { href, pathname, search } = location;
  const campaign: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(search)) {
    if (name.startsWith("utm_")) campaign[name === "utm_campaign" ? "name" : name.slice(4)] = value;
  }
  return {
    page: { url: href, path: pathname, search, title: document.title, referrer: document.referrer },
    ...(Object.keys(campaign).length > 0 && { campaign }),
    locale: navigator.language,
    timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    userAgent: navigator.userAgent,
  };
}

/** Who uses this browser: the anonymous id, the user, the session, and what the person said about being counted. */

import type { Ids } from "./events";
import { randomId } from "./events";
import type { Store } from "./storage";

/** After so long without an event the next one begins a session. */
const SESSION_MS = 30 * 60_000;

const USER = "tinycdp.user";
const ANONYMOUS = "tinycdp.anonymous";
const SESSION = "tinycdp.session";
export const CONSENT = "tinycdp.consent";

export type Identity = ReturnType<typeof identityOf>;

/**
 * The identity that a store keeps, or this page alone where the store keeps nothing. Who it is is read once: another tab's
 * sign-in is not this tab's.
 */
export function identityOf(store: Store, isOptedOutAtFirst: boolean) {
  let userId = store.recall(USER);
  let anonymousId = store.recall(ANONYMOUS);
  let consented = isOptedOutAtFirst ? "out" : "in";
  let lastSession = "";

  /** Keeps a value; of a person who opted out nothing is kept. */
  function put(name: string, value?: string | null): void {
    if (value && !isOptedOut()) store.keep(name, value);
    else store.remove(name);
  }

  /** The anonymous id, drawn at its first use. */
  function anonymous(): string {
    if (!anonymousId) {
      anonymousId = store.recall(ANONYMOUS) ?? randomId(); // another tab may have drawn it meanwhile
      put(ANONYMOUS, anonymousId);
    }
    return anonymousId;
  }

  /** Takes a user's id; none is a sign-out. Where another user was there before, this is the device of that one no more. */
  function take(id?: string): void {
    if (userId || !id) {
      anonymousId = null;
      lastSession = "";
      put(ANONYMOUS);
      put(SESSION);
    }
    put(USER, (userId = id ?? null));
  }

  /** The session of an event at this time. */
  function session(wallMs: number): string {
    const [id, lastMs] = (store.recall(SESSION) ?? lastSession).split(" ");
    const sinceMs = wallMs - +lastMs!;
    const current = sinceMs >= 0 && sinceMs < SESSION_MS ? id! : randomId();
    put(SESSION, (lastSession = `${current} ${wallMs}`));
    return current;
  }

  const isOptedOut = (): boolean => (store.recall(CONSENT) ?? consented) === "out";

  function consent(said: "in" | "out"): void {
    store.remove(CONSENT); // a store that is full would keep what was said before: the ids make room first
    consented = said;
    put(USER, userId);
    put(ANONYMOUS, anonymousId);
    put(SESSION);
    store.keep(CONSENT, said);
  }

  const ids = (): Ids => ({ userId: userId ?? undefined, anonymousId: anonymous() });

  return { ids, take, session, isOptedOut, consent };
}

/** What a page says of itself: its address, the campaign that led to it, language and time zone. */
export function pageContext(): Record<string, unknown> {
  const { href, pathname, search } = location;
  let campaign: Record<string, string> | undefined;
  for (const [name, value] of new URLSearchParams(search)) {
    if (name.startsWith("utm_")) (campaign ??= {})[name === "utm_campaign" ? "name" : name.slice(4)] = value;
  }
  return {
    page: { url: href, path: pathname, search, title: document.title, referrer: document.referrer },
    campaign,
    locale: navigator.language,
    timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    userAgent: navigator.userAgent,
  };
}

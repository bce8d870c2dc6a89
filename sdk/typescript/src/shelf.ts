/**
 * The queue of a tab in the browser's storage, so that what is queued outlives the page.
 *
 * Each event is a record of its own, under the name of its tab. A tab holds a lock of its name, of the Web Locks API,
 * while it is open. Records whose tab holds no lock are taken over by the next tab that looks, which alone holds that
 * lock while it does. Without that API the records stand in the session's storage, which no other tab sees.
 */

import { bytesOf, namesOf, randomId } from "./events";
import type { Entry } from "./outbox";
import { isSettled, newEntry } from "./outbox";
import { windowStore } from "./storage";

export type Shelf = ReturnType<typeof shelfOf>;

/** A shelf for the events of one server. Where the browser keeps nothing, nothing is put on it. */
export function shelfOf(endpoint: string) {
  const locks: LockManager | undefined = navigator.locks;
  const store = windowStore(locks ? "localStorage" : "sessionStorage");
  const all = `tinycdp.queue.${endpoint} `;
  const tab = randomId();
  const own = `${all}${tab}.`;
  let number = 1e9; // ten digits, so that names sort as numbers do
  let isHeld = !locks;
  let letGo: (() => void) | undefined;

  /** Writes records of what is not settled, anew where they changed, with the time of an attempt under way. */
  function put(entries: Entry[], wallMs?: number): void {
    if (!isHeld) return;
    for (const entry of entries) {
      if (isSettled(entry)) continue;
      entry.place ??= `${own}${number++}`;
      const times = { firstMs: entry.firstMs ?? wallMs, lastMs: wallMs ?? entry.lastMs };
      if (!store.keep(entry.place, JSON.stringify([entry.body, times]))) {
        store.remove(entry.place);
        entry.place = undefined;
      }
    }
  }

  /** Removes the records of what is settled. */
  function remove(entries: Entry[]): void {
    for (const { place } of entries) if (place) store.remove(place);
  }

  /** Takes the tab's lock; then writes what waits, and hands over what tabs that are gone have left. */
  function hold(waiting: () => Entry[], give: (entries: Entry[]) => unknown): void {
    const begin = (): void => {
      isHeld = true;
      put(waiting().filter((entry) => !entry.place));
      void adopt(give);
    };
    if (!locks || isHeld) return begin();
    if (letGo) return; // it is asked for already
    let isOver = false;
    letGo = () => (isOver = true);
    void locks
      .request(tab, () => {
        if (isOver) return undefined;
        begin();
        return new Promise<void>((resolve) => (letGo = resolve));
      })
      .catch(() => {});
  }

  /** Writes what is not written yet and lets go of the lock: the next page takes the records over. */
  function release(waiting: Entry[]): void {
    isHeld = true;
    put(waiting.filter((entry) => !entry.place));
    isHeld = !locks;
    letGo?.();
    letGo = undefined;
  }

  /** Those that another tab took over while this one slept. */
  const gone = (waiting: Entry[]): Entry[] => waiting.filter(({ place }) => place && store.recall(place) === null);

  /** Hands over the records of tabs that are gone, each tab's by one only, and none to a page that is left meanwhile. */
  async function adopt(give: (entries: Entry[]) => unknown): Promise<void> {
    const tabs = new Set(store.names(all).map((name) => name.slice(all.length).split(".")[0]!));
    tabs.delete(tab);
    for (const left of tabs) {
      const take = (): void => {
        const names = store.names(`${all}${left}.`).sort();
        give(names.flatMap((name) => entriesIn(store.recall(name))));
        names.forEach(store.remove);
      };
      if (!locks) take();
      else await locks.request(left, { ifAvailable: true }, (lock) => lock && isHeld && take()).catch(() => {});
    }
  }

  /** Removes every record, of every tab. */
  const clear = (): void => store.names(all).forEach(store.remove);

  /** Lets one tab send at a time. */
  async function alone<T>(act: () => Promise<T>): Promise<T> {
    return locks && isHeld ? locks.request(`${all}send`, act) : act();
  }

  return { put, remove, hold, release, gone, clear, alone };
}

/** The entry that a record has; none of what is no record. */
function entriesIn(record: string | null): Entry[] {
  try {
    const [body, times] = JSON.parse(record ?? "");
    const event = JSON.parse(body);
    return [{ ...newEntry(), body, bytes: bytesOf(body), messageId: String(event.messageId), names: namesOf(event), ...times }];
  } catch {
    return [];
  }
}

/** What a browser keeps between pages. Nothing here throws: a store that is blocked or full keeps nothing. */

/** A store of texts by name. */
export type Store = ReturnType<typeof windowStore>;

/** One of the window's stores; without a kind, or where the browser refuses it to this page, one that keeps nothing. */
export function windowStore(kind?: "localStorage" | "sessionStorage") {
  const storage = quietly(() => window[kind!], null)!;
  return {
    recall: (name: string) => quietly(() => storage.getItem(name), null),
    /** Whether it was kept. */
    keep: (name: string, value: string) => quietly(() => (storage.setItem(name, value), true), false),
    remove: (name: string) => quietly(() => storage.removeItem(name), undefined),
    /** The names that begin so. */
    names: (prefix: string) => quietly(() => Object.keys(storage).filter((name) => name.startsWith(prefix)), []),
  };
}

function quietly<T>(act: () => T, otherwise: T): T {
  try {
    return act();
  } catch {
    return otherwise;
  }
}

/** What a browser keeps between pages; memory where it keeps nothing. Nothing here throws. */

/** A store of texts by name. */
export interface Store {
  get(name: string): string | null;
  /** Whether it was kept: a store may be full. */
  set(name: string, value: string): boolean;
  remove(name: string): void;
}

/** A store that can be looked through. */
export interface ListedStore extends Store {
  /** The names that begin so. */
  names(prefix: string): string[];
}

/** A store in memory, which ends with the page. */
export function memoryStore(): Store {
  const kept = new Map<string, string>();
  return {
    get: (name) => kept.get(name) ?? null,
    set: (name, value) => !!kept.set(name, value),
    remove: (name) => void kept.delete(name),
  };
}

/** One of the window's stores; undefined where the browser has none, or refuses it to this page. */
export function windowStore(kind: "localStorage" | "sessionStorage"): ListedStore | undefined {
  const storage = quietly(() => window[kind], null);
  return storage
    ? {
        get: (name) => quietly(() => storage.getItem(name), null),
        set: (name, value) => quietly(() => (storage.setItem(name, value), true), false),
        remove: (name) => quietly(() => storage.removeItem(name), undefined),
        names: (prefix) => quietly(() => Object.keys(storage).filter((name) => name.startsWith(prefix)), []),
      }
    : undefined;
}

function quietly<T>(act: () => T, otherwise: T): T {
  try {
    return act();
  } catch {
    return otherwise;
  }
}

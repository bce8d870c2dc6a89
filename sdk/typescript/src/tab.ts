/** What a page is just now. Where there is no page, nothing of it is so. */

const place: Partial<typeof globalThis> = globalThis;

export const isPage = (): boolean => !!place.document;
export const isHidden = (): boolean => !!place.document?.hidden;
/** What is sent would not arrive, and would only look as if it may have. */
export const isOffline = (): boolean => place.navigator?.onLine === false;

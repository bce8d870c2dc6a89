/** What stands for `node.ts` in the build for pages, which load nothing that is Node's alone. */

export const mayHaveCome = (): boolean => true;
export const ownHeaders = {};
export const causeOf = (error: any): string => error?.name;
export const keepProcess = (): void => {};
export const sendAtExit = keepProcess;

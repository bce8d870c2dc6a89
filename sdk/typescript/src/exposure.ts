/** Which decisions are part of an experiment. */

import type { Decision } from "./decisions";

/**
 * Whether somebody who was shown a decision was exposed to its variant: the flag's own steps gave it. An answer that stands
 * for one does not count: the default of flag or caller (DEFAULT, DISABLED, STALE, ERROR), and the last one, of which nobody
 * can say any more what it was (CACHED).
 */
export const isExposure = ({ reason }: Pick<Decision, "reason">): boolean => /^(STATIC|TARGETING_MATCH|SPLIT)$/.test(reason);

/** Timers, and the numbers that calls and options give. */

/** A timer of more goes off at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Acts after so long: at once where that is past or no number, and after 24 days where no timer lasts as long. */
export const later = (act: () => void, ms: number): ReturnType<typeof setTimeout> =>
  setTimeout(act, ms > 0 ? Math.min(ms, TIMER_MS_MAX) : 0);

/** Throws an error that names a number which cannot work: a text, NaN, one without an end, or less than the least. */
export function requireNumber(name: string, given: unknown, least: number): void {
  if (!(Number.isFinite(given) && (given as number) >= least)) {
    throw new Error(`TinyCDP: ${name}: ${given} is not accepted; give a number, at least ${least}`);
  }
}

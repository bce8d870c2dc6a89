/**
 * The types of flags' values, as OpenFeature has them: boolean, string, number and object, where a list is one too.
 * `tests/conformance/clients/types.json` holds the cases.
 */

/** What is wrong with a value of another type than the caller's default; undefined where it suits, or there is no default. */
export function mismatch(value: unknown, standard: unknown): string | undefined {
  const found = value === null ? value : typeof value;
  const wanted = typeof standard;
  return standard == null || found === wanted ? undefined : `the value is ${found}, not ${wanted}`;
}

import { OptionError } from './errors.js';

/** Throws an {@link OptionError} unless the value passes. */
export function check(
  option: string,
  value: unknown,
  passes: (value: unknown) => boolean,
  takes: string,
): void {
  if (!passes(value)) throw new OptionError(option, value, takes);
}

/** What a lifetime may be: browsers keep no cookie longer than 400 days, and no record should outlive its users. */
export const SECONDS = 'a number of seconds over 0, up to ten years';

export function isSeconds(value: unknown): boolean {
  return isPositive(value) && (value as number) <= 315_360_000;
}

export function isPositive(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value > 0;
}

/** A name of a cookie or a header: a token of RFC 9110, 5.6.2. */
export function isToken(value: unknown): boolean {
  return typeof value === 'string' && /^[\w!#$%&'*+\-.^`|~]{1,256}$/.test(value);
}

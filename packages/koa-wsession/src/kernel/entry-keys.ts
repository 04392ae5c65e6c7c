/*
 * Besides the user's keys, a session has entries of the core and of its features. They are merged, carried and expired
 * like any other; only their keys differ, by a NUL in front. A user's key that begins with a NUL gets a second one.
 */

/** This session's own lifetime, from `ctx.session.maxAge`. */
export const MAX_AGE_KEY: string = '\0maxAge';

/** When the visitor logged in or confirmed it; `absoluteTimeout` counts from here where it is set. */
export const AUTHENTICATED_KEY: string = '\0authenticated';

/** Of a session that took another one's place: the key of that one, which may be alive for a moment more. */
export const FORMER_KEY: string = '\0former';

export function toEntryKey(key: string): string {
  return key.startsWith('\0') ? `\0${key}` : key;
}

export function isUserKey(entryKey: string): boolean {
  return !entryKey.startsWith('\0') || entryKey.startsWith('\0\0');
}

/** The key as errors show it: a user's key as the user wrote it, or the name of one of ours, up to a further NUL. */
export function toUserKey(entryKey: string): string {
  if (!entryKey.startsWith('\0')) return entryKey;
  const name = entryKey.slice(1);
  return isUserKey(entryKey) ? name : (name.split('\0', 1)[0] as string);
}

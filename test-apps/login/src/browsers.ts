/** In this order: Edge says that it is Chrome, and Chrome that it is Safari. */
const BROWSERS = [
  ['Edg', 'Edge'],
  ['Firefox', 'Firefox'],
  ['Chrome', 'Chrome'],
  ['Safari', 'Safari'],
] as const;
const SYSTEMS = [
  ['Android', 'Android'],
  ['iPhone', 'iPhone'],
  ['iPad', 'iPad'],
  ['Windows', 'Windows'],
  ['Mac OS', 'macOS'],
  ['Linux', 'Linux'],
] as const;

/** What people know a device by, such as "Firefox on Linux". */
export function nameOfBrowser(userAgent: string): string {
  const nameIn = (names: ReadonlyArray<readonly [string, string]>) =>
    names.find(([part]) => userAgent.includes(part))?.[1];
  const browser = nameIn(BROWSERS) ?? 'A browser';
  const system = nameIn(SYSTEMS);
  return system === undefined ? browser : `${browser} on ${system}`;
}

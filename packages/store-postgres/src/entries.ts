import type { Absent, Entries, SessionRecord } from 'koa-wsession/store';
import type { Row } from './run.js';

/** Postgres holds every character but NUL, so NUL is escaped (as ␀0), and so is the character that escapes it (as ␀1). */
export const toText = (text: string): string =>
  text.includes('\0') || text.includes('␀') ? text.replaceAll('␀', '␀1').replaceAll('\0', '␀0') : text;
/** Takes back what {@link toText} did. */
export const fromText = (text: string): string =>
  text.includes('␀') ? text.replaceAll('␀0', '\0').replaceAll('␀1', '␀') : text;

/** The JSON object of these entries; `null` for a key that isn't there. */
export function toJson(entries: ReadonlyMap<string, string | undefined>): string {
  const pairs = Array.from(entries, ([key, value]) => [toText(key), value === undefined ? null : toText(value)]);
  return JSON.stringify(Object.fromEntries(pairs));
}

/** The entries of a JSON object; `null` there is `undefined`. */
export function fromJson(json: string): Map<string, string | undefined> {
  const pairs = Object.entries<string | null>(JSON.parse(json));
  return new Map(pairs.map(([key, value]) => [fromText(key), value === null ? undefined : fromText(value)]));
}

/** The record in a row that the statements return: state, mark, entries, instants and revision. */
export function toRecord([, , json, ...numbers]: Row): SessionRecord {
  const [createdAt, updatedAt, expiresAt, revision] = numbers.map(Number) as [number, number, number, number];
  return { entries: fromJson(json as string) as Entries, createdAt, updatedAt, expiresAt, revision };
}

/** What such a row says where it is no live record. */
export function toAbsent(row: Row | undefined): Absent {
  if (row?.[0] === 'replaced') return { by: row[1] as string, until: Number(row[5]) };
  return row?.[0] as 'expired' | 'corrupt' | undefined;
}

import type { Changes, Entries, Replacement, SessionRecord } from 'koa-wsession/store';
import { ReplyError } from './errors.js';

/* A record as the fields of a hash (see scripts.ts), and back. */

/** Entries as fields and values. A user's key is behind a `:`, and so none of the store's own fields. */
export function toFields(entries: Entries): string[] {
  const fields: string[] = [];
  for (const [key, value] of entries) fields.push(`:${key}`, value);
  return fields;
}

/** Changes as the script takes them: what is expected, and what is to change. */
export function toOperations({ set, delete: deleted, expect }: Changes): string[] {
  const operations = toFields(set);
  for (const key of deleted) operations.push(`-${key}`, '');
  for (const [key, value] of expect ?? []) operations.push(`?${key}`, value === undefined ? '' : `=${value}`);
  return operations;
}

/** The record or the mark that a hash holds; `undefined` where it is neither. */
export function toRecord(list: ReadonlyArray<string | null>): SessionRecord | Replacement | undefined {
  const entries = new Map<string, string>();
  let [createdAt, updatedAt, expiresAt, revision] = [Number.NaN, Number.NaN, Number.NaN, Number.NaN];
  let by: string | undefined;
  for (let i = 0; i < list.length; i += 2) {
    const [field, value] = [list[i], list[i + 1]];
    if (typeof field !== 'string' || typeof value !== 'string') throw new ReplyError();
    if (field.startsWith(':')) entries.set(field.slice(1), value);
    else if (field === 'c') createdAt = toNumber(value);
    else if (field === 'u') updatedAt = toNumber(value);
    else if (field === 'e') expiresAt = toNumber(value);
    else if (field === 'r') revision = toNumber(value);
    else if (field === 'b') by = value;
  }
  if (by !== undefined && !Number.isNaN(expiresAt)) return { by, until: expiresAt };
  const isWhole = !Number.isNaN(createdAt + updatedAt + expiresAt + revision);
  return isWhole ? { entries, createdAt, updatedAt, expiresAt, revision } : undefined;
}

/** What the scripts take for a number, too; otherwise NaN. */
function toNumber(text: string): number {
  return /^[\d.e+-]+$/.test(text) ? Number(text) : Number.NaN;
}

/** A list as a script sends it, as JSON or not; `null` for values that aren't there. */
export function toList(reply: unknown): Array<string | null> {
  let list = reply;
  try {
    if (typeof reply === 'string') list = JSON.parse(reply);
  } catch {} // not JSON
  const isItem = (item: unknown): boolean => typeof item === 'string' || item === null;
  if (!Array.isArray(list) || !list.every(isItem)) throw new ReplyError();
  return list;
}

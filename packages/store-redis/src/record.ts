import type { Entries, Replacement, SessionRecord } from 'koa-wsession/store';
import { ReplyError } from './errors.js';

/* A record as the fields of a hash (see scripts.ts), and back. */

/** A user's key behind a `:`, and so none of the store's own fields. */
export function toField(key: string): string {
  return `:${key}`;
}

/** Entries as a flat list of fields and values. */
export function toFields(entries: Entries): string[] {
  const fields: string[] = [];
  for (const [key, value] of entries) fields.push(toField(key), value);
  return fields;
}

/** Expected entries as the scripts take them: a field, then `=` and its value, or nothing where it isn't there. */
export function toExpected(expect: ReadonlyMap<string, string | undefined>): string[] {
  return Array.from(expect, ([key, value]) => [toField(key), value === undefined ? '' : `=${value}`]).flat();
}

/** The record or the mark that a hash holds; `undefined` where it is neither. */
export function toRecord(reply: unknown): SessionRecord | Replacement | undefined {
  const list = toList(reply);
  const entries = new Map<string, string>();
  const own = new Map<string, string>();
  for (let i = 0; i < list.length; i += 2) {
    const [field, value] = [list[i], list[i + 1]];
    if (typeof field !== 'string' || typeof value !== 'string') throw new ReplyError();
    if (field.startsWith(':')) entries.set(field.slice(1), value);
    else own.set(field, value);
  }
  /** What the scripts take for a number, too; otherwise NaN. */
  const number = (field: string): number => {
    const text = own.get(field) ?? '';
    return /^[\d.e+-]+$/.test(text) ? Number(text) : Number.NaN;
  };
  const [createdAt, updatedAt, expiresAt, revision] = [number('c'), number('u'), number('e'), number('r')];
  const by = own.get('b');
  if (by !== undefined && !Number.isNaN(expiresAt)) return { by, until: expiresAt };
  const isWhole = !Number.isNaN(createdAt + updatedAt + expiresAt + revision);
  return isWhole ? { entries, createdAt, updatedAt, expiresAt, revision } : undefined;
}

/** A flat list; `null` for values that aren't there. */
export function toList(reply: unknown): Array<string | null> {
  const isItem = (item: unknown): boolean => typeof item === 'string' || item === null;
  if (!Array.isArray(reply) || !reply.every(isItem)) throw new ReplyError();
  return reply;
}

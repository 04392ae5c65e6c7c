import { randomBytes } from 'node:crypto';
import type { Absent, Changes, DestroyCall, Destroyed, Entries, SessionRecord } from 'koa-wsession/store';

/* What the tests of a store call it with, without the core. */

export const HOUR = 3_600_000;

export function call(timeout = 5000): DestroyCall {
  return { name: 'test', deadline: performance.now() + timeout };
}

/** A key as the core makes them. */
export function address(): string {
  return randomBytes(32).toString('base64url');
}

export function recordOf(entries: Record<string, string> = {}, expiresAt: number = Date.now() + HOUR): SessionRecord {
  const now = Date.now();
  return { entries: new Map(Object.entries(entries)), createdAt: now, updatedAt: now, expiresAt, revision: 1 };
}

export function changesOf(set: Record<string, string>, more: Partial<Changes> = {}): Changes {
  const now = Date.now();
  return { set: new Map(Object.entries(set)), delete: [], updatedAt: now, expiresAt: now + HOUR, ...more };
}

/** The entries of what `load` or `destroy` returned; `undefined` where it is no record. */
export function contentOf(found: SessionRecord | Absent | Destroyed): Record<string, string> | undefined {
  if (typeof found !== 'object') return undefined;
  const record: object = 'record' in found ? found.record : found;
  return 'entries' in record ? Object.fromEntries(record.entries as Entries) : undefined;
}

/** The error that a promise rejects with. */
export function rejection(promise: unknown): Promise<Error> {
  return Promise.resolve(promise).then(
    () => {
      throw new Error('It was expected to fail.');
    },
    (error) => error,
  );
}

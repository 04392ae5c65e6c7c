import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { OptionError } from '../errors.js';
import type { SessionObject } from '../kernel/session-object.js';
import { DELETED } from '../kernel/update.js';

/*
 * Each message is an entry of its own, so that parallel requests leave theirs side by side: `\0flash:`, the key, a NUL,
 * and when it was left, so that their order is that of their keys.
 */

const PREFIX = '\0flash:';

export function isFlashKey(entryKey: string): boolean {
  return entryKey.startsWith(PREFIX);
}

let count = 0;

/** Leaves a message. */
export function flash({ lifecycle }: SessionObject, key: string, message: unknown): void {
  assertKey(key);
  if (message === undefined)
    throw new OptionError('message of flash()', message, 'a value; takeFlash(key) takes the messages');
  const order = Date.now().toString(36).padStart(9, '0') + (count++ % 36 ** 4).toString(36).padStart(4, '0');
  lifecycle.writable.set(`${PREFIX}${key}\0${order}${randomBytes(6).toString('base64url')}`, message);
}

/** Takes all messages that were left under a key, in order. A request that shows no page gets them without taking them. */
export async function takeFlash({ lifecycle, scope }: SessionObject, key: string): Promise<unknown[]> {
  assertKey(key);
  const { tracker } = lifecycle;
  const keys = tracker
    .keys()
    .filter((entryKey) => entryKey.startsWith(`${PREFIX}${key}\0`))
    .sort();
  if (keys.length === 0) return [];
  if (isPeek(scope.req)) return keys.map((entryKey) => tracker.get(entryKey));
  let messages: unknown[] = [];
  await lifecycle.update(keys, (values) => {
    messages = values.filter((value) => value !== undefined); // others were taken meanwhile
    return values.map(() => DELETED);
  });
  return messages;
}

function assertKey(key: unknown): void {
  if (typeof key !== 'string' || key.includes('\0'))
    throw new OptionError('key of flash()', key, 'a string without NUL');
}

/** HEAD and prefetch requests show nothing to the visitor (Fetch Metadata, `Sec-Purpose`). */
function isPeek({ method, headers }: IncomingMessage): boolean {
  return method === 'HEAD' || /^prefetch\b/.test(String(headers['sec-purpose'] ?? headers.purpose ?? ''));
}

import type { Awaitable } from '../store/store.js';
import { assertKey } from './change-tracker.js';
import { type EncodeOptions, encode } from './codec.js';
import { applyTo, NO_CHANGES } from './entry-changes.js';
import { toUserKey } from './entry-keys.js';
import type { SessionState } from './session-state.js';
import type { SessionWriter } from './session-writer.js';

/** From the values of entries to their new ones. */
export type Change = (values: unknown[]) => Awaitable<unknown[]>;

/** The new value of an entry that is to be deleted. */
export const DELETED: unique symbol = Symbol('deleted');

/**
 * One attempt to change entries by compare and set, together with whatever else is to be stored. Returns whether it
 * succeeded; if not, the state has the actual values.
 *
 * `change` gets copies, so that a change in place that comes to nothing leaves no trace.
 */
export async function tryUpdate(
  { state, writer, encoding }: { state: SessionState; writer: SessionWriter; encoding: EncodeOptions },
  keys: readonly string[],
  change: Change,
): Promise<boolean> {
  const { tracker } = state;
  for (const key of keys) assertKey(key);
  const before = new Map(keys.map((key) => [key, tracker.text(key)]));
  const values = await change(keys.map((key) => tracker.decode(before.get(key))));

  const pending = tracker.changes() ?? NO_CHANGES;
  const set = new Map(pending.set);
  const removed = new Set(pending.delete);
  for (const [index, key] of keys.entries()) {
    set.delete(key);
    removed.delete(key);
    if (values[index] === DELETED) removed.add(key);
    else set.set(key, encode(values[index], toUserKey(key), encoding));
  }
  const changes = { set, delete: [...removed] };

  if (state.loaded) {
    // What this request assigned to a key is what it goes on from, whatever others did to the key.
    const expect = new Map([...before].filter(([key, text]) => text === tracker.stored.get(key)));
    const actual = await writer.update(state, state.loaded, changes, expect);
    for (const [key, text] of actual ?? []) tracker.refresh(key, text, before.get(key));
    if (actual) return false;
  } else if (set.size > 0) {
    await writer.create(state, applyTo(tracker.stored, changes));
  }
  for (const key of keys) tracker.refresh(key, set.get(key), before.get(key));
  return true;
}

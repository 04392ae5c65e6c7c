import { Loaded, type TokenStore } from '../kernel/token-store.js';
import { isRecord, isReplacement } from '../store/record.js';
import type { Entries } from '../store/store.js';
import { bindingOf, hashOf, offerOf } from './device-binding.js';

/*
 * Finds sessions without their cookie: where a link on another site led to the page, Chromium sends its own requests
 * without cookies that are SameSite. The index knows each session by the id that the browser has for its binding, from
 * the login on.
 */

/** The groups, in the store's index, of a session with these entries. */
export function groupsOfDevice(name: string, entries: Entries): string[] {
  const { id } = bindingOf(entries) ?? offerOf(entries) ?? {};
  return id === undefined ? [] : [hashOf(name, id)];
}

/** The session of an id. */
export async function findByDevice(tokens: TokenStore, id: string): Promise<Loaded | undefined> {
  const group = hashOf(tokens.options.name, id);
  const keys = await tokens.call('load', group, (call) => tokens.store.index?.keys(group, call));
  for (const key of keys ?? []) {
    const loaded = await load(tokens, key);
    if (loaded) return loaded;
  }
  return undefined;
}

/** The session under a key, or the one that took its place: the device is proved by its key, and not by the session id. */
export async function load(tokens: TokenStore, key: string): Promise<Loaded | undefined> {
  for (let at = key; at !== ''; ) {
    const found = await tokens.load(at);
    if (isRecord(found)) return new Loaded(at, '', found, found.entries);
    at = isReplacement(found) ? found.by : '';
  }
  return undefined;
}

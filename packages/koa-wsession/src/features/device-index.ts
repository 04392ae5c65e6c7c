import { addressOf } from '../kernel/token.js';
import { type Found, Loaded, type TokenStore } from '../kernel/token-store.js';
import { StoreDecorator } from '../store/decorator.js';
import { isRecord, isReplacement } from '../store/record.js';
import type { Call, Created, SessionIndex, SessionRecord, Store } from '../store/store.js';
import { BINDING_KEY, type Binding, type Challenge, OFFER_KEY, readEntry } from './device-binding.js';

/*
 * Finds sessions without their cookie: where a link on another site led to the page, Chromium sends its own requests
 * without cookies that are SameSite. The handle is the hash of the login's challenge, then the binding's id.
 */

/** A store that puts each record that is created into the groups of its handles. */
export function handled(store: Store, index: SessionIndex): Store {
  return new HandledStore(store, index);
}

class HandledStore extends StoreDecorator {
  override readonly index: SessionIndex;

  constructor(store: Store, index: SessionIndex) {
    super(store);
    this.index = index;
  }

  override async create(key: string, record: SessionRecord, call: Call): Promise<Created> {
    const offer = readEntry<Challenge>(record.entries.get(OFFER_KEY));
    const binding = readEntry<Binding>(record.entries.get(BINDING_KEY));
    if (offer) await this.index.add(groupOf(call.name, offer.hash), key, offer.until, call);
    if (binding) await this.index.add(groupOf(call.name, binding.id), key, listedUntil(record, this.expire), call);
    return this.store.create(key, record, call);
  }
}

/** Puts a session into the group of its binding, for as long as it may live until the next proof. */
export async function addHandle(tokens: TokenStore, { id }: Binding, loaded: Loaded): Promise<void> {
  const group = groupOf(tokens.options.name, id);
  const until = listedUntil(loaded, tokens.store.expire);
  await tokens.call('save', group, (call) => tokens.store.index?.add(group, loaded.key, until, call));
}

/** The session of a handle. */
export async function findByHandle(tokens: TokenStore, handle: string): Promise<Loaded | undefined> {
  const group = groupOf(tokens.options.name, handle);
  const keys = await tokens.call('load', group, (call) => tokens.store.index?.keys(group, call));
  for (const key of keys ?? []) {
    const found = await follow(tokens, await load(tokens, key));
    if (found) return found;
  }
  return undefined;
}

/** The session itself, or the one that took its place meanwhile: the key, and not the id, is what proves the device. */
export async function follow(tokens: TokenStore, found: Found): Promise<Loaded | undefined> {
  if (!found || found instanceof Loaded) return found;
  const next = found.by === '' ? undefined : await load(tokens, found.by);
  return next instanceof Loaded ? next : undefined;
}

/** What is under a key. */
export async function load(tokens: TokenStore, key: string): Promise<Found> {
  const there = await tokens.load(key);
  if (isRecord(there)) return new Loaded(key, '', there, there.entries);
  return isReplacement(there) ? there : undefined;
}

function groupOf(name: string, handle: string): string {
  return addressOf(name, `device:${handle}`);
}

/** Changes renew the session between two proofs. */
function listedUntil({ expiresAt }: Pick<SessionRecord, 'expiresAt'>, expire: number): number {
  return 2 * Math.max(expiresAt, Date.now() + expire * 1000) - Date.now();
}

import { setTimeout as delay } from 'node:timers/promises';
import { UnsupportedError } from '../errors.js';
import { decode } from '../kernel/codec.js';
import { AUTHENTICATED_KEY, FORMER_KEY } from '../kernel/entries.js';
import { endOf } from '../kernel/lifetime.js';
import type { TokenStore } from '../kernel/token-store.js';
import { checkOption, checkOptionNames } from '../store/options.js';
import { isRecord, isReplacement } from '../store/record.js';
import type { Absent, SessionRecord } from '../store/store.js';
import { BINDING_KEY } from './device-binding.js';
import { type Finder, groupOf, OWNER_KEY, SID_KEY } from './owner-index.js';

/** What the app calls an owner's session, an encoded string. */
export const LABEL_KEY: string = '\0label';

/** One of an owner's sessions, as for a list of devices. */
export interface OwnedSession {
  /** A public reference that doesn't reveal the session id; `revoke` takes it as `only`. */
  readonly ref: string;
  readonly createdAt: Date;
  /** When it was changed, or renewed, last. */
  readonly updatedAt: Date;
  readonly expiresAt: Date;
  /** When its owner logged in, or confirmed it. */
  readonly authenticatedAt: Date | undefined;
  /** Whether it is the session that `list` was given. */
  readonly current: boolean;
  /** A label, such as the browser's name. */
  readonly label: string | undefined;
  /** Whether it is bound to the browser's device. */
  readonly deviceBound: boolean;
}

/** Which sessions `revoke` ends, of one owner's; without these, all. */
export interface Selection {
  /** The key of the one that stays. */
  readonly except?: string | undefined;
  /** The ref of the only one that ends. */
  readonly only?: string | undefined;
}

/** An owner as apps name it: a string or a number, which counts as a string. */
export type Owner = string | number;

/** The identity provider's name of a session, as `logIn` was given it. */
export interface SidFinder {
  readonly sid: string;
}

/** What sessions to look for. */
function finderOf(of: Owner | SidFinder): Finder {
  if (typeof of !== 'object' || of === null) return { key: OWNER_KEY, text: encodeOwner(of) };
  checkOptionNames('revoke()', of, ['sid']);
  return { key: SID_KEY, text: encodeSid(of.sid) };
}

/** The sid as it is stored. */
export function encodeSid(sid: unknown): string {
  checkOption('sid', sid, isName, 'a string that is not empty');
  return JSON.stringify(sid);
}

/** The owner as it is stored. */
export function encodeOwner(owner: unknown): string {
  const isOwner = isName(owner) || Number.isFinite(owner);
  checkOption('owner', owner, () => isOwner, 'a string that is not empty, or a number');
  return JSON.stringify(String(owner));
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && value !== '' && value.isWellFormed();
}

/** How many sessions are loaded at a time. */
const BATCH = 64;

/** The sessions of owners, over all requests. */
export class Owners {
  readonly tokens: TokenStore;

  constructor(tokens: TokenStore) {
    this.tokens = tokens;
  }

  /** The owner's live sessions, newest first. */
  async list(owner: Owner, current: string | undefined): Promise<OwnedSession[]> {
    const found = await this.live(encodeOwner(owner));
    return [...found]
      .map(([key, record]) => toOwnedSession(key, record, current))
      .sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime());
  }

  /** The owner's live sessions by key. A session that was replaced meanwhile is listed under its new key. */
  async live(owner: string): Promise<Map<string, SessionRecord>> {
    const live = new Map<string, SessionRecord>();
    const keys = new Set(await this.#keys({ key: OWNER_KEY, text: owner }));
    for await (const { key, record } of this.#loadAll(keys)) {
      if (isReplacement(record)) keys.add(record.by);
      else if (this.#isLive(record, owner)) live.set(key, record);
    }
    return live;
  }

  /** Ends the sessions of an owner, or of a provider's session, finally. Returns how many. */
  async revoke(of: Owner | SidFinder, { except, only }: Selection): Promise<number> {
    const finder = finderOf(of);
    const isAll = except === undefined && only === undefined;
    if (isAll && (await this.#revokeUntilNow(this.#groupOf(finder)))) return 0;
    const kept: Set<string> = new Set(except === undefined ? [] : [except]);
    const ended = new Set<string>();
    for (let before = '', looks = 0; ; ) {
      // The session that stays may go on under another id meanwhile.
      for await (const { record } of this.#loadAll(kept)) if (isReplacement(record)) kept.add(record.by);
      const keys = (await this.#keys(finder)).filter(
        (key) => (only ?? key) === key && !kept.has(key) && !ended.has(key),
      );
      // Two looks at which nothing changes: a session that is regenerated now goes on under an id that is in the index
      // before its record is stored, and its record is stored before the old one ends.
      const state = `${ended.size} ${keys.sort().join()}`;
      looks = state === before ? looks + 1 : 0;
      if (looks === 2 || keys.length === 0) return ended.size;
      before = state;
      for await (const { key, record } of this.#loadAll(new Set(keys))) {
        if (!isRecord(record) || record.entries.get(finder.key) !== finder.text) continue;
        const former = readString(record.entries.get(FORMER_KEY));
        if (former !== undefined && kept.has(former)) kept.add(key);
        else if (await this.end(key)) ended.add(key);
      }
    }
  }

  /** Ends every session that was created before now, or in the future: by a clock that is ahead. Returns how many. */
  async revokeAll(): Promise<number> {
    if (await this.#revokeUntilNow(undefined)) return 0;
    const before = Date.now();
    let ended = 0;
    // Found by the first pass alone, since a clock that is ahead may go on creating sessions.
    const ahead = new Set<number>();
    // One that is regenerated meanwhile keeps its age, and may escape a pass.
    for (let quiet = 0, isFirst = true; quiet < 2; isFirst = false) {
      const endedBefore = ended;
      for await (const key of this.#scan()) {
        const record = await this.tokens.load(key);
        if (!isRecord(record)) continue;
        const { createdAt } = record;
        if (isFirst && createdAt > Date.now()) ahead.add(createdAt);
        if ((createdAt <= before || ahead.has(createdAt)) && (await this.end(key))) ended++;
      }
      quiet = ended === endedBefore ? quiet + 1 : 0;
    }
    return ended;
  }

  /** With a store that can't list its sessions, but can refuse them. Returns whether it is one. */
  async #revokeUntilNow(group: string | undefined): Promise<boolean> {
    const { store, options } = this.tokens;
    if (!store.revokeUntil) return false;
    const now = Date.now();
    await this.tokens.call('save', group ?? options.name, (call) => store.revokeUntil?.(group, now, call));
    // A login from here on is to be later than that. (A test may have stopped the clock.)
    for (let tries = 0; Date.now() <= now && tries < 5; tries++) await delay(1);
    return true;
  }

  /** The keys of all sessions. Each batch has the time of a call. */
  async *#scan(): AsyncIterable<string> {
    const { store, options } = this.tokens;
    if (!store.scan) throw new UnsupportedError('Ending all sessions', 'use one that keeps them on the server.');
    const { name, timeout } = options;
    const batches = store.scan(() => ({ name, deadline: performance.now() + timeout }))[Symbol.asyncIterator]();
    for (;;) {
      const { done, value } = await this.tokens.call('load', name, () => batches.next());
      if (done) return;
      yield* value;
    }
  }

  /** Ends one session. Returns whether it was there. */
  async end(key: string): Promise<boolean> {
    const isEnded = (await this.tokens.destroy(key)).outcome === 'destroyed';
    if (isEnded) this.tokens.publish('destroyed', key);
    return isEnded;
  }

  async #keys(finder: Finder): Promise<readonly string[]> {
    const { index } = this.tokens.store;
    if (!index)
      throw new UnsupportedError(
        "Listing an owner's sessions",
        'use one that keeps them on the server, such as files or Redis.',
      );
    const group = this.#groupOf(finder);
    return this.tokens.call('load', group, (call) => index.keys(group, call));
  }

  #groupOf(finder: Finder): string {
    return groupOf(this.tokens.options.name, finder);
  }

  #isLive(record: SessionRecord | Absent, owner: string): record is SessionRecord {
    if (!isRecord(record) || record.entries.get(OWNER_KEY) !== owner) return false;
    return Date.now() < endOf(record.entries, record.createdAt, this.tokens.options.absoluteTimeout);
  }

  /** What is under these keys, and under those that are added meanwhile. A few at a time: an owner may have very many. */
  async *#loadAll(keys: ReadonlySet<string>): AsyncIterable<{ key: string; record: SessionRecord | Absent }> {
    for (let at = 0; at < keys.size; ) {
      const batch = [...keys].slice(at, at + BATCH);
      const records = await Promise.all(batch.map((key) => this.tokens.load(key)));
      for (const [i, key] of batch.entries()) yield { key, record: records[i] };
      at += batch.length;
    }
  }
}

function toOwnedSession(key: string, record: SessionRecord, current: string | undefined): OwnedSession {
  const { entries, createdAt, updatedAt, expiresAt } = record;
  return {
    ref: key,
    createdAt: new Date(createdAt),
    updatedAt: new Date(updatedAt),
    expiresAt: new Date(expiresAt),
    authenticatedAt: toDate(entries.get(AUTHENTICATED_KEY)),
    current: key === current,
    label: readString(entries.get(LABEL_KEY)),
    deviceBound: entries.has(BINDING_KEY),
  };
}

export function toDate(text: string | undefined): Date | undefined {
  return text === undefined ? undefined : new Date(Number(text));
}

/** An entry of ours that should be a string; `undefined` if it can't be read. */
export function readString(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : String(decode(text));
  } catch {
    return undefined;
  }
}

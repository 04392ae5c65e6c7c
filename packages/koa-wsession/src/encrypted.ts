import { createHmac } from 'node:crypto';
import { decrypt, encrypt } from './store/cipher.js';
import { assertInTime, StoreDecorator } from './store/decorator.js';
import { checkOption } from './store/options.js';
import { isRecord } from './store/record.js';
import { checkSecrets, type Secret } from './store/secrets.js';
import type {
  Absent,
  Call,
  Changes,
  Created,
  DestroyCall,
  Destroyed,
  Entries,
  SessionIndex,
  SessionRecord,
  Store,
  Updated,
} from './store/store.js';

export type { Secret } from './store/secrets.js';

/**
 * A store whose values are encrypted and authenticated before they reach `store` (AES-256-GCM), so that read access to
 * the storage reveals no data, and write access forges none:
 *
 * ```ts
 * app.use(session(encrypted(new RedisStore(redis), process.env.SESSION_SECRET)));
 * ```
 *
 * `secrets`: one, or several: the first encrypts, each decrypts. Make one with `openssl rand -base64 32`. To rotate,
 * deploy the new one everywhere behind the old one, then in front, and drop the old one when its sessions have expired.
 * Encryption that is turned on or off, and a secret that is dropped too early, log visitors out.
 *
 * Not hidden are the names of keys, since changes are merged by key, the sizes of values, the number of sessions and
 * their instants. Owners appear as keyed hashes. With write access, values of a session can still be removed, or put back
 * to those that the same session had before. Each value takes a third and 39 bytes more than without.
 *
 * While secrets are rotated, `maxSessions` with `'refuse'` counts the sessions of the old ones in a step of its own, so
 * that logins at the same moment may exceed the limit.
 * @throws OptionError, which never shows a secret, for a secret under 32 bytes, and for a store that seals its tokens
 */
export function encrypted(store: Store, secrets: Secret | readonly Secret[]): Store {
  const isOnServer = (value: unknown): boolean => (value as Partial<Store> | null)?.capabilities?.seals === false;
  checkOption('store of encrypted()', store, isOnServer, 'a store that keeps sessions on the server; others encrypt');
  return new EncryptedStore(store, checkSecrets('encrypted()', secrets, 32).map(extract));
}

class EncryptedStore extends StoreDecorator {
  declare readonly index?: SessionIndex;
  readonly #secrets: readonly Buffer[];
  /** The stored texts of entries that were decrypted. */
  readonly #texts: WeakMap<Entries, Entries> = new WeakMap();

  constructor(store: Store, secrets: readonly Buffer[]) {
    super(store);
    this.#secrets = secrets;
    if (store.index) this.index = keyedIndex(store.index, secrets);
  }

  override async load(key: string, call: Call): Promise<SessionRecord | Absent> {
    const found = await this.store.load(key, call);
    if (!isRecord(found)) return found;
    const record = this.#decrypt(key, found, call);
    return record.entries.size === found.entries.size ? record : 'seal';
  }

  override async create(key: string, record: SessionRecord, call: Call): Promise<Created> {
    assertInTime(call);
    return this.store.create(key, { ...record, entries: this.#cipher(key, call).encryptAll(record.entries) }, call);
  }

  /**
   * What is expected can't be compared with what is stored: the same value has another text each time. So a conflict is
   * looked into: if the value is the expected one after all, the call is repeated with its text.
   */
  override async update(key: string, { known, expect, ...changes }: Changes, call: Call): Promise<Updated> {
    const cipher = this.#cipher(key, call);
    const set = cipher.encryptAll(changes.set);
    let texts: Changes['expect'] = expect && this.#guess(expect, known?.entries);
    for (;;) {
      assertInTime(call);
      const answer = await this.store.update(key, { ...changes, set, expect: texts }, call);
      if (answer.outcome !== 'conflict' || !expect) return answer;
      const actual = new Map(Array.from(answer.actual, ([entry, text]) => [entry, cipher.decrypt(entry, text)]));
      for (const [entry, value] of expect) if (actual.get(entry) !== value) return { outcome: 'conflict', actual };
      texts = answer.actual;
    }
  }

  override async destroy(key: string, call: DestroyCall): Promise<Destroyed> {
    assertInTime(call);
    const answer = await this.store.destroy(key, call);
    return 'record' in answer ? { ...answer, record: this.#decrypt(key, answer.record, call) } : answer;
  }

  #cipher(address: string, { name }: Call): SessionCipher {
    return new SessionCipher(this.#secrets, name, address);
  }

  /** The record with those entries that can be decrypted. */
  #decrypt(key: string, record: SessionRecord, call: Call): SessionRecord {
    const cipher = this.#cipher(key, call);
    const entries = new Map<string, string>();
    for (const [entry, text] of record.entries) {
      const value = cipher.decrypt(entry, text);
      if (value !== undefined) entries.set(entry, value);
    }
    this.#texts.set(entries, record.entries);
    return { ...record, entries };
  }

  /** The texts that these values had when they were loaded; of a value that wasn't, one that nothing has. */
  #guess(expect: NonNullable<Changes['expect']>, known: Entries | undefined): Changes['expect'] {
    const texts = known && this.#texts.get(known);
    const guess = (entry: string, value: string): string => (known?.get(entry) === value && texts?.get(entry)) || '';
    return new Map(Array.from(expect, ([entry, value]) => [entry, value === undefined ? value : guess(entry, value)]));
  }
}

const VERSION = 1;
const HEAD = Buffer.of(VERSION);

/**
 * Encrypts and decrypts the values of one session. Each session has a key of its own (HKDF, RFC 5869), so that no key is
 * used too often. The tag of a value also covers the version, the session's address and the entry's key, so that no value
 * passes for another.
 */
class SessionCipher {
  readonly #keys: readonly Buffer[];
  readonly #address: string;

  constructor(secrets: readonly Buffer[], name: string, address: string) {
    const info = `koa-wsession encrypted ${VERSION}\0${name}\0${address}`;
    this.#keys = secrets.map((secret) => hmac(secret, `${info}\u0001`)); // HKDF-Expand (2.3), for 32 bytes
    this.#address = address;
  }

  encryptAll(entries: Entries): Entries {
    const toText = (entry: string, value: string): string =>
      encrypt(this.#keys[0] as Buffer, HEAD, value, this.#associated(entry));
    return new Map(Array.from(entries, ([entry, value]) => [entry, toText(entry, value)]));
  }

  /** `undefined` for what isn't encrypted with any of the secrets, for this session and this entry. */
  decrypt(entry: string, text: string | undefined): string | undefined {
    const bytes = Buffer.from(text ?? '', 'base64url');
    if (bytes[0] !== VERSION) return undefined;
    for (const key of this.#keys) {
      const value = decrypt(key, bytes, HEAD.length, this.#associated(entry));
      if (value !== undefined) return value;
    }
    return undefined;
  }

  #associated(entry: string): string {
    return `${VERSION}\0${this.#address}\0${entry}`;
  }
}

/** HKDF-Extract (2.2), once for each secret: `hkdfSync` repeats it for each session, at five times the cost. */
function extract(secret: Uint8Array): Buffer {
  return hmac(Buffer.alloc(32), secret);
}

function hmac(key: Buffer, data: string | Uint8Array): Buffer {
  return createHmac('sha256', key).update(data).digest();
}

/** An index under keyed hashes: a group can't be found by an owner's name alone. While secrets are rotated, it has several. */
function keyedIndex(index: SessionIndex, secrets: readonly Buffer[]): SessionIndex {
  const groupsOf = (group: string): string[] =>
    secrets.map((secret) => hmac(secret, `koa-wsession group ${VERSION}\0${group}`).toString('base64url'));
  const keysOf = async (groups: readonly string[], call: Call): Promise<Set<string>> => {
    const keys = await Promise.all(groups.map((group) => index.keys(group, call)));
    return new Set(keys.flat());
  };
  return {
    async add(group, key, until, call) {
      assertInTime(call);
      const { limit, ...unlimited } = call;
      const [newest = '', ...older] = groupsOf(group);
      if (limit === undefined || older.length === 0) return index.add(newest, key, until, call);
      const former = await keysOf(older, call);
      if (former.has(key)) return index.add(newest, key, until, unlimited);
      for (const one of await index.keys(newest, call)) former.delete(one);
      return index.add(newest, key, until, { ...call, limit: Math.max(limit - former.size, 0) });
    },
    async remove(group, key, call) {
      for (const one of groupsOf(group)) await index.remove(one, key, call);
    },
    keys: async (group, call) => [...(await keysOf(groupsOf(group), call))],
  };
}

import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import { isUint8Array } from 'node:util/types';
import { OptionError } from './errors.js';
import { StoreDecorator } from './store/decorator.js';
import { checkOption } from './store/options.js';
import { isRecord } from './store/record.js';
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
  const list: unknown[] = Array.isArray(secrets) ? secrets : [secrets];
  checkOption('secrets of encrypted()', list, () => list.length > 0, 'at least one secret');
  return new EncryptedStore(store, list.map(toBytes).map(extract));
}

/** What values are encrypted with: 32 bytes or more. A string stands for its UTF-8 bytes. */
export type Secret = string | Uint8Array;

const MIN_LENGTH = 32;

function toBytes(secret: unknown): Uint8Array {
  const bytes = typeof secret === 'string' ? Buffer.from(secret, 'utf8') : secret;
  if (isUint8Array(bytes) && bytes.length >= MIN_LENGTH) return bytes;
  const shown = secret && Object(secret); // an OptionError describes objects by their class only
  throw new OptionError(
    'secret of encrypted()',
    shown,
    `a string or a Uint8Array of at least ${MIN_LENGTH} bytes, such as one of \`openssl rand -base64 32\``,
  );
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
    const record = this.#open(key, found, call);
    return record.entries.size === found.entries.size ? record : 'seal';
  }

  override async create(key: string, record: SessionRecord, call: Call): Promise<Created> {
    assertInTime(call);
    return this.store.create(key, { ...record, entries: this.#seal(key, record.entries, call) }, call);
  }

  /**
   * What is expected can't be compared with what is stored: the same value has another text each time. So a conflict is
   * looked into: if the value is the expected one after all, the call is repeated with its text.
   */
  override async update(key: string, { known, expect, ...changes }: Changes, call: Call): Promise<Updated> {
    const set = this.#seal(key, changes.set, call);
    let texts: Changes['expect'] = expect && this.#guess(expect, known?.entries);
    for (;;) {
      assertInTime(call);
      const answer = await this.store.update(key, { ...changes, set, ...(texts && { expect: texts }) }, call);
      if (answer.outcome !== 'conflict' || !expect) return answer;
      const box = new Box(this.#secrets, call.name, key);
      const actual = mapValues(answer.actual, (text, entry) => box.open(entry, text));
      for (const [entry, value] of expect) if (actual.get(entry) !== value) return { outcome: 'conflict', actual };
      texts = answer.actual;
    }
  }

  override async destroy(key: string, call: DestroyCall): Promise<Destroyed> {
    assertInTime(call);
    const answer = await this.store.destroy(key, call);
    return 'record' in answer ? { ...answer, record: this.#open(key, answer.record, call) } : answer;
  }

  #seal(key: string, entries: Entries, { name }: Call): Entries {
    const box = new Box(this.#secrets, name, key);
    return new Map(Array.from(entries, ([entry, value]) => [entry, box.seal(entry, value)]));
  }

  /** The record with those entries that can be decrypted. */
  #open(key: string, record: SessionRecord, { name }: Call): SessionRecord {
    const box = new Box(this.#secrets, name, key);
    const entries = new Map<string, string>();
    for (const [entry, text] of record.entries) {
      const value = box.open(entry, text);
      if (value !== undefined) entries.set(entry, value);
    }
    this.#texts.set(entries, record.entries);
    return { ...record, entries };
  }

  /** The texts that these values had when they were loaded; of a value that wasn't, one that nothing has. */
  #guess(expect: NonNullable<Changes['expect']>, known: Entries | undefined): Map<string, string | undefined> {
    const texts = known && this.#texts.get(known);
    return mapValues(expect, (value, entry) => (known?.get(entry) === value ? texts?.get(entry) : undefined) ?? '');
  }
}

/** The store may keep everything in memory, and not look at the deadline. */
function assertInTime({ deadline }: Call): void {
  if (performance.now() > deadline) throw new Error('the call was abandoned: the request timed out');
}

/** The same with other values; where there is none, there is none. */
function mapValues(
  values: ReadonlyMap<string, string | undefined>,
  toValue: (value: string, key: string) => string | undefined,
): Map<string, string | undefined> {
  return new Map(Array.from(values, ([key, value]) => [key, value === undefined ? undefined : toValue(value, key)]));
}

/*
 * An encrypted value is the base64url of
 *
 *     version (1 byte) | nonce (12, random) | ciphertext | tag (16)
 *
 * The tag also covers the version, the session's address and the entry's key, so that no value passes for another. Each
 * session has a key of its own (HKDF, RFC 5869), so that the 2^32 random nonces that GCM allows for one are never reached
 * (NIST SP 800-38D, 8.3).
 */
const VERSION = 1;
const NONCE = 12;
const LABEL = `koa-wsession encrypted ${VERSION}`;
/** Without the length, Node accepts a tag of 4 bytes. */
const TAG = { authTagLength: 16 } as const;

/** HKDF-Extract (RFC 5869, 2.2), once for each secret: `hkdfSync` repeats it for each session, at five times the cost. */
function extract(secret: Uint8Array): Buffer {
  return createHmac('sha256', Buffer.alloc(32)).update(secret).digest();
}

/** HKDF-Expand (2.3), for 32 bytes. */
function expand(extracted: Buffer, info: string): Buffer {
  return createHmac('sha256', extracted).update(info).update(Buffer.of(1)).digest();
}

/** Encrypts and decrypts the values of one session. */
class Box {
  readonly #secrets: readonly Buffer[];
  readonly #keys: Buffer[] = [];
  readonly #info: string;
  readonly #address: string;

  constructor(secrets: readonly Buffer[], name: string, address: string) {
    this.#secrets = secrets;
    this.#info = `${LABEL}\0${name}\0${address}`;
    this.#address = address;
  }

  seal(entry: string, value: string): string {
    const nonce = randomBytes(NONCE);
    const cipher = createCipheriv('aes-256-gcm', this.#key(0), nonce, TAG).setAAD(this.#associated(entry));
    const parts = [Buffer.of(VERSION), nonce, cipher.update(value, 'utf8'), cipher.final(), cipher.getAuthTag()];
    return Buffer.concat(parts).toString('base64url');
  }

  /** `undefined` for what isn't encrypted with any of the secrets, for this session and this entry. */
  open(entry: string, text: string): string | undefined {
    const bytes = Buffer.from(text, 'base64url');
    if (bytes[0] !== VERSION || bytes.length < 1 + NONCE + TAG.authTagLength) return undefined;
    for (let at = 0; at < this.#secrets.length; at++) {
      const value = this.#openWith(this.#key(at), entry, bytes);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  #openWith(key: Buffer, entry: string, bytes: Buffer): string | undefined {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(1, 1 + NONCE), TAG);
    decipher.setAAD(this.#associated(entry)).setAuthTag(bytes.subarray(-TAG.authTagLength));
    const plain = decipher.update(bytes.subarray(1 + NONCE, -TAG.authTagLength));
    try {
      decipher.final(); // throws unless the tag is right: before that, `plain` must not be used
    } catch {
      return undefined;
    }
    return plain.toString('utf8');
  }

  #key(at: number): Buffer {
    this.#keys[at] ??= expand(this.#secrets[at] as Buffer, this.#info);
    return this.#keys[at];
  }

  #associated(entry: string): Buffer {
    return Buffer.from(`${VERSION}\0${this.#address}\0${entry}`, 'utf8');
  }
}

/** An index under keyed hashes: a group can't be found by an owner's name alone. While secrets are rotated, it has several. */
function keyedIndex(index: SessionIndex, secrets: readonly Buffer[]): SessionIndex {
  const groupsOf = (group: string): string[] =>
    secrets.map((secret) =>
      createHmac('sha256', secret).update(`koa-wsession group ${VERSION}\0${group}`).digest('base64url'),
    );
  const keysOf = async (groups: readonly string[], call: Call): Promise<Set<string>> => {
    const keys = await Promise.all(groups.map((group) => index.keys(group, call)));
    return new Set(keys.flat());
  };
  return {
    async add(group, key, until, { limit, ...call }) {
      assertInTime(call);
      const [newest, ...older] = groupsOf(group) as [string, ...string[]];
      if (limit === undefined) return index.add(newest, key, until, call);
      if (older.length === 0) return index.add(newest, key, until, { ...call, limit });
      const former = await keysOf(older, call);
      if (former.has(key)) return index.add(newest, key, until, call);
      for (const one of await index.keys(newest, call)) former.delete(one);
      return index.add(newest, key, until, { ...call, limit: Math.max(limit - former.size, 0) });
    },
    async remove(group, key, call) {
      for (const one of groupsOf(group)) await index.remove(one, key, call);
    },
    keys: async (group, call) => [...(await keysOf(groupsOf(group), call))],
  };
}

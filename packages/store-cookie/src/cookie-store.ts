import {
  applyChanges,
  type Call,
  type Capabilities,
  type Changes,
  type Created,
  checkStoreOptions,
  findConflict,
  type None,
  openRecord,
  packRecord,
  type SessionRecord,
  type Store,
  type StoreOptions,
  type Updated,
} from 'koa-wsession';
import { type Opened, Recent } from './recent.js';
import { Revoked } from './revoked.js';
import { MAX_TOKEN_LENGTH, Sealer } from './seal.js';
import { deriveMasterKeys, type Secret } from './secrets.js';

/**
 * Sessions in the visitor's cookie itself, encrypted and authenticated (AES-256-GCM): nothing is kept on the server.
 *
 * ```ts
 * app.use(session(new CookieStore(secret, { secure: true })));
 * ```
 *
 * For that it can do less than other stores. Of two parallel requests that write, the last cookie that the browser
 * gets wins. A session that ended has ended in this process, and for this store, only: elsewhere, and after a
 * restart, a copy of its cookie opens until it expires. And a cookie holds 4096 bytes: a larger session is a
 * CookieSizeError, and the visitor keeps the one before.
 */
export class CookieStore implements Store {
  readonly expire: number;
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly capabilities: Capabilities = { seals: true, merges: false, revokes: false };
  readonly #sealer: Sealer;
  readonly #recent: Recent = new Recent();
  readonly #revoked: Revoked = new Revoked();
  /** The latest expiry of all the tokens that this store ever sealed or opened. */
  #latest = 0;

  /**
   * @param secrets One secret, or several: the first seals, and each opens, so that a new one can be put in front
   * without logging anybody out. Make one with `openssl rand -base64 32`. Each process that serves the same visitors
   * needs the same ones. One under 32 bytes can mostly be guessed: of that it warns once (`WSESSION_SHORT_SECRET`).
   *
   * Each secret that this process hasn't seen yet takes 0.2 s and 32 MiB, to make guessing slow.
   * @throws OptionError, which never shows a secret
   */
  constructor(secrets: Secret | readonly Secret[], options: StoreOptions = {}) {
    ({
      expire: this.expire,
      secure: this.secure,
      domain: this.domain,
    } = checkStoreOptions('CookieStore', options));
    this.#sealer = new Sealer(deriveMasterKeys(secrets));
  }

  load(token: string, call: Call): SessionRecord | None {
    const opened = this.#open(token, call);
    return typeof opened === 'object' ? opened.record : opened;
  }

  create(address: string, record: SessionRecord, call: Call): Created {
    const own = { ...record, entries: new Map(record.entries) };
    return { outcome: 'created', token: this.#seal(address, own, call) };
  }

  /** Changes what the token holds, which is not what another request may have been given meanwhile. */
  update(token: string, changes: Changes, call: Call): Updated {
    const opened = this.#open(token, call);
    if (typeof opened !== 'object') return { outcome: 'gone' };
    const conflict = findConflict(opened.record, changes);
    if (conflict) return conflict;
    const record = applyChanges(opened.record, changes);
    return { outcome: 'updated', token: this.#seal(opened.owner, record, call) };
  }

  /**
   * Ends the session with all its tokens. There may be others than this one, and later ones, since each request that
   * wrote got its own; nobody lists them. But none is sealed from now on, because `#open` refuses their address. So
   * each was sealed before, and if this store sealed it, it isn't valid beyond `#latest`. One that another process
   * sealed until now, or this one before a restart, isn't valid beyond `expire` from now, unless `expireIn` said so.
   */
  destroy(token: string, call: Call): SessionRecord | undefined {
    const opened = this.#open(token, call);
    if (typeof opened !== 'object') return undefined;
    this.#revoked.add(opened.owner, Math.max(this.#latest, Date.now() + this.expire * 1000));
    return opened.record;
  }

  #seal(owner: string, record: SessionRecord, { name }: Call): string {
    const token = this.#sealer.seal(name, packRecord(owner, record));
    // A larger one is refused by the core, and by `open` if it should ever come back.
    if (token.length <= MAX_TOKEN_LENGTH) this.#recent.set(token, { name, owner, record });
    this.#latest = Math.max(this.#latest, record.expiresAt);
    return token;
  }

  /** What a token holds, if it counts at this moment: whether it expired or ended is asked each time. */
  #open(token: string, { name }: Call): Opened | None {
    const opened = this.#recent.get(name, token) ?? this.#unseal(name, token);
    if (!opened) return 'seal';
    const { owner, record } = opened;
    if (!(Date.now() < record.expiresAt)) return 'expired';
    if (this.#revoked.has(owner)) return undefined;
    this.#latest = Math.max(this.#latest, record.expiresAt);
    return opened;
  }

  #unseal(name: string, token: string): Opened | undefined {
    const found = openRecord(this.#sealer.open(name, token) ?? '');
    if (!found) return undefined;
    const opened = { name, ...found };
    this.#recent.set(token, opened);
    return opened;
  }
}

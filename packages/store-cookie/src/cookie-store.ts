import {
  type Absent,
  type Awaitable,
  applyChanges,
  type Call,
  type Capabilities,
  type Changes,
  type Created,
  checkOption,
  checkStoreOptions,
  type DestroyCall,
  type Destroyed,
  findConflict,
  noneToDestroy,
  OptionError,
  openRecord,
  packRecord,
  type Secret,
  type SessionRecord,
  type Store,
  type StoreOptions,
  type Updated,
} from 'koa-wsession/store';
import { RevocationList } from './revocation-list.js';
import { MAX_TOKEN_LENGTH, Sealer } from './seal.js';
import { deriveMasterKeys } from './secrets.js';
import { SharedRevocations } from './shared-revocations.js';
import { TokenCache, type Unsealed } from './token-cache.js';

/** What `CookieStore` takes. */
export interface CookieStoreOptions extends StoreOptions {
  /**
   * A store on the server that holds what was ended, and nothing else: a logout then holds in all processes, and
   * `sessions.revoke(owner)` and `revokeAll()` work. Each request with a cookie then asks this store, and is a 503 while it
   * is down; with `nearCache(store)`, most requests that only read don't ask. Default: none, a logout holds in its process only.
   */
  revocations?: Store;
  /**
   * With `revocations`: seconds after its last change at which a session ends in any case, and for which each mark of an
   * ended one is kept: over 0, up to 400 days, which is the default. At least `expire` and the longest `maxAge`.
   */
  longestLifetime?: number;
}

/**
 * Keeps sessions in the visitor's cookie, encrypted and authenticated (AES-256-GCM). The server keeps no data.
 *
 * ```ts
 * app.use(session(new CookieStore(secret, { secure: true })));
 * ```
 *
 * It can do less than other stores. Of two parallel requests that write, the last cookie that the browser receives
 * wins. Without the option `revocations`, a logout holds in this process, and for this store object, only: in other
 * processes, and after a restart, a copy of the cookie is valid until it expires. A cookie holds 4096 bytes: a larger session throws a CookieSizeError,
 * and the visitor keeps the former cookie.
 */
export class CookieStore implements Store {
  readonly expire: number;
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly capabilities: Capabilities;
  /** With `revocations`: ends the sessions of a group, or all, whose login was at this instant or before. */
  readonly revokeUntil?: NonNullable<Store['revokeUntil']>;
  readonly #sealer: Sealer;
  readonly #cache: TokenCache = new TokenCache();
  readonly #revocations: RevocationList | SharedRevocations;
  /** The latest expiry of all tokens that this store sealed or opened. */
  #latest = 0;

  /**
   * @param secrets One secret, or several: the first seals, each opens, so that a new one can be added without logging
   * anyone out. Make one with `openssl rand -base64 32`. All processes that serve the same visitors need the same
   * secrets. A secret under 32 bytes emits a warning once (`WSESSION_SHORT_SECRET`).
   *
   * Deriving the key of a secret that is new to this process takes 0.2 s and 32 MiB, so that guessing is slow.
   * @throws OptionError, which never shows a secret
   */
  constructor(secrets: Secret | readonly Secret[], options: CookieStoreOptions = {}) {
    // A string here is probably a second secret.
    if (typeof options !== 'object') throw new OptionError('options', Object(options), 'a plain object');
    const common = checkStoreOptions('CookieStore', options, ['revocations', 'longestLifetime']);
    ({ expire: this.expire, secure: this.secure, domain: this.domain } = common);
    const { revocations, longestLifetime = MAX_LIFETIME } = options;
    checkOption('longestLifetime', longestLifetime, isLifetime, 'seconds over 0, up to 400 days (34,560,000)');
    checkOption('revocations', revocations, isServerStore, 'a store on the server, such as new RedisStore(redis)');
    this.#sealer = new Sealer(deriveMasterKeys(secrets));
    const shared = revocations && new SharedRevocations(revocations, this.#sealer, longestLifetime * 1000);
    this.#revocations = shared ?? new RevocationList();
    this.capabilities = { seals: true, merges: false, revokes: shared !== undefined };
    if (shared) this.revokeUntil = shared.endUntil.bind(shared);
  }

  load(token: string, call: Call): Awaitable<SessionRecord | Absent> {
    return this.#open<SessionRecord | Absent>(token, call, toRecord, (absent) => absent);
  }

  /** An address that was ended needs no check: tokens for it are refused. */
  create(address: string, record: SessionRecord, call: Call): Created {
    return { outcome: 'created', token: this.#seal(address, { ...record, entries: new Map(record.entries) }, call) };
  }

  /** Changes what the token holds, without what parallel requests changed in their copy. */
  update(token: string, changes: Changes, call: Call): Awaitable<Updated> {
    const change = ({ address, record }: Unsealed): Updated => {
      const conflict = findConflict(record, changes);
      if (conflict) return conflict;
      const changed = applyChanges(record, changes);
      this.#cache.delete(token);
      return { outcome: 'updated', revision: changed.revision, token: this.#seal(address, changed, call) };
    };
    return this.#open(token, call, change, () => ({ outcome: 'gone' }));
  }

  /**
   * Ends the session with all its tokens: each request that wrote got one of its own, and there is no list of them.
   * From now on, `#open` refuses the session's address, so this store seals no further one. Those that it sealed or
   * opened expire by `#latest`. Those that another process sealed until now, or this one before a restart, expire
   * within the session's lifetime, unless they have a longer one than the token that is destroyed.
   *
   * With `revocations`, every process refuses the address.
   */
  destroy(token: string, call: DestroyCall): Awaitable<Destroyed> {
    const end = ({ address, record }: Unsealed): Awaitable<Destroyed> => {
      const lifetime = Math.max(this.expire * 1000, record.expiresAt - record.updatedAt);
      const until = Math.max(this.#latest, Date.now() + lifetime);
      return after(this.#revocations.end(address, until, call), (standing) =>
        standing === 'alive' ? { outcome: 'destroyed', record } : noneToDestroy(standing),
      );
    };
    return this.#open(token, call, end, noneToDestroy);
  }

  #seal(address: string, record: SessionRecord, { name }: Call): string {
    const token = this.#sealer.seal(name, packRecord(address, record));
    // The core refuses a longer one, and so does `open`.
    if (token.length <= MAX_TOKEN_LENGTH) this.#cache.add({ token, name, address, record });
    this.#latest = Math.max(this.#latest, record.expiresAt);
    return token;
  }

  /** Passes what a token holds to `use` if the session is alive now, or else to `refuse` why it isn't. */
  #open<T>(
    token: string,
    call: Call,
    use: (unsealed: Unsealed) => Awaitable<T>,
    refuse: (absent: Absent) => T,
  ): Awaitable<T> {
    const unsealed = this.#cache.get(call.name, token) ?? this.#unseal(call.name, token);
    if (!unsealed) return refuse('seal');
    const { address, record } = unsealed;
    return after(this.#revocations.standingOf(address, record, call), (standing) => {
      if (standing !== 'alive') return refuse(standing);
      if (!(Date.now() < record.expiresAt)) return refuse('expired');
      this.#latest = Math.max(this.#latest, record.expiresAt);
      return use(unsealed);
    });
  }

  #unseal(name: string, token: string): Unsealed | undefined {
    const opened = openRecord(this.#sealer.open(name, token) ?? '');
    return opened && this.#cache.add({ token: Buffer.from(token, 'latin1').toString('latin1'), name, ...opened });
  }
}

/** Seconds: browsers keep no cookie longer. */
const MAX_LIFETIME = 400 * 86_400;

function isLifetime(value: unknown): boolean {
  return typeof value === 'number' && value > 0 && value <= MAX_LIFETIME;
}

function isServerStore(value: unknown): boolean {
  return value === undefined || (value as Partial<Store> | null)?.capabilities?.seals === false;
}

function toRecord({ record }: Unsealed): SessionRecord {
  return record;
}

/** At once where the answer is there: without `revocations`, `load` must not wait. */
function after<T, U>(answer: Awaitable<T>, next: (value: T) => Awaitable<U>): Awaitable<U> {
  return answer instanceof Promise ? answer.then(next) : next(answer);
}

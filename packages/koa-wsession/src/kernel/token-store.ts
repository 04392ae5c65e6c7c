import { UnavailableError } from '../errors.js';
import { isRecord, isReplacement } from '../store/record.js';
import type {
  Absent,
  Awaitable,
  Changes,
  DestroyCall,
  Destroyed,
  Entries,
  Replacement,
  SessionRecord,
  Store,
  Updated,
} from '../store/store.js';
import { endOf } from './lifetime.js';
import type { Observer, RejectionReason, SessionEvent, SessionEventName, TracedCall } from './observer.js';
import { Addresses, addressOf, ID_LENGTH, newId, readToken, type Signer, writeToken } from './token.js';

/** What is known of the record behind a session. */
export interface RecordFacts {
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly expiresAt: number;
  /** The revision of which this request knows all entries; `undefined` where other requests wrote in between. */
  readonly revision: number | undefined;
}

const NO_KEYS: readonly string[] = [];

/** The record behind a session, and how to get there. (A class, since V8 makes object literals that live on too old.) */
export class Loaded implements RecordFacts {
  /** Under which the store knows it. */
  readonly key: string;
  /** The token that led to it: the id, as the visitor sent it, or the sealed record. */
  readonly token: string;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly expiresAt: number;
  readonly revision: number | undefined;
  /** The revision that this request's last write made, whatever other requests wrote before it; without a write, the loaded one. */
  readonly lastRevision: number | undefined;
  /** The entries as they were loaded or created. */
  readonly entries: Entries;
  /** The keys of further sessions that the visitor's tokens lead to. */
  others: readonly string[] = NO_KEYS;

  constructor(
    key: string,
    token: string,
    facts: RecordFacts,
    entries: Entries,
    lastRevision: number | undefined = facts.revision,
  ) {
    this.key = key;
    this.token = token;
    this.createdAt = facts.createdAt;
    this.updatedAt = facts.updatedAt;
    this.expiresAt = facts.expiresAt;
    this.revision = facts.revision;
    this.lastRevision = lastRevision;
    this.entries = entries;
  }
}

/** Where a visitor's tokens lead: to a session, to one that goes on under another id (its mark), or nowhere. */
export type Found = Loaded | Replacement | undefined;

/** What a token store needs to know besides its store. */
export interface TokenOptions {
  /** The session's name. */
  readonly name: string;
  /** Milliseconds that each call to the store may take. */
  readonly timeout: number;
  /** Milliseconds after its creation at which a session ends in any case. */
  readonly absoluteTimeout: number;
  readonly observer: Observer;
  /** Signs ids; `undefined`: they aren't signed. A sealing store needs none. */
  readonly signer: Signer | undefined;
}

/** All that a call can bring along, as members of its own: nothing is taken from a polluted `Object.prototype`. */
class StoreCall implements DestroyCall {
  readonly name: string;
  readonly deadline: number;
  atLeast: number | undefined = undefined;
  readonly replaced: Replacement | undefined = undefined;
  readonly revision: number | undefined = undefined;

  constructor(name: string, deadline: number) {
    this.name = name;
    this.deadline = deadline;
  }
}

/** Tokens in, records out. Whatever the store does, each call ends within `timeout`, in an UnavailableError at worst. */
export abstract class TokenStore {
  readonly store: Store;
  readonly options: TokenOptions;
  /** Whether each write makes a new token, which needs a response to be sent with. */
  abstract readonly renewsTokens: boolean;
  /** Whether `find` has its answer at once, so that it can wait until the session is used. */
  abstract readonly loadsAtOnce: boolean;

  constructor(store: Store, options: TokenOptions) {
    this.store = store;
    this.options = options;
  }

  /** The key that a token leads to, and the revision that it proves; or why it can't be one of ours. */
  protected abstract keyOf(token: string): { key: string; revision?: number | undefined } | { reason: RejectionReason };

  /** Stores a new record under a new token. */
  abstract create(record: SessionRecord): Promise<Loaded>;

  /** What the visitor is to keep from now on. */
  abstract tokenOf(loaded: Loaded): string;

  /** A hash that stands for a session outside, from which no token can be derived. */
  abstract refOf(key: string): string;

  /** The session of these tokens; of several, the one that was updated last. Synchronous where the store is. */
  find(tokens: readonly string[], maxLength: number): Awaitable<Found> {
    if (tokens.length === 1) return this.#findOne(tokens[0] as string, maxLength);
    const found = tokens.map((token) => this.#findOne(token, maxLength));
    return found.some(isPromise) ? Promise.all(found).then(newest) : newest(found as Found[]);
  }

  /** What is under a key, such as that of a session's successor. `atLeast`: a cache may answer, see the contract. */
  load(key: string, atLeast?: number): Awaitable<SessionRecord | Absent> {
    return this.call('load', key, (call) => {
      call.atLeast = atLeast;
      return this.store.load(key, call);
    });
  }

  /** Merges changes into the record. */
  async update(loaded: Loaded, changes: Changes): Promise<Loaded | Exclude<Updated, { outcome: 'updated' }>> {
    const { key, revision } = loaded;
    const answer = await this.call('save', key, (call) => this.store.update(key, changes, call));
    const outcome = answer?.outcome;
    if (outcome === 'gone' || (outcome === 'conflict' && changes.expect)) return answer;
    if (outcome !== 'updated') throw unexpected('update', answer);
    const { token } = answer;
    const facts: RecordFacts = {
      createdAt: loaded.createdAt,
      updatedAt: changes.updatedAt,
      expiresAt: changes.expiresAt ?? loaded.expiresAt,
      revision: revision !== undefined && answer.revision === revision + 1 ? answer.revision : undefined,
    };
    return new Loaded(token ?? key, token ?? loaded.token, facts, loaded.entries, answer.revision);
  }

  /** Ends a session; see the contract for `replaced` and `revision`. */
  async destroy(key: string, how: Pick<DestroyCall, 'replaced' | 'revision'> = {}): Promise<Destroyed> {
    const answer = await this.call('destroy', key, (call) => this.store.destroy(key, { ...call, ...how }));
    const expected = ['destroyed', 'none', 'replaced', ...(how.revision === undefined ? [] : ['changed'])];
    if (!expected.includes(answer?.outcome)) throw unexpected('destroy', answer);
    return answer;
  }

  /** One call to the store: an answer, or an UnavailableError within `timeout`. */
  call<T>(kind: TracedCall, key: string, operation: (call: StoreCall) => Awaitable<T>): Awaitable<T> {
    const { name, observer } = this.options;
    if (!observer.traces(kind)) return this.#run(operation);
    return observer.trace(kind, { name, session: this.refOf(key) }, () => this.#run(operation));
  }

  #run<T>(operation: (call: StoreCall) => Awaitable<T>): Awaitable<T> {
    const { name, timeout } = this.options;
    try {
      const answer = operation(new StoreCall(name, performance.now() + timeout));
      return isPromise(answer) ? within(timeout, answer) : answer;
    } catch (error) {
      throw toUnavailable(error);
    }
  }

  #findOne(token: string, maxLength: number): Awaitable<Found> {
    const at = token.length > maxLength ? ({ reason: 'oversized' } as const) : this.keyOf(token);
    if ('reason' in at) {
      const { name, observer } = this.options;
      observer.publish('rejected', () => ({ name, session: addressOf(name, token), reason: at.reason }));
      return undefined;
    }
    const answer = this.load(at.key, at.revision);
    return isPromise(answer)
      ? answer.then((loaded) => this.#toFound(token, at.key, loaded))
      : this.#toFound(token, at.key, answer);
  }

  #toFound(token: string, key: string, loaded: SessionRecord | Absent): Found {
    if (isReplacement(loaded)) {
      this.#reject(key, 'replaced');
      return loaded;
    }
    if (!isRecord(loaded)) return this.#reject(key, loaded ?? 'unknown');
    const { entries, createdAt, expiresAt } = loaded;
    const isLive = Date.now() < Math.min(expiresAt, endOf(entries, createdAt, this.options.absoluteTimeout));
    if (!isLive) return this.#reject(key, 'expired');
    return new Loaded(key, token, loaded, entries);
  }

  /** Says what happened to the session under this key. */
  publish(event: SessionEventName, key: string, more?: Pick<SessionEvent, 'from' | 'reason'>): void {
    const { name, observer } = this.options;
    observer.publish(event, () => ({ name, session: this.refOf(key), ...more }));
  }

  #reject(key: string, reason: RejectionReason): undefined {
    if (reason === 'expired') this.publish('expired', key, { reason });
    this.publish('rejected', key, { reason });
  }
}

/** Tokens are ids, signed where there is a signer; the store keeps the records under hashes of them. */
export class IdTokenStore extends TokenStore {
  readonly renewsTokens = false;
  readonly loadsAtOnce = false;
  readonly #addresses: Addresses = new Addresses(this.options.name);

  protected keyOf(token: string): { key: string; revision: number | undefined } | { reason: RejectionReason } {
    const { name, signer } = this.options;
    const content = readToken(name, token, signer);
    return 'id' in content ? { key: this.#addresses.of(content.id), revision: content.revision } : content;
  }

  async create(record: SessionRecord): Promise<Loaded> {
    for (let tries = 0; tries < 10; tries++) {
      const id = newId();
      const key = addressOf(this.options.name, id);
      const answer = await this.call('save', key, (call) => this.store.create(key, record, call));
      if (answer?.outcome === 'created') return new Loaded(key, id, record, record.entries);
      if (answer?.outcome !== 'exists') throw unexpected('create', answer);
    }
    throw unexpected('create', { outcome: 'exists' }); // of 192 random bits, not even one does
  }

  /** Signed with the newest key, so that rotating the keys ends no session in use. */
  tokenOf({ token, lastRevision }: Loaded): string {
    const { name, signer } = this.options;
    const revision = this.store.wantsRevisions ? lastRevision : undefined;
    return writeToken(name, { id: token.slice(0, ID_LENGTH), revision }, signer);
  }

  refOf(key: string): string {
    return key;
  }
}

/** Tokens are the records themselves, sealed by the store. */
export class SealedTokenStore extends TokenStore {
  readonly renewsTokens = true;

  /** A store that revokes everywhere has to ask. */
  get loadsAtOnce(): boolean {
    return !this.store.capabilities.revokes;
  }

  /** Where the store asks another one what was revoked, a near cache of that one may answer. */
  protected keyOf(token: string): { key: string; revision: number | undefined } {
    return { key: token, revision: this.loadsAtOnce ? undefined : 0 };
  }

  async create(record: SessionRecord): Promise<Loaded> {
    const address = addressOf(this.options.name, newId());
    const answer = await this.call('save', address, (call) => this.store.create(address, record, call));
    if (answer?.outcome !== 'created' || answer.token === undefined) throw unexpected('create', answer);
    return new Loaded(answer.token, answer.token, record, record.entries);
  }

  tokenOf({ token }: Loaded): string {
    return token;
  }

  refOf(key: string): string {
    return addressOf(this.options.name, key);
  }
}

export function isPromise<T>(answer: Awaitable<T>): answer is Promise<T> {
  return typeof (answer as { then?: unknown } | undefined)?.then === 'function';
}

/** Of several sessions the one that was updated last; a replaced one counts only where there is no other. */
function newest(found: readonly Found[]): Found {
  const loaded = found.filter((one) => one instanceof Loaded).sort((a, b) => b.updatedAt - a.updatedAt);
  const [best] = loaded;
  if (best) best.others = loaded.slice(1).map(({ key }) => key);
  return best ?? found.find(Boolean);
}

function within<T>(timeout: number, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const expire = (): void => reject(new UnavailableError(`The session store did not respond within ${timeout} ms`));
    // A store that gives up at the same moment knows the cause: its error comes first.
    const timer = setTimeout(() => setImmediate(expire), timeout);
    answer.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error) => {
        clearTimeout(timer);
        reject(toUnavailable(error));
      },
    );
  });
}

function toUnavailable(error: unknown): UnavailableError {
  const problem =
    error instanceof Error ? error.message : typeof error === 'object' ? 'it threw a non-Error value' : String(error);
  return new UnavailableError(`The session store failed: ${problem.replace(/\.$/, '')}`, error);
}

function unexpected(call: string, answer: { outcome?: unknown } | undefined): UnavailableError {
  return new UnavailableError(`The session store failed: ${call} returned ${JSON.stringify(answer?.outcome)}`);
}

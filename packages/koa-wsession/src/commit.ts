import { ask, hashOf } from './ask.js';
import type { Carrier } from './carrier.js';
import { encode } from './codec.js';
import {
  type EntryChanges,
  EXPIRE_KEY,
  LISTED_KEY,
  OWNER_KEY,
  TrackedEntries,
  toUserKey,
  UPDATED_KEY,
} from './entries.js';
import { GoneError, InsecureError, LateError, type UnavailableError } from './errors.js';
import { announce, type RejectionReason, type SessionEventName, type TracedCall } from './events.js';
import type { Settings } from './options.js';
import type { Awaitable, Call, Changes, Entries, None, SessionRecord, Store, Updated } from './store.js';
import { addressOf, newId, type Signer, signId, verifyId } from './token.js';

/** Where a session is: the key under which its store knows it, and the id that leads there unless the key is a token. */
interface Place {
  readonly id: string | undefined;
  readonly key: string;
}

interface Found {
  readonly place: Place;
  readonly record: SessionRecord;
}

/** The record behind a session, as far as this request needs to know it. */
interface Held {
  readonly place: Place;
  readonly createdAt: number;
  readonly expiresAt: number;
}

/** How a session is opened, beside its settings. */
export interface Opening {
  readonly settings: Settings;
  readonly signer: Signer | undefined;
  readonly carrier: Carrier;
  /** The session is `secure` and the request is not. */
  readonly insecure: boolean;
  /** Told about a change that came too late to be stored. */
  readonly onLate: (error: unknown) => void;
}

/** Opens the session of the first of these tokens that has one, else a new one. Synchronous where the store is. */
export function openSession(opening: Opening, tokens: readonly string[]): Awaitable<Lifecycle> {
  if (opening.insecure) return new Lifecycle(opening, undefined);
  const answer = find(opening, tokens, 0);
  return answer instanceof Promise
    ? answer.then((it) => new Lifecycle(opening, it))
    : new Lifecycle(opening, answer);
}

function find(opening: Opening, tokens: readonly string[], from: number): Awaitable<Found | undefined> {
  for (let i = from; i < tokens.length; i++) {
    const answer = lookUp(opening, tokens[i] as string);
    if (answer instanceof Promise) return answer.then((it) => it ?? find(opening, tokens, i + 1));
    if (answer) return answer;
  }
  return undefined;
}

function lookUp({ settings, signer }: Opening, token: string): Awaitable<Found | undefined> {
  const reject = (reason: RejectionReason): undefined => {
    const message = () => ({ name: settings.name, session: addressOf(settings.name, token), reason });
    if (reason === 'expired') announce('expired', message);
    announce('rejected', message);
  };
  const place = locate(settings, signer, token);
  if (typeof place === 'string') return reject(place);

  const receive = (record: SessionRecord | None): Found | undefined => {
    if (typeof record !== 'object') return reject(record ?? 'unknown');
    const end = Math.min(record.expiresAt, record.createdAt + settings.absoluteTimeout);
    return Date.now() < end ? { place, record } : reject('expired');
  };
  const answer = ask(settings, 'load', place.key, (store, call) => store.load(place.key, call));
  return answer instanceof Promise ? answer.then(receive) : receive(answer);
}

/** Where a visitor's token leads, or why it can't be a token of ours. */
function locate(
  { store, name }: Settings,
  signer: Signer | undefined,
  token: string,
): Place | RejectionReason {
  if (token.length > MAX_TOKEN) return 'oversized';
  if (store.capabilities.seals) return { id: undefined, key: token };
  const verified = verifyId(name, token, signer);
  return 'id' in verified ? { id: verified.id, key: addressOf(name, verified.id) } : verified.reason;
}

/** More than any transport carries. */
const MAX_TOKEN = 8192;

/**
 * One session through one request: what its members do, and the decision at the end.
 *
 * It knows no request and no response, so it serves wherever a token comes from. Its steps run one at a time, in the
 * order in which they were asked for.
 */
export class Lifecycle {
  readonly entries: TrackedEntries;
  readonly #opening: Opening;
  /** `undefined` while there is no record. */
  #held: Held | undefined;
  /** Keys that the handler ended, still to be ended in the store. */
  readonly #condemned: string[] = [];
  /** `due`: the expiration is to be reset even if nothing changed. */
  #renewal: 'none' | 'due' | 'done' = 'none';
  /** Why the last call to the store failed. */
  #failure: UnavailableError | GoneError | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  #finished = false;
  /** Marks of the messages that were taken. */
  readonly #claimed: string[] = [];
  #watching = false;

  constructor(opening: Opening, found: Found | undefined) {
    this.#opening = opening;
    this.#held = found && {
      place: found.place,
      createdAt: found.record.createdAt,
      expiresAt: found.record.expiresAt,
    };
    this.entries = new TrackedEntries(found?.record.entries, () => this.#discard());
  }

  /** The key of the record, while there is one. */
  get key(): string | undefined {
    return this.#held?.place.key;
  }

  get isNew(): boolean {
    return this.#held === undefined;
  }

  /** Comes before every write: may there be one, and will it still be stored? */
  beforeWrite(): void {
    if (this.#opening.insecure) throw new InsecureError();
    if (this.#finished) this.watchForLateChanges();
  }

  /** `ctx.session = null`: ends this session; what is assigned afterwards belongs to a new one. */
  end(): void {
    if (this.#held) this.#condemned.push(this.#held.place.key);
    this.#held = undefined;
    this.entries.reset(true);
  }

  save(): Promise<void> {
    return this.#inTurn(() => this.#commit());
  }

  destroy(): Promise<void> {
    this.end();
    return this.#inTurn(() => this.#execute());
  }

  expireIn(seconds: number): void {
    this.beforeWrite();
    this.entries.set(EXPIRE_KEY, seconds);
    this.#renewal = 'due';
  }

  /** Compare and set, together with whatever else is to be stored; again from the value that is there on a conflict. */
  update(key: string, change: (value: unknown) => unknown): Promise<unknown> {
    this.beforeWrite();
    return this.#inTurn(async () => {
      await this.#execute();
      for (;;) {
        const pending = this.entries.changes() ?? NO_CHANGES;
        const assigned = pending.set.has(key) || pending.delete.includes(key);
        const value = await change(this.entries.get(key));
        if (!this.#held) {
          this.entries.set(key, value);
          await this.#commit();
          return value;
        }
        const expected = this.entries.baseline(key);
        const text = encode(value, toUserKey(key));
        if (text === expected && pending === NO_CHANGES) return value;
        const changes = {
          set: new Map([...pending.set, [key, text]]),
          delete: pending.delete.filter((removed) => removed !== key),
        };
        // What this request assigned to the key is what it counts on from, whatever others did.
        const answer = await this.#store(changes, assigned ? undefined : { key, value: expected });
        if (answer.outcome === 'updated') {
          this.entries.adopt(only(key, text));
          return this.entries.get(key);
        }
        this.entries.adopt(only(key, answer.actual));
      }
    });
  }

  /**
   * The new record comes first, with this request's changes, which the old id never gets to hold. Then the old one
   * goes, and says what it held: what other requests wrote into it meanwhile moves over. A crash between the two
   * leaves either usable.
   */
  regenerate(): Promise<void> {
    return this.#inTurn(async () => {
      const old = this.#held;
      if (!old) return; // a session gets its id with its record
      const before = this.entries.encoded(undefined);
      const changes = this.entries.changes();
      await this.#create(this.entries.encoded(changes), old.createdAt, changes?.delete);

      const ended = await this.#ask('destroy', old.place.key, (store, call) =>
        store.destroy(old.place.key, call),
      );
      if (!ended) {
        const { key } = (this.#held as Held).place;
        this.#held = old;
        await this.#ask('destroy', key, (store, call) => store.destroy(key, call));
        throw this.#gone();
      }
      this.#announce('regenerated', (this.#held as Held).place.key, old.place.key);
      await this.#delist(ended.entries.get(OWNER_KEY), old.place.key);
      const missed = difference(before, ended.entries, changes);
      if (!missed) return;
      await this.#store(missed);
      this.entries.adopt(missed);
    });
  }

  /** The decision at the end of a request. Nothing of the response may be sent before it is done. */
  finish(): Promise<void> {
    return this.#inTurn(async () => {
      this.#finished = true;
      try {
        if (this.#failure && this.#isDirty()) throw this.#failure; // asked once already, and waited for it
        await this.#commit();
        await this.#roll();
      } catch (error) {
        for (const mark of this.#claimed) this.#opening.settings.taken.putBack(mark);
        throw error;
      }
    });
  }

  /** Whether this request, of those of this process, is the one that takes the message with this mark. */
  claim(mark: string): boolean {
    const first = this.#opening.settings.taken.take(mark);
    if (first) this.#claimed.push(mark);
    return first;
  }

  /** Once the response is out: reports what can't be stored any more, unless the handler saves it by itself. */
  watchForLateChanges(): void {
    if (this.#watching) return;
    this.#watching = true;
    setImmediate(async () => {
      await this.#tail;
      this.#watching = false;
      try {
        const changes = this.entries.changes();
        if (!changes) return;
        this.entries.settle(changes); // each is reported once
        throw new LateError(keysOf(changes));
      } catch (error) {
        this.#opening.onLate(error);
      }
    });
  }

  /** Destroy, create, update, or nothing at all. */
  async #commit(): Promise<void> {
    await this.#execute();
    const changes = this.entries.changes();
    if (this.#held) {
      if (changes || this.#renewal === 'due') await this.#store(changes ?? NO_CHANGES);
    } else if (changes && [...changes.set.keys()].some((key) => key !== EXPIRE_KEY)) {
      await this.#create(changes.set, Date.now());
    }
  }

  async #execute(): Promise<void> {
    for (let key = this.#condemned[0]; key !== undefined; key = this.#condemned[0]) {
      const condemned = key;
      const ended = await this.#ask('destroy', condemned, (store, call) => store.destroy(condemned, call));
      this.#condemned.shift();
      if (ended) this.#announce('destroyed', condemned);
      await this.#delist(ended?.entries.get(OWNER_KEY), condemned);
      // Where there was nothing to end, somebody else ended it, and the browser may hold a newer session's cookie.
      if (ended && this.#reachable) this.#opening.carrier.clear();
    }
  }

  async #create(entries: Entries, createdAt: number, removed: readonly string[] = []): Promise<void> {
    const { settings, carrier, insecure } = this.#opening;
    if (insecure) throw new InsecureError();
    const refusal = carrier.refusal([...entries.keys()].map(toUserKey));
    if (refusal) throw refusal;
    for (;;) {
      const id = newId();
      const address = addressOf(settings.name, id);
      const expiresAt = this.#expiresAt(createdAt);
      const listed = await this.#enlist(entries.get(OWNER_KEY), address, expiresAt, 0, entries);
      const answer = await this.#ask('save', address, (store, call) =>
        store.create(address, { entries: listed, createdAt, expiresAt }, call),
      );
      if (answer.outcome === 'exists') continue;
      const place = answer.token === undefined ? { id, key: address } : { id: undefined, key: answer.token };
      this.#handOver({ place, createdAt, expiresAt }, listed);
      this.entries.settle({ set: listed, delete: removed });
      this.#announce('created', place.key);
      return;
    }
  }

  /** Stores changes to the record that is there, and resets its expiration. */
  async #store(
    changes: EntryChanges,
    expect?: Changes['expect'],
  ): Promise<Exclude<Updated, { outcome: 'gone' }>> {
    const { settings, carrier } = this.#opening;
    const { place, createdAt } = this.#held as Held;
    const refusal = settings.store.capabilities.seals ? carrier.refusal(keysOf(changes)) : undefined;
    if (refusal) throw refusal;
    const expiresAt = this.#expiresAt(createdAt);
    const before = this.entries.baseline(OWNER_KEY);
    const owner = changes.delete.includes(OWNER_KEY) ? undefined : (changes.set.get(OWNER_KEY) ?? before);
    const until = owner === before ? Number(this.entries.baseline(LISTED_KEY) ?? 0) : 0;
    const set = await this.#enlist(owner, place.key, expiresAt, until, changes.set);
    const request: Changes = { set, delete: changes.delete, expiresAt, ...(expect && { expect }) };
    const answer = await this.#ask('save', place.key, (store, call) =>
      store.update(place.key, request, call),
    );
    if (answer.outcome === 'gone') throw this.#gone();
    if (answer.outcome === 'updated') {
      const moved = answer.token === undefined ? place : { id: undefined, key: answer.token };
      this.#handOver({ place: moved, createdAt, expiresAt }, set);
      this.#announce('renewed', moved.key);
      this.entries.settle(request);
      if (owner !== before) await this.#delist(before, place.key);
    }
    return answer;
  }

  /**
   * A session with an owner is in the owner's index before it is in the store, and for twice as long, so that not every
   * renewal has to renew that, too. `until` is when the index forgets it, as things are. Answers what is to be stored:
   * `set`, and what keeps the account of this.
   */
  async #enlist(
    owner: string | undefined,
    key: string,
    expiresAt: number,
    until: number,
    set: Entries,
  ): Promise<Entries> {
    const { name, store } = this.#opening.settings;
    const { owners } = store;
    if (owner === undefined || !owners) return set;
    const now = Date.now();
    const marked = new Map(set).set(UPDATED_KEY, String(now));
    if (until < expiresAt) {
      const later = expiresAt + (expiresAt - now);
      await this.#ask('save', key, (_, call) => owners.add(addressOf(name, owner), key, later, call));
      marked.set(LISTED_KEY, String(later));
    }
    return marked;
  }

  /** Once a session is no more, or no more this owner's. */
  async #delist(owner: string | undefined, key: string): Promise<void> {
    const { name, store } = this.#opening.settings;
    const { owners } = store;
    if (owner === undefined || !owners) return;
    await this.#ask('save', key, (_, call) => owners.remove(addressOf(name, owner), key, call));
  }

  /** The visitor gets the token, and the expiration with it. */
  #handOver(held: Held, entries: Entries): void {
    const { settings, carrier, signer } = this.#opening;
    const { id, key } = held.place;
    if (this.#reachable) {
      const token = id === undefined ? key : signId(settings.name, id, signer);
      carrier.set(token, Math.ceil((held.expiresAt - Date.now()) / 1000), () =>
        sizesOf(this.entries.encoded({ set: entries, delete: [] })),
      );
    }
    this.#held = held;
    this.#renewal = 'done';
  }

  /** `rolling`: a request that only read resets the expiration too, where that is due. */
  async #roll(): Promise<void> {
    if (!this.#held || this.#renewal === 'done' || !this.#reachable) return;
    const gained = this.#expiresAt(this.#held.createdAt) - this.#held.expiresAt;
    if (gained <= 0 || gained < this.#opening.settings.rolling) return;
    try {
      await this.#store(NO_CHANGES);
    } catch (error) {
      if (!(error instanceof GoneError)) throw error; // it only read, and what it read was so
      this.#failure = undefined;
    }
  }

  get #reachable(): boolean {
    return this.#opening.carrier.refusal([]) === undefined;
  }

  #expiresAt(createdAt: number): number {
    const { store, absoluteTimeout } = this.#opening.settings;
    const own = this.entries.get(EXPIRE_KEY);
    const seconds = typeof own === 'number' && own > 0 ? own : store.expire;
    return Math.min(Date.now() + seconds * 1000, createdAt + absoluteTimeout);
  }

  #gone(): GoneError {
    this.#announce('gone', (this.#held as Held).place.key);
    this.#opening.carrier.retract();
    this.#failure = new GoneError();
    return this.#failure;
  }

  #announce(event: SessionEventName, key: string, from?: string): void {
    const { store, name } = this.#opening.settings;
    const hash = (one: string) => hashOf(store, name, one);
    announce(event, () => ({ name, session: hash(key), ...(from !== undefined && { from: hash(from) }) }));
  }

  /** The record can't be read: its visitor is an anonymous one. */
  #discard(): void {
    this.#held = undefined;
    this.entries.reset(false);
  }

  #isDirty(): boolean {
    return this.#condemned.length > 0 || this.entries.changes() !== undefined;
  }

  async #ask<T>(
    traced: TracedCall,
    key: string,
    operation: (store: Store, call: Call) => Awaitable<T>,
  ): Promise<T> {
    try {
      const answer = await ask(this.#opening.settings, traced, key, operation);
      this.#failure = undefined;
      return answer;
    } catch (error) {
      this.#failure = error as UnavailableError;
      throw error;
    }
  }

  /** Whoever asked for the step hears how it went; the next one begins in any case. */
  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(step);
    this.#tail = turn.catch(() => undefined);
    return turn;
  }
}

const NOTHING: Entries = new Map();
const NO_CHANGES: EntryChanges = { set: NOTHING, delete: [] };

/** One key as it is now. */
function only(key: string, text: string | undefined): EntryChanges {
  return text === undefined ? { set: NOTHING, delete: [key] } : { set: new Map([[key, text]]), delete: [] };
}

/** What turned `before` into `after`, except for the keys that `own` changes anyway. */
function difference(
  before: Entries,
  after: Entries,
  own: EntryChanges | undefined,
): EntryChanges | undefined {
  const isOwn = (key: string) =>
    own?.set.has(key) || own?.delete.includes(key) || key === LISTED_KEY || key === UPDATED_KEY;
  const set = new Map([...after].filter(([key, text]) => before.get(key) !== text && !isOwn(key)));
  const removed = [...before.keys()].filter((key) => !after.has(key) && !isOwn(key));
  return set.size > 0 || removed.length > 0 ? { set, delete: removed } : undefined;
}

function keysOf(changes: EntryChanges): string[] {
  return [...changes.set.keys(), ...changes.delete].map(toUserKey);
}

function sizesOf(entries: Entries): Array<[key: string, bytes: number]> {
  return [...entries].map(([key, text]) => [
    toUserKey(key),
    Buffer.byteLength(key) + Buffer.byteLength(text),
  ]);
}

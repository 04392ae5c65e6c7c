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
import { GoneError, InsecureError, LateError, UnavailableError } from './errors.js';
import { announce, type SessionEventName, type TracedCall } from './events.js';
import type { Found, Place } from './lookup.js';
import type { Settings } from './options.js';
import type { Awaitable, Call, Changes, Entries, Store, Updated } from './store.js';
import { addressOf, newId, type Signer, signId } from './token.js';

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

/** The record behind a session, as far as this request needs to know it. */
interface Held {
  readonly place: Place;
  readonly createdAt: number;
  readonly expiresAt: number;
}

/** One session from its first sight to its end. A request has another one once it ended the one it came with. */
class Incarnation {
  readonly entries: TrackedEntries;
  /** `undefined` while there is no record. */
  held: Held | undefined;
  /** The record that turned out to be unreadable: its visitor is an anonymous one. */
  unreadable: Held | undefined;
  /** Another request ended it. */
  gone: GoneError | undefined;
  /** `due`: the expiration is to be reset even if nothing changed. */
  renewal: 'none' | 'due' | 'done' = 'none';

  constructor(found: Found | undefined, onUnreadable: (key: string) => void) {
    this.held = found && {
      place: found.place,
      createdAt: found.record.createdAt,
      expiresAt: found.record.expiresAt,
    };
    this.entries = new TrackedEntries(found?.record.entries, () => {
      this.unreadable = this.held;
      this.held = undefined;
      this.entries.reset();
      if (this.unreadable) onUnreadable(this.unreadable.place.key);
    });
    this.entries.get(EXPIRE_KEY); // needed in any case, so it is read while nothing began
  }
}

/**
 * One session through one request: what its members do, and the decision at the end.
 *
 * It knows no request and no response, so it serves wherever a token comes from. Its steps run one at a time, in the
 * order in which they were asked for, each on the session that there was when it was asked for.
 */
export class Lifecycle {
  readonly #opening: Opening;
  #current: Incarnation;
  /** Ended by the handler, and still to be ended in the store. */
  readonly #condemned: Incarnation[] = [];
  /** The last call to the store failed. */
  #outage: UnavailableError | undefined;
  /** When the last of the steps is done; `undefined` while there is none. */
  #tail: Promise<void> | undefined;
  #ending = false;
  #finished = false;
  /** How a step failed that was still at work when the handler ended, so that nobody can have waited for it. */
  #unheard: { readonly error: unknown } | undefined;
  #watching = false;
  /** What was reported as too late, by key. */
  readonly #reported: Map<string, string | undefined> = new Map();
  /** Marks of the messages that were taken. */
  readonly #claimed: string[] = [];

  constructor(opening: Opening, found: Found | undefined) {
    this.#opening = opening;
    this.#current = this.#begin(found);
  }

  #begin(found: Found | undefined): Incarnation {
    const { store, name } = this.#opening.settings;
    return new Incarnation(found, (key) =>
      announce('rejected', () => ({ name, session: hashOf(store, name, key), reason: 'corrupt' })),
    );
  }

  get entries(): TrackedEntries {
    return this.#current.entries;
  }

  get isNew(): boolean {
    return this.#current.held === undefined;
  }

  /** The key of the record, while there is one. */
  get key(): string | undefined {
    return this.#current.held?.place.key;
  }

  /** Comes before every write: may there be one, and will it still be stored? */
  beforeWrite(): void {
    if (this.#opening.insecure) throw new InsecureError();
    if (this.#finished) this.watchForLateChanges();
  }

  /** `ctx.session = null`: ends this session; what is assigned afterwards belongs to a new one. */
  end(): void {
    this.#condemned.push(this.#current);
    this.#current = this.#begin(undefined);
    if (this.#finished) this.watchForLateChanges();
  }

  save(): Promise<void> {
    return this.#inTurn((it) =>
      this.#orPutBack(async () => {
        await this.#executeBefore(it);
        await this.#commit(it, it.entries.changes());
      }),
    );
  }

  destroy(): Promise<void> {
    this.end();
    return this.#inTurn(() => this.#execute());
  }

  expireIn(seconds: number): void {
    this.beforeWrite();
    this.entries.set(EXPIRE_KEY, seconds);
    this.#current.renewal = 'due';
  }

  /**
   * Compare and set, together with whatever else is to be stored; again from the value that is there on a conflict.
   * `change` gets a copy, so that a change in place that comes to nothing leaves no trace.
   */
  update(key: string, change: (value: unknown) => unknown): Promise<unknown> {
    return this.#inTurn(async (it) => {
      this.beforeWrite();
      await this.#executeBefore(it);
      for (;;) {
        const before = it.entries.text(key);
        const text = encode(await change(it.entries.decode(before)), toUserKey(key));
        const expected = it.entries.baseline(key);
        const pending = it.entries.changes();
        // What others did to the key since it was loaded, only the store knows, if they could do anything.
        const isCurrent = !this.#opening.settings.store.capabilities.merges;
        if (text === expected && !pending && isCurrent) return it.entries.get(key);

        const changes = {
          set: new Map([...(pending?.set ?? []), [key, text]]),
          delete: pending?.delete.filter((removed) => removed !== key) ?? [],
        };
        if (!it.held) {
          await this.#create(it, changes);
          it.entries.overwrite(key, text, before);
          return it.entries.get(key);
        }
        // What this request assigned to the key is what it counts on from, whatever others did to it.
        const answer = await this.#store(
          it,
          changes,
          before === expected ? { key, value: expected } : undefined,
        );
        it.entries.overwrite(key, answer.outcome === 'updated' ? text : answer.actual, before);
        if (answer.outcome === 'updated') return it.entries.get(key);
      }
    });
  }

  /**
   * The new record comes first, with this request's changes, which the old id never gets to hold. Then the old one
   * goes, and says what it held: what other requests wrote into it meanwhile moves over. Only then is the new id handed
   * out, since somebody may have logged out meanwhile. A crash between the two leaves the old one usable.
   */
  regenerate(): Promise<void> {
    return this.#inTurn(async (it) => {
      const old = it.held;
      if (!old) return; // a session gets its id with its record
      const { key: oldKey } = old.place;
      const before = it.entries.encoded(undefined);
      const changes = it.entries.changes();
      const fresh = await this.#make(it, it.entries.encoded(changes), old.createdAt);
      const { key } = fresh.held.place;

      const ended = await this.#ask('destroy', oldKey, (store, call) => store.destroy(oldKey, call)).catch(
        (error) => {
          // What was handed over before, by save(), leads to the old session, which is still there.
          if (it.renewal === 'done' && this.#reachable) this.#handOver(old, () => before);
          else this.#opening.carrier.retract();
          throw error;
        },
      );
      if (!ended) {
        this.#opening.carrier.retract();
        await this.#ask('destroy', key, (store, call) => store.destroy(key, call));
        await this.#delist(fresh.entries.get(OWNER_KEY), key);
        throw this.#goneError(it);
      }
      it.held = fresh.held;
      it.renewal = 'done';
      it.entries.settle({ set: fresh.entries, delete: changes?.delete ?? [] });
      this.#announce('regenerated', key, oldKey);

      const missed = difference(before, ended.entries, changes);
      if (missed) {
        await this.#store(it, missed);
        for (const moved of [...missed.set.keys(), ...missed.delete]) {
          it.entries.overwrite(moved, missed.set.get(moved), before.get(moved));
        }
      }
      await this.#delist(ended.entries.get(OWNER_KEY), oldKey);
    });
  }

  /** The decision at the end of a request. Nothing of the response may be sent before it is done. */
  finish(): Awaitable<void> {
    this.#ending = true;
    if (!this.#tail && !this.#isDue()) {
      this.#finished = true;
      return;
    }
    return this.#inTurn(() => {
      this.#finished = true;
      const it = this.#current; // also where one that nobody waits for took the other's place meanwhile
      return this.#orPutBack(async () => {
        if (this.#unheard) throw this.#unheard.error;
        const changes = it.entries.changes();
        if (this.#outage && (changes || this.#condemned.length > 0)) throw this.#outage; // it was asked, and waited for
        if (it.gone && changes) throw it.gone;
        await this.#execute();
        await this.#commit(it, changes);
        await this.#roll(it);
      });
    });
  }

  /** Whether anything is to be stored at the end of a request, for all that is known without a look at the values. */
  #isDue(): boolean {
    const it = this.#current;
    return it.entries.mayDiffer || this.#condemned.length > 0 || it.renewal === 'due' || this.#isRollDue(it);
  }

  /** For a session that is touched for the first time when its request is over already. */
  markFinished(): void {
    this.#finished = true;
  }

  /** Whether this request, of those of this process, is the one that takes the message with this mark. */
  claim(mark: string): boolean {
    const first = this.#opening.settings.taken.take(mark);
    if (first) this.#claimed.push(mark);
    return first;
  }

  /** Where it can't be stored that messages were taken, they can be taken again. */
  async #orPutBack(storing: () => Promise<void>): Promise<void> {
    const claimed = this.#claimed.splice(0);
    try {
      await storing();
    } catch (error) {
      for (const mark of claimed) this.#opening.settings.taken.putBack(mark);
      throw error;
    }
  }

  /** Once the request is over: a late end is carried out, and a late change reported unless the handler saves it. */
  watchForLateChanges(): void {
    if (this.#watching) return;
    this.#watching = true;
    setImmediate(async () => {
      this.#watching = false;
      try {
        await this.#inTurn(() => this.#execute());
        const changes = this.entries.changes();
        const texts = [
          ...(changes?.set ?? []),
          ...(changes?.delete ?? []).map((key) => [key, undefined] as const),
        ];
        const late = texts.filter(
          ([key, text]) => !this.#reported.has(key) || this.#reported.get(key) !== text,
        );
        if (late.length === 0) return;
        for (const [key, text] of late) this.#reported.set(key, text);
        throw new LateError(late.map(([key]) => toUserKey(key)));
      } catch (error) {
        this.#opening.onLate(error);
      }
    });
  }

  /** What the handler ended is ended before anything of its successor is stored, or found to be what can't be. */
  async #executeBefore(it: Incarnation): Promise<void> {
    if (it === this.#current) await this.#execute();
  }

  /** Create, update, or nothing at all. */
  async #commit(it: Incarnation, changes: EntryChanges | undefined): Promise<void> {
    if (it.held) {
      if (changes || it.renewal === 'due') await this.#store(it, changes ?? NO_CHANGES);
    } else if (changes && [...changes.set.keys()].some((key) => key !== EXPIRE_KEY)) {
      await this.#create(it, changes);
    }
  }

  /** Ends in the store what the handler ended. */
  async #execute(): Promise<void> {
    for (let it = this.#condemned[0]; it; it = this.#condemned[0]) {
      const key = (it.held ?? it.unreadable)?.place.key;
      if (key !== undefined) {
        const ended = await this.#ask('destroy', key, (store, call) => store.destroy(key, call));
        if (ended) this.#announce('destroyed', key);
        // Where there was nothing to end, somebody else ended it, and the browser may hold a newer session's cookie.
        if (!ended) this.#opening.carrier.retract();
        else if (this.#reachable) this.#opening.carrier.clear();
        await this.#delist(ended?.entries.get(OWNER_KEY), key);
      }
      this.#condemned.shift();
    }
  }

  async #create(it: Incarnation, changes: EntryChanges): Promise<void> {
    const { held, entries } = await this.#make(it, changes.set, Date.now());
    it.held = held;
    it.renewal = 'done';
    it.entries.settle({ set: entries, delete: [] });
    this.#announce('created', held.place.key);
  }

  /** Makes a record under a new id, and hands the token over. */
  async #make(
    it: Incarnation,
    entries: Entries,
    createdAt: number,
  ): Promise<{ held: Held; entries: Entries }> {
    const { settings, carrier, insecure } = this.#opening;
    if (insecure) throw new InsecureError();
    const refusal = carrier.refusal([...entries.keys()].map(toUserKey));
    if (refusal) throw refusal;
    for (let tries = 0; tries < 10; tries++) {
      const id = newId();
      const address = addressOf(settings.name, id);
      const expiresAt = this.#expiresAt(it.entries, createdAt);
      const listed = await this.#enlist(entries.get(OWNER_KEY), address, expiresAt, 0, entries);
      const record = { entries: listed, createdAt, expiresAt };
      const answer = await this.#ask('save', address, (store, call) => store.create(address, record, call));
      if (answer.outcome === 'exists') continue;
      if (answer.outcome !== 'created') throw unexpected('create', answer);
      const place = answer.token === undefined ? { id, key: address } : { id: undefined, key: answer.token };
      const held = { place, createdAt, expiresAt };
      this.#handOver(held, () => listed);
      return { held, entries: listed };
    }
    throw unexpected('create', { outcome: 'exists' }); // of 192 random bits, not even one does
  }

  /** Stores changes to the record that is there, and resets its expiration. */
  async #store(
    it: Incarnation,
    changes: EntryChanges,
    expect?: Changes['expect'],
  ): Promise<Exclude<Updated, { outcome: 'gone' }>> {
    const { settings, carrier } = this.#opening;
    const { place, createdAt } = it.held as Held;
    const refusal = settings.store.capabilities.seals ? carrier.refusal(keysOf(changes)) : undefined;
    if (refusal) throw refusal;
    const expiresAt = this.#expiresAt(it.entries, createdAt);
    const before = it.entries.baseline(OWNER_KEY);
    const owner = changes.delete.includes(OWNER_KEY) ? undefined : (changes.set.get(OWNER_KEY) ?? before);
    const until = owner === before ? Number(it.entries.baseline(LISTED_KEY) ?? 0) : 0;
    const set = await this.#enlist(owner, place.key, expiresAt, until, changes.set);

    const request: Changes = { set, delete: changes.delete, expiresAt, ...(expect && { expect }) };
    const answer = await this.#ask('save', place.key, (store, call) =>
      store.update(place.key, request, call),
    );
    if (answer.outcome === 'gone') throw this.#goneError(it);
    if (answer.outcome === 'conflict' && expect) return answer;
    if (answer.outcome !== 'updated') throw unexpected('update', answer);

    const held = {
      place: answer.token === undefined ? place : { id: undefined, key: answer.token },
      createdAt,
      expiresAt,
    };
    if (this.#reachable) this.#handOver(held, () => it.entries.encoded(request));
    it.held = held;
    it.renewal = 'done';
    it.entries.settle(request);
    this.#announce('renewed', held.place.key);
    if (owner !== before) await this.#delist(before, place.key);
    return answer;
  }

  /** The visitor gets the token, and the expiration with it. */
  #handOver({ place: { id, key }, expiresAt }: Held, entries: () => Entries): void {
    const { settings, carrier, signer } = this.#opening;
    const token = id === undefined ? key : signId(settings.name, id, signer);
    carrier.set(token, Math.ceil((expiresAt - Date.now()) / 1000), () => sizesOf(entries()));
  }

  /** `rolling`: a request that only read resets the expiration too, where that is due. */
  async #roll(it: Incarnation): Promise<void> {
    if (!this.#isRollDue(it)) return;
    try {
      await this.#store(it, NO_CHANGES);
    } catch (error) {
      if (!(error instanceof GoneError)) throw error; // it only read, and what it read was so
    }
  }

  #isRollDue({ held, entries, renewal }: Incarnation): boolean {
    const { rolling } = this.#opening.settings;
    if (rolling === Number.POSITIVE_INFINITY || !held || renewal === 'done' || !this.#reachable) return false;
    const gained = this.#expiresAt(entries, held.createdAt) - held.expiresAt;
    return gained > 0 && gained >= rolling;
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

  get #reachable(): boolean {
    return this.#opening.carrier.refusal([]) === undefined;
  }

  #expiresAt(entries: TrackedEntries, createdAt: number): number {
    const { store, absoluteTimeout } = this.#opening.settings;
    const own = entries.get(EXPIRE_KEY);
    const seconds = typeof own === 'number' && own > 0 ? own : store.expire;
    return Math.ceil(Math.min(Date.now() + seconds * 1000, createdAt + absoluteTimeout));
  }

  #goneError(it: Incarnation): GoneError {
    this.#announce('gone', (it.held as Held).place.key);
    this.#opening.carrier.retract();
    it.gone = new GoneError();
    return it.gone;
  }

  #announce(event: SessionEventName, key: string, from?: string): void {
    const { store, name } = this.#opening.settings;
    const hash = (one: string) => hashOf(store, name, one);
    announce(event, () => ({ name, session: hash(key), ...(from !== undefined && { from: hash(from) }) }));
  }

  async #ask<T>(
    traced: TracedCall,
    key: string,
    operation: (store: Store, call: Call) => Awaitable<T>,
  ): Promise<T> {
    try {
      const answer = await ask(this.#opening.settings, traced, key, operation);
      this.#outage = undefined;
      return answer;
    } catch (error) {
      this.#outage = error as UnavailableError;
      throw error;
    }
  }

  /** Whoever asked for the step hears how it went; the next one begins in any case. */
  #inTurn<T>(step: (it: Incarnation) => Promise<T>): Promise<T> {
    const it = this.#current;
    const turn = (this.#tail ?? Promise.resolve()).then(() => step(it));
    const done = (): void => {
      if (this.#tail === tail) this.#tail = undefined;
    };
    const tail: Promise<void> = turn.then(done, (error) => {
      if (this.#ending && !this.#finished) this.#unheard = { error };
      done();
    });
    this.#tail = tail;
    return turn;
  }
}

const NO_CHANGES: EntryChanges = { set: new Map(), delete: [] };

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

function unexpected(call: string, { outcome }: { outcome?: unknown }): UnavailableError {
  return new UnavailableError(
    `The session store failed: it answered ${call} with ${JSON.stringify(outcome)}.`,
  );
}

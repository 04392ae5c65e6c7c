import { GoneError, type SessionError } from '../errors.js';
import { isRecord } from '../store/record.js';
import type { Awaitable, Changes, Destroyed, Entries } from '../store/store.js';
import {
  applyTo,
  assertSize,
  difference,
  type EntryChanges,
  FORMER_KEY,
  keysOf,
  MAX_AGE_KEY,
  NO_CHANGES,
  peekAfter,
  sizesOf,
  toUserKey,
} from './entries.js';
import { cookieAgeOf, expiryOf, type Lifetimes } from './lifetime.js';
import { MARK_LIFETIME, type ReplacePlan } from './replacing.js';
import type { SessionState } from './session-state.js';
import { addressOf, newId } from './token.js';
import type { TokenSink } from './token-sink.js';
import type { Loaded, TokenStore } from './token-store.js';

/** What a session is written with. */
export interface WriterHost {
  readonly settings: WriterSettings;
  readonly tokens: TokenStore;
  readonly sink: TokenSink;
  /** Whether the visitor sent a token, wherever it leads. */
  readonly hasToken: boolean;
  /** Why this request may not change the session, if so. */
  blocked(): SessionError | undefined;
}

export interface WriterSettings {
  readonly name: string;
  readonly lifetimes: Lifetimes;
  /** Milliseconds between two renewals by requests that only read; Infinity for none. */
  readonly rolling: number;
  /** Bytes that a session may take. */
  readonly maxBytes: number;
}

/** Milliseconds after which a token that was written is looked at again before it is sent. */
const STALE = 10;

/** How often a replaced session's latest changes are carried over before it is ended whatever else is written to it. */
const MAX_CARRIES = 5;

/** Writes a session's record, and the visitor's token with it. */
export class SessionWriter {
  readonly #host: WriterHost;

  constructor(host: WriterHost) {
    this.#host = host;
  }

  /** Creates, updates, or does nothing at all. */
  store(state: SessionState, changes: EntryChanges | undefined): Awaitable<unknown> {
    if (state.loaded) {
      if (changes || state.renewal === 'due') return this.update(state, state.loaded, changes ?? NO_CHANGES);
    } else if (changes && [...changes.set.keys()].some((key) => key !== MAX_AGE_KEY)) {
      return this.create(state, state.tracker.snapshot());
    }
  }

  async create(state: SessionState, entries: Entries): Promise<void> {
    if (state.replacedBy !== undefined) throw this.gone(state);
    const fresh = await this.#make(state, entries, Date.now());
    this.#adopt(state, fresh, entries);
    this.#host.tokens.publish('created', fresh.key);
  }

  /** Merges changes into the record, and resets its expiry. With `expect`, returns the actual values on a conflict. */
  async update(
    state: SessionState,
    loaded: Loaded,
    changes: EntryChanges,
    expect?: Changes['expect'],
  ): Promise<ReadonlyMap<string, string | undefined> | undefined> {
    const { tokens, sink, settings } = this.#host;
    const refusal = tokens.renewsTokens ? sink.refusal(keysOf(changes)) : undefined;
    if (refusal) throw refusal;
    const { stored: entries } = state.tracker;
    assertSize(entries, changes.set, () => applyTo(entries, changes), settings.maxBytes);
    const after = peekAfter(entries, changes);
    const request: Changes = {
      set: changes.set,
      delete: changes.delete,
      updatedAt: Date.now(),
      expiresAt: expiryOf(after, loaded.createdAt, settings.lifetimes),
      known: { entries, updatedAt: loaded.updatedAt, expiresAt: loaded.expiresAt },
      expect,
    };
    const result = await tokens.update(loaded, request);
    if ('outcome' in result) {
      if (result.outcome === 'gone') throw this.gone(state);
      return result.actual;
    }
    if (tokens.renewsTokens) sink.assertFits(result.token, () => sizesOf(applyTo(entries, changes)));
    state.loaded = result;
    state.renewal = 'done';
    state.tracker.markSaved(changes);
    if (this.#isReachable) this.#writeToken(result, after);
    if (!state.isMadeHere) state.resentAt = performance.now();
    tokens.publish('renewed', result.key);
    return undefined;
  }

  /** Whether the token was written a while ago: a login may have replaced it since. */
  isTokenStale({ resentAt }: SessionState): boolean {
    return performance.now() - resentAt > STALE;
  }

  /** Takes back a stale token that was replaced since it was written: it must not take the successor's place. */
  async checkToken(state: SessionState): Promise<void> {
    if (!state.loaded) return;
    const isLive = isRecord(await this.#host.tokens.load(state.loaded.key));
    if (!isLive) this.#host.sink.retract();
    state.resentAt = isLive ? performance.now() : Number.POSITIVE_INFINITY;
  }

  /** `rolling`: a request that only read resets the expiry too, where that is due. */
  async roll(state: SessionState): Promise<void> {
    if (!state.loaded || !this.isRollDue(state)) return;
    try {
      await this.update(state, state.loaded, NO_CHANGES);
    } catch (error) {
      if (!(error instanceof GoneError)) throw error; // it only read, and what it read was so
    }
  }

  isRollDue({ loaded, tracker, renewal }: SessionState): boolean {
    const { rolling, lifetimes } = this.#host.settings;
    if (rolling === Number.POSITIVE_INFINITY || !loaded || renewal === 'done' || !this.#isReachable) return false;
    const gained = expiryOf(tracker.stored, loaded.createdAt, lifetimes) - loaded.expiresAt;
    return gained > 0 && gained >= rolling;
  }

  /** Gives the session a new record under a new token, with the content that the plan says. */
  async replace(state: SessionState, plan: ReplacePlan): Promise<void> {
    if (state.loaded) return this.#moveOn(state, state.loaded, plan);
    const { base = NO_CHANGES.set, add, keeps } = plan;
    const entries = new Map([...base, ...state.tracker.snapshot(keeps), ...add]);
    const { replacedBy } = state;
    state.replacedBy = undefined;
    try {
      await this.create(state, entries);
    } catch (error) {
      state.replacedBy = replacedBy;
      throw error;
    }
  }

  /**
   * The new record comes first, with this request's changes, which the old id never gets. Then the old one ends, and
   * only if it holds nothing that the new one lacks: what other requests stored meanwhile is carried over before. The
   * visitor gets the new token last, since another request may have logged out meanwhile. If a step fails, the old token
   * stays valid.
   */
  async #moveOn(state: SessionState, old: Loaded, plan: ReplacePlan): Promise<void> {
    const { tokens } = this.#host;
    const { keeps, add } = plan;
    const own = state.tracker.changes() ?? NO_CHANGES;
    const isOthers = (key: string): boolean =>
      keeps(key) && !own.set.has(key) && !own.delete.includes(key) && !add.has(key) && key !== FORMER_KEY;
    let entries = new Map([...state.tracker.snapshot(keeps), ...add]);
    if (!tokens.renewsTokens) entries.set(FORMER_KEY, JSON.stringify(old.key));
    let fresh = await this.#make(state, entries, plan.resetsAge ? Date.now() : old.createdAt);
    let revision = old.revision ?? 0;
    let known = state.tracker.stored;
    for (let tries = 1; ; tries++) {
      const ended = await this.#mark(old, fresh.key, tries <= MAX_CARRIES ? revision : undefined);
      if (ended.outcome === 'replaced' && ended.by === fresh.key) break; // a call that the client sent twice
      if (ended.outcome === 'none' || ended.outcome === 'replaced') {
        return this.#abandon(state, fresh, ended.outcome, plan);
      }
      const missed = difference(known, ended.record.entries, isOthers);
      if (missed) {
        fresh = await this.#carry(state, fresh, missed);
        entries = applyTo(entries, missed);
        for (const key of [...missed.set.keys(), ...missed.delete])
          state.tracker.refresh(key, missed.set.get(key), known.get(key));
      }
      if (ended.outcome === 'destroyed') break;
      ({ revision, entries: known } = ended.record);
    }
    await this.#endOthers(state); // after the mark, which keeps a copy of this session among them from being ended
    this.#adopt(state, fresh, entries);
    tokens.publish('regenerated', fresh.key, { from: tokens.refOf(old.key) });
  }

  /** Ends a record that goes on as another one; with `revision`, only if nothing was written to it since. */
  #mark({ key }: Loaded, by: string, revision: number | undefined): Promise<Destroyed> {
    const replaced = { by, until: Date.now() + MARK_LIFETIME };
    return this.#host.tokens.destroy(key, { replaced, ...(revision !== undefined && { revision }) });
  }

  /** Stores what other requests wrote to the old record into the new one. */
  async #carry(state: SessionState, fresh: Loaded, missed: EntryChanges): Promise<Loaded> {
    const { updatedAt, expiresAt } = fresh;
    const carried = await this.#host.tokens.update(fresh, { ...missed, updatedAt, expiresAt });
    if ('outcome' in carried) throw this.gone(state);
    return carried;
  }

  /** The old session had ended already: the new record goes, and the session fails, or starts again. */
  async #abandon(state: SessionState, fresh: Loaded, how: 'replaced' | 'none', plan: ReplacePlan): Promise<void> {
    await this.#host.tokens.destroy(fresh.key);
    const base = plan.ifEnded(how);
    if (!base) throw this.gone(state);
    state.loaded = undefined;
    state.tracker.reset(plan.isUnique);
    await this.replace(state, { ...plan, base });
  }

  /** Ends a session in favour of an empty new one, which gets its record when it is stored. */
  async restart(state: SessionState): Promise<void> {
    if (state.replacedBy !== undefined) throw this.gone(state);
    if (!state.loaded) return;
    const { sink } = this.#host;
    const refusal = sink.refusal([]);
    if (refusal) throw refusal;
    const by = addressOf(this.#host.settings.name, newId()); // of no session: it tells this call from others
    const ended = await this.#mark(state.loaded, by, undefined);
    const isSentTwice = ended.outcome === 'replaced' && ended.by === by;
    if (ended.outcome !== 'destroyed' && !isSentTwice) throw this.gone(state);
    await this.#endOthers(state);
    this.#host.tokens.publish('destroyed', state.loaded.key);
    sink.clear();
  }

  /** Ends a session in the store, and has the visitor forget the token. Returns the successor's key if it was replaced. */
  async end(state: SessionState): Promise<string | undefined> {
    const { tokens, sink, hasToken } = this.#host;
    const record = state.loaded ?? state.unreadable;
    const ended: Destroyed = record ? await tokens.destroy(record.key) : { outcome: 'none' };
    if (record && ended.outcome === 'destroyed') tokens.publish('destroyed', record.key);
    await this.#endOthers(state);
    const replacedBy = ended.outcome === 'replaced' ? ended.by : state.replacedBy;
    // The browser may hold the successor's cookie already: nothing of this request may take its place.
    if (replacedBy !== undefined) sink.retract();
    else if ((record || hasToken) && this.#isReachable) sink.clear();
    return replacedBy;
  }

  /** Further sessions of the visitor would come back once this one's token is replaced or deleted. */
  async #endOthers({ others }: SessionState): Promise<void> {
    const { tokens } = this.#host;
    for (const key of others) if ((await tokens.destroy(key)).outcome === 'destroyed') tokens.publish('destroyed', key);
  }

  gone({ loaded, replacedBy = '' }: SessionState): GoneError {
    this.#host.tokens.publish('gone', loaded?.key ?? replacedBy);
    this.#host.sink.retract();
    return new GoneError();
  }

  /** Makes a record under a new token, which the visitor doesn't have yet. */
  async #make(state: SessionState, entries: Entries, createdAt: number): Promise<Loaded> {
    const { tokens, sink, settings } = this.#host;
    const refusal = this.#host.blocked() ?? sink.refusal([...entries.keys()].map(toUserKey));
    if (refusal) throw refusal;
    assertSize(state.tracker.stored, entries, () => entries, settings.maxBytes);
    const expiresAt = expiryOf(entries, createdAt, settings.lifetimes);
    const fresh = await tokens.create({ entries, createdAt, updatedAt: Date.now(), expiresAt, revision: 1 });
    sink.assertFits(tokens.tokenOf(fresh), () => sizesOf(entries));
    return fresh;
  }

  /** The session is this record from now on, and the visitor gets its token. */
  #adopt(state: SessionState, fresh: Loaded, entries: Entries): void {
    state.loaded = fresh;
    state.isMadeHere = true;
    state.renewal = 'done';
    state.tracker.replaceStored(entries);
    this.#writeToken(fresh, entries);
  }

  #writeToken(loaded: Loaded, entries: Pick<Entries, 'get'>): void {
    const { tokens, sink, settings } = this.#host;
    sink.write(tokens.tokenOf(loaded), cookieAgeOf(entries, loaded.expiresAt, settings.lifetimes));
  }

  get #isReachable(): boolean {
    return this.#host.sink.refusal([]) === undefined;
  }
}

import { GoneError, UnavailableError } from '../errors.js';
import { isRecord } from '../store/record.js';
import type { Awaitable } from '../store/store.js';
import type { MaxAge } from '../types.js';
import type { ChangeTracker } from './change-tracker.js';
import type { EncodeOptions } from './codec.js';
import { keysOf, MAX_AGE_KEY } from './entries.js';
import { LateChanges, type LateSource } from './late-changes.js';
import { checkMaxAge } from './lifetime.js';
import { ObservedPromise, Queue } from './queue.js';
import { type ReplacePlan, type ReplaceSituation, SAME_CONTENT } from './replacing.js';
import { SessionState, type StateWatcher } from './session-state.js';
import { SessionWriter, type WriterHost, type WriterSettings } from './session-writer.js';
import type { Found, Loaded } from './token-store.js';
import { type Change, type Turns, tryUpdate } from './update.js';

/** What a lifecycle works with. */
export interface LifecycleHost extends WriterHost {
  readonly settings: WriterSettings & { readonly encoding: EncodeOptions; readonly turns: Turns };
  /** The session may be changed from here on. */
  onMayDiffer(): void;
  /** Whether it is too late for changes to be stored by themselves. */
  isLate(): boolean;
  /** Whether a commit comes, which throws an error that nothing awaits. */
  readonly commits: boolean;
  /** Reports an error that nothing awaits. */
  report(error: unknown): void;
}

/**
 * One session through one request: what its members do, and what is stored at the end.
 *
 * It knows no request and no response, so it serves wherever a token comes from. Its steps run one at a time, in the
 * order in which they were asked for, each on the session that there was when it was asked for.
 */
export class SessionLifecycle implements LateSource, StateWatcher {
  readonly #host: LifecycleHost;
  readonly #writer: SessionWriter;
  #late: LateChanges | undefined;
  readonly #queue: Queue = new Queue();
  #state: SessionState;
  /** Ended by the handler, and still to be ended in the store. */
  readonly #pendingDestroys: SessionState[] = [];
  /** The last step failed. */
  #failure: { readonly error: unknown; readonly promise: ObservedPromise<unknown> } | undefined;
  /** How many of the handler's calls are in progress, and when all of them are done. */
  #running = 0;
  #settled: Promise<unknown> | undefined;
  /** How the commit went, and what happened to the session since. */
  #commitState: 'none' | 'done' | 'failed' = 'none';
  #use: 'none' | 'used' | 'changed' = 'none';

  constructor(host: LifecycleHost, found: Found) {
    this.#host = host;
    this.#writer = new SessionWriter(host);
    this.#state = this.#newState(found);
  }

  /** The data, to read. */
  get tracker(): ChangeTracker {
    if (this.#commitState !== 'none') this.#noticeUse('used');
    return this.#state.tracker;
  }

  /** The data, to change. Throws where this request may not. */
  get writable(): ChangeTracker {
    const blocked = this.#host.blocked();
    if (blocked && !this.#isLate) throw blocked;
    this.#noticeUse('changed');
    return this.#state.tracker;
  }

  get isNew(): boolean {
    return this.#state.loaded === undefined;
  }

  /** The record behind the session, while there is one. */
  get loaded(): Loaded | undefined {
    return this.#state.loaded;
  }

  /** The key of the session that took the place of this one, whose id the request came with. */
  get replacedBy(): string | undefined {
    return this.#state.replacedBy;
  }

  get maxAge(): MaxAge | undefined {
    return this.tracker.get(MAX_AGE_KEY) as MaxAge | undefined;
  }

  set maxAge(value: unknown) {
    const isSet = value !== undefined && value !== null;
    if (isSet) checkMaxAge(value, this.#host.settings.lifetimes.expire);
    if (isSet) this.writable.set(MAX_AGE_KEY, value);
    else this.writable.delete(MAX_AGE_KEY);
    this.#state.renewal = 'due';
  }

  /** `ctx.session = null`: ends this session; what is assigned afterwards belongs to a new one. */
  end(): void {
    this.#host.onMayDiffer();
    this.#pendingDestroys.push(this.#state);
    this.#state = this.#newState(undefined);
    this.#noticeUse('changed');
  }

  save(): Promise<void> {
    return this.#step(async (state) => {
      await this.#writer.store(state, state.tracker.changes());
    });
  }

  destroy(): Promise<void> {
    this.end();
    return this.#step(async () => undefined);
  }

  regenerate(): Promise<void> {
    return this.#step(async (state) => {
      if (state.replacedBy !== undefined) throw this.#writer.gone(state);
      if (state.loaded) await this.#writer.replace(state, SAME_CONTENT); // a new session gets its id with its record
    });
  }

  /** Ends this session in favour of an empty new one. Returns what the former one holds. */
  restart(): Promise<ChangeTracker> {
    return this.#step(async (state) => {
      await this.#writer.restart(state);
      if (state === this.#state) this.#state = this.#newState(undefined);
      return state.tracker;
    });
  }

  /** A new id, with the content that the plan says: a login. The plan is made once it is this step's turn. */
  replace(makePlan: (situation: ReplaceSituation) => Awaitable<ReplacePlan>): Promise<void> {
    return this.#step(async (state) => {
      const blocked = this.#host.blocked();
      if (blocked) throw blocked;
      const { replacedBy, tracker } = state;
      const record = replacedBy ? await this.#host.tokens.load(replacedBy) : undefined;
      const successor = isRecord(record) ? record.entries : undefined;
      const key = state.loaded?.key ?? replacedBy;
      await this.#writer.replace(state, await makePlan({ entries: tracker.stored, successor, key }));
    });
  }

  /**
   * Changes entries in one atomic step, whatever other requests and processes do to them meanwhile. `change` gets the
   * values and returns the new ones, or `DELETED`; it is called again with the actual values where they were others.
   */
  update(keys: readonly string[], change: Change): Promise<unknown[]> {
    return this.#step(async (state) => {
      const blocked = this.#host.blocked();
      if (blocked) throw blocked;
      const { tokens, settings } = this.#host;
      const { turns, encoding } = settings;
      const attempt = (): Promise<boolean> => tryUpdate({ state, writer: this.#writer, encoding }, keys, change);
      if (state.loaded && tokens.store.capabilities.merges)
        await turns.take(state.loaded.key, state.tracker, keys, attempt);
      else await attempt();
      return keys.map((key) => state.tracker.get(key));
    });
  }

  /** Stores whatever is to be stored. No response may be sent before. */
  commit(): Awaitable<void> {
    if (this.#commitState === 'none') this.#commitState = 'done';
    this.#use = 'none';
    if (this.#running > 0) return this.#whenSettled().then(() => this.#queue.run(() => this.#commit()));
    if (this.#queue.isIdle && !this.#failure && !this.#isDue()) return;
    return this.#queue.run(() => this.#commit());
  }

  /** Whether there was a commit: changes since then may be late. */
  get isCommitted(): boolean {
    return this.#commitState !== 'none';
  }

  /** Whether something is to be stored before a response is sent. After a failed commit, only what was changed since. */
  get isUnsaved(): boolean {
    if (!this.#queue.isIdle || this.#running > 0) return true;
    if (this.#commitState === 'done' && this.#writer.isTokenStale(this.#state)) return true;
    if (this.#commitState === 'done' && this.#use === 'none') return false;
    if (this.#commitState === 'failed' && this.#use !== 'changed') return false;
    if (!this.#isDue()) return false;
    try {
      return this.#pendingDestroys.length > 0 || this.#state.renewal === 'due' || !!this.#state.tracker.changes();
    } catch {
      return true; // the commit throws it
    }
  }

  /** The request is over: what changes from now on is late. */
  watchForLateChanges(): void {
    if (this.#commitState === 'none') this.#commitState = 'done';
    this.#watch();
  }

  async settle(): Promise<void> {
    await this.#whenSettled();
    this.#throwUnawaited();
    await this.#queue.run(() => this.#destroyPending());
  }

  unsavedKeys(): string[] {
    if (this.#commitState === 'failed' && this.#use !== 'changed') return []; // the commit has reported them
    return keysOf(this.#state.tracker.changes());
  }

  #watch(): void {
    this.#late ??= new LateChanges(this, (error) => this.#host.report(error));
    this.#late.watch();
  }

  async #commit(): Promise<void> {
    const failure = this.#failure;
    this.#commitState = 'failed';
    this.#throwUnawaited();
    const state = this.#state;
    const changes = state.tracker.changes();
    // The store said so just now: once is enough, for the store and for the app's error listeners.
    const isPending = this.#pendingDestroys.length > 0;
    if (failure?.error instanceof UnavailableError && (changes || isPending)) throw failure.error;
    if (failure?.error instanceof GoneError && changes && !isPending) throw failure.error;
    if (isPending) await this.#destroyPending();
    await this.#writer.store(state, changes);
    if (this.#writer.isRollDue(state)) {
      this.#host.onMayDiffer(); // the token is looked at again before it is sent
      await this.#writer.roll(state);
    }
    if (this.#writer.isTokenStale(state)) await this.#writer.checkToken(state);
    this.#commitState = 'done';
  }

  /** Only then is it known whether one of the calls failed that nothing awaits. */
  async #whenSettled(): Promise<void> {
    while (this.#running > 0) await this.#settled;
  }

  #throwUnawaited(): void {
    const failure = this.#failure;
    if (!failure || failure.promise.isAwaited) return;
    this.#failure = undefined;
    throw failure.error;
  }

  /** Whether anything is to be stored, as far as can be told without a look at the values. */
  #isDue(): boolean {
    const state = this.#state;
    if (state.tracker.mayDiffer || state.renewal === 'due' || this.#pendingDestroys.length > 0) return true;
    return this.#writer.isRollDue(state) || this.#writer.isTokenStale(state);
  }

  /** Ends in the store what the handler ended. */
  async #destroyPending(): Promise<void> {
    for (let state = this.#pendingDestroys[0]; state; state = this.#pendingDestroys[0]) {
      const replacedBy = await this.#writer.end(state);
      this.#pendingDestroys.shift();
      const next = this.#pendingDestroys[0] ?? this.#state;
      if (!next.loaded) next.replacedBy = replacedBy;
    }
  }

  #newState(found: Found): SessionState {
    return new SessionState(found, this.#host.settings.encoding, this);
  }

  onMayDiffer(): void {
    this.#host.onMayDiffer();
  }

  onUnreadable(key: string): void {
    this.#host.tokens.publish('rejected', key, { reason: 'corrupt' });
  }

  #noticeUse(use: 'used' | 'changed'): void {
    if (this.#use !== 'changed') this.#use = use;
    // What a failed commit didn't store has been reported.
    if (this.#isLate && (use === 'changed' || this.#commitState !== 'failed')) this.#watch();
  }

  get #isLate(): boolean {
    return this.#commitState !== 'none' && this.#host.isLate();
  }

  /** Runs a step when it is its turn. */
  #step<T>(work: (state: SessionState) => Promise<T>): Promise<T> {
    const state = this.#state;
    this.#host.onMayDiffer();
    return this.observe(() =>
      this.#queue.run(async () => {
        if (state === this.#state) await this.#destroyPending(); // comes first, also if what follows can't be stored
        return work(state);
      }),
    );
  }

  /** A failure of this work that nothing awaits is thrown by the commit, or reported; it never ends the process. */
  observe<T>(work: () => Promise<T>): Promise<T> {
    const promise = new ObservedPromise<T>((resolve, reject) => work().then(resolve, reject));
    this.#running++;
    const succeed = (): void => {
      this.#running--;
      if (this.#failure?.promise.isAwaited) this.#failure = undefined;
    };
    const fail = (error: unknown): void => {
      this.#running--;
      this.#failure = { error, promise };
      setImmediate(() => {
        if (this.#commitState === 'none' && this.#host.commits) return;
        if (this.#failure?.promise !== promise || promise.isAwaited) return;
        this.#failure = undefined;
        this.#host.report(error);
      });
    };
    const done = Promise.prototype.then.call(promise, succeed, fail); // past `isAwaited`
    this.#settled = this.#running > 1 ? Promise.all([this.#settled, done]) : done;
    return promise;
  }
}

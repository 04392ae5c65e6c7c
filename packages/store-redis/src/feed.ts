import type { ChangeFeed, ChangeListener } from 'koa-wsession/store';
import type { Client, Tracking } from './client.js';
import { messageOf } from './errors.js';

/** Milliseconds after which a connection that doesn't answer is replaced. */
const PATIENCE = 10_000;

/**
 * Which records changed, as Redis itself announces it (`CLIENT TRACKING` with `BCAST`): whatever changes them, this program or
 * another. The announcements have a connection of their own, from the first `subscribe` on.
 */
export class Feed implements ChangeFeed {
  readonly #track: NonNullable<Client['track']>;
  readonly #prefix: string;
  readonly #listeners: Set<ChangeListener> = new Set();
  #tracking: Tracking | undefined;
  #isUp = false;
  /** How often announcements may have been missed. */
  #gaps = 0;
  #hasWarned = false;

  /** `prefix`: all that comes before an address in its key. */
  constructor(track: NonNullable<Client['track']>, prefix: string) {
    this.#track = track;
    this.#prefix = prefix;
  }

  subscribe(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    if (!this.#tracking) this.#open();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.close();
    };
  }

  /**
   * Redis announces at the end of each turn of its event loop. So a reply can overtake an announcement only if the PING was
   * there when the turn began in which the key changed: then it was sent before the change, and need not prove it.
   */
  async sync(): Promise<void> {
    const [gaps, tracking] = [this.#gaps, this.#tracking];
    if (!tracking || !this.#isUp) throw new Error('Redis: there is no connection for announcements');
    const timer = setTimeout(() => gaps === this.#gaps && this.#open(), PATIENCE).unref();
    try {
      await tracking.ping();
    } finally {
      clearTimeout(timer);
    }
    if (gaps !== this.#gaps) throw new Error('Redis: the connection for announcements was lost');
  }

  close(): void {
    this.#tracking?.close();
    this.#tracking = undefined;
    this.#gap(false);
  }

  /** Opens a connection, in place of the present one. */
  #open(): void {
    this.close();
    const isCurrent = (): boolean => tracking === this.#tracking;
    const tracking = this.#track(this.#prefix, {
      ready: () => void (isCurrent() && this.#begin(tracking)),
      lost: (error) => void (isCurrent() && this.#lose(error)),
      changed: (keys) => void (isCurrent() && this.#changed(keys)),
    });
    this.#tracking = tracking;
  }

  async #begin(tracking: Tracking): Promise<void> {
    this.#gap(false);
    const gaps = this.#gaps;
    try {
      await tracking.begin();
      if (gaps === this.#gaps) this.#gap(true);
    } catch (error) {
      this.#lose(error);
    }
  }

  #lose(error: unknown): void {
    this.#gap(false);
    const problem = messageOf(error);
    // Replies of Redis begin with a code; of other problems, the app's own client hears.
    if (!/^[A-Z]+ /.test(problem) || this.#hasWarned) return;
    this.#hasWarned = true;
    const message = `Redis doesn't announce changes, so sessions aren't cached: ${problem}`;
    process.emitWarning(message, { code: 'WSESSION_FEED' });
  }

  #gap(isUp: boolean): void {
    this.#gaps++;
    this.#isUp = isUp;
    for (const listener of this.#listeners) listener.gap();
  }

  #changed(keys: readonly unknown[] | null): void {
    if (keys === null) this.#gap(this.#isUp); // all keys were deleted
    for (const key of keys ?? []) {
      const address = String(key).slice(this.#prefix.length);
      // No other program's, and none of the index.
      if (/^[\w-]{43}$/.test(address)) for (const listener of this.#listeners) listener.changed(address);
    }
  }
}

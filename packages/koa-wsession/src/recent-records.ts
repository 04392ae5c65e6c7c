import type { SessionRecord } from './store/store.js';

/** A moment by both clocks: one can be set, the other may stand still while the machine sleeps. */
export interface Instant {
  readonly steady: number;
  readonly wall: number;
}

export function now(): Instant {
  return { steady: performance.now(), wall: Date.now() };
}

/** Whether less time than that has passed since, whichever clock is asked. */
export function isWithin(milliseconds: number, { steady, wall }: Instant): boolean {
  return performance.now() - steady < milliseconds && Math.abs(Date.now() - wall) < milliseconds;
}

/** A record, or that there is none, and how long that may be used. */
export interface RecentRecord {
  readonly record: SessionRecord | undefined;
  /** When it was asked for or written: at that moment or later, it was what the store has. */
  readonly knownAt: Instant;
  /** Milliseconds from then. */
  readonly kept: number;
  /** How many announcements of its key may be those of the write that made it. */
  announcements: number;
}

/** The records that were used last, as many as fit. */
export class RecentRecords {
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  /** In the order in which they were used last. */
  readonly #records: Map<string, RecentRecord> = new Map();
  #bytes = 0;

  constructor(maxEntries: number, maxBytes: number) {
    this.#maxEntries = maxEntries;
    this.#maxBytes = maxBytes;
  }

  get(key: string): RecentRecord | undefined {
    return this.#records.get(key);
  }

  set(key: string, recent: RecentRecord): void {
    this.delete(key);
    this.#records.set(key, recent);
    this.#bytes += bytesOf(recent);
    for (const oldest of this.#records.keys()) {
      if (this.#records.size <= this.#maxEntries && this.#bytes <= this.#maxBytes) break;
      this.delete(oldest);
    }
  }

  /** The record was used: others go before it. */
  touch(key: string, recent: RecentRecord): void {
    this.#records.delete(key);
    this.#records.set(key, recent);
  }

  delete(key: string): void {
    const recent = this.#records.get(key);
    if (!recent) return;
    this.#records.delete(key);
    this.#bytes -= bytesOf(recent);
  }

  clear(): void {
    this.#records.clear();
    this.#bytes = 0;
  }
}

/** An estimate: two bytes for a character, and some for each object. */
function bytesOf({ record }: RecentRecord): number {
  let bytes = 500;
  for (const [key, value] of record?.entries ?? []) bytes += 100 + 2 * (key.length + value.length);
  return bytes;
}

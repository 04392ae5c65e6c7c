import type { SessionRecord } from './store/store.js';

/** A moment by both clocks: one can be set, the other may stand still while the machine sleeps. */
export interface Instant {
  readonly steady: number;
  readonly wall: number;
}

export function now(): Instant {
  return { steady: performance.now(), wall: Date.now() };
}

/** Whether at `at` less time than that had passed since, whichever clock is asked. */
export function isWithin(milliseconds: number, since: Instant, at: Instant): boolean {
  return at.steady - since.steady < milliseconds && Math.abs(at.wall - since.wall) < milliseconds;
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
  /** Since it last had to make room. */
  isUsed: boolean;
}

/**
 * The records that were used last, as many as fit. The oldest makes room, unless it was used: then it is the newest, as if
 * it were unused. So a use sets a flag, where exact order would rewrite the map.
 */
export class RecentRecords {
  readonly #maxEntries: number;
  readonly #maxBytes: number;
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
    const bytes = bytesOf(recent);
    if (bytes > this.#maxBytes) return;
    for (const [oldest, former] of this.#records) {
      if (this.#records.size < this.#maxEntries && this.#bytes + bytes <= this.#maxBytes) break;
      this.delete(oldest);
      if (former.isUsed) this.#add(oldest, former);
      former.isUsed = false;
    }
    this.#add(key, recent);
  }

  #add(key: string, recent: RecentRecord): void {
    this.#records.set(key, recent);
    this.#bytes += bytesOf(recent);
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
  // Not `for … of`, which makes an array of each entry.
  record?.entries.forEach((value, key) => {
    bytes += 100 + 2 * (key.length + value.length);
  });
  return bytes;
}

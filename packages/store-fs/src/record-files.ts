import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Call, type None, packRecord, type SessionRecord, unpackRecord } from 'koa-wsession';
import { codeOf, readText, removeFile, replaceFile } from './atomic-file.js';
import type { Lock, Locks } from './lock.js';

/** A file that nobody else changes, and what to do with it. */
export interface HeldFile {
  /** What it holds; `undefined` for whatever counts as no record. */
  readonly record: SessionRecord | undefined;
  write(record: SessionRecord): Promise<void>;
  remove(): Promise<void>;
}

/** Files of one kind, in one folder: each holds the record of the address that is in its name. */
export class RecordFiles {
  readonly #before: string;
  readonly #after: string;
  readonly #locks: Locks;
  readonly #flush: boolean;

  /** `flush`: whether to wait until the disk has what is written. */
  constructor(directory: string, prefix: string, suffix: string, options: { locks: Locks; flush: boolean }) {
    this.#before = join(directory, prefix);
    this.#after = suffix;
    this.#locks = options.locks;
    this.#flush = options.flush;
  }

  /** The record as it is now. Takes no lock: a file is only ever replaced as a whole. */
  async read(address: string): Promise<SessionRecord | None> {
    if (!isAddress(address)) return undefined;
    const text = await readText(this.#pathOf(address));
    if (text === undefined) return undefined;
    const record = unpackRecord(address, text);
    if (!record) return 'corrupt';
    return Date.now() < record.expiresAt ? record : 'expired';
  }
}

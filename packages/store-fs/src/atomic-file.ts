import { isUtf8 } from 'node:buffer';
import fs from 'node:fs';
import { mkdir, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

/* Files that are there as a whole or not at all. By descriptors: under load, a FileHandle costs twice the time. */

const open = promisify(fs.open);
const read = promisify(fs.read);
const fstat = promisify(fs.fstat);
const fsync = promisify(fs.fsync);
const close = promisify(fs.close);
const writeFile = promisify(fs.writeFile);

/** Follows no link, and waits for no pipe. (Windows knows neither flag.) */
const TO_READ: number = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;

/** A link, a folder, a pipe, a socket. (EMLINK is FreeBSD's ELOOP.) */
const NO_FILE: ReadonlySet<unknown> = new Set(['ELOOP', 'EMLINK', 'EISDIR', 'EAGAIN', 'ENXIO']);

/** Room for most sessions, so that one call reads them. */
const USUAL_BYTES = 8192;

const NOTHING: Buffer = Buffer.alloc(0);

/** What is larger is neither written nor read, since that takes all of it in memory. */
const MAX_BYTES: number = 64 * 1024 * 1024;

/**
 * A file's text; `undefined` where there is none, and `''` for what is none of ours: not a regular file, not UTF-8,
 * over 64 MiB. Throws where that can't be told.
 */
export async function readText(path: string): Promise<string | undefined> {
  try {
    const bytes = await readBytes(path);
    // A record measures itself in characters, and half of one at a torn end would be decoded into a whole one.
    return isUtf8(bytes) ? bytes.toString() : '';
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    if (NO_FILE.has(codeOf(error))) return '';
    throw error;
  }
}

async function readBytes(path: string): Promise<Buffer> {
  const file = await open(path, TO_READ);
  try {
    const start = Buffer.allocUnsafe(USUAL_BYTES);
    const { bytesRead } = await read(file, start, 0, USUAL_BYTES, null);
    if (bytesRead < USUAL_BYTES) return start.subarray(0, bytesRead);

    const { size } = await fstat(file);
    if (size < USUAL_BYTES || size > MAX_BYTES) return NOTHING; // devices have no size
    const whole = Buffer.allocUnsafe(size);
    let length = start.copy(whole);
    while (length < size) {
      const { bytesRead } = await read(file, whole, length, size - length, null);
      if (bytesRead === 0) return NOTHING;
      length += bytesRead;
    }
    return whole;
  } finally {
    await close(file);
  }
}

/** How a file is changed. */
export interface Change {
  /** Confirms right before the step that readers see that it may be taken, or throws. */
  readonly guard: { confirm(): Promise<void> };
  /** Whether to wait until the disk has it. */
  readonly flush: boolean;
}

/**
 * Gives a file, which need not be there, this text: for readers all at once.
 * `temporary` is a name in the same folder that nobody else uses.
 * @throws RangeError over 64 MiB, which `readText` would not read
 */
export async function replaceFile(
  path: string,
  text: string,
  { temporary, guard, flush }: Change & { readonly temporary: string },
): Promise<void> {
  const bytes = Buffer.from(text);
  if (bytes.length > MAX_BYTES)
    throw new RangeError(
      `A session of ${bytes.length} bytes is too large for a file, which takes ${MAX_BYTES}`,
    );
  try {
    await writeFile(temporary, bytes, { flag: 'wx', mode: 0o600, flush });
    await guard.confirm();
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {}); // there is none, or the sweep removes it
    throw error;
  }
  if (flush) await flushFolder(dirname(path));
}

/** Removes a file that is there. */
export async function removeFile(path: string, { guard, flush }: Change): Promise<void> {
  await guard.confirm();
  await unlink(path);
  if (flush) await flushFolder(dirname(path));
}

/** Makes a folder, and those above it that aren't there either. */
export async function makeFolder(path: string, flush: boolean): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (!flush || first === undefined) return;
  // Each is a name in the one above, which has to be on the disk before what is stored in it counts as such.
  for (let made = path; made.length >= first.length; made = dirname(made)) await flushFolder(dirname(made));
}

/** The flushes of folders that are at work, and those that begin when these are done. */
const running: Map<string, Promise<void>> = new Map();
const waiting: Map<string, Promise<void>> = new Map();

/**
 * Waits until the disk has the names in a folder, too: only then does a renamed or removed file stay so. One flush does
 * it for all that came before it began.
 */
function flushFolder(path: string): Promise<void> {
  const next = waiting.get(path) ?? flushAfter(running.get(path), path);
  waiting.set(path, next);
  return next;
}

async function flushAfter(before: Promise<void> | undefined, path: string): Promise<void> {
  await before?.catch(() => {}); // that concerns others
  waiting.delete(path);
  const flush = flushNow(path);
  running.set(path, flush);
  try {
    await flush;
  } finally {
    if (running.get(path) === flush) running.delete(path);
  }
}

async function flushNow(path: string): Promise<void> {
  if (process.platform === 'win32') return; // has no call for it
  const folder = await open(path, fs.constants.O_RDONLY);
  try {
    await fsync(folder);
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error; // nor have some file systems
  } finally {
    await close(folder);
  }
}

/** A system error's code. */
export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

import { isUtf8 } from 'node:buffer';
import fs, { closeSync, fstatSync, renameSync, unlinkSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { codeOf } from './errors.js';
import { flushFolder } from './folder.js';

/*
 * Files that are there as a whole or not at all. By descriptors: under load, a FileHandle costs twice the time.
 *
 * Calls that may have to wait for the disk run in Node's thread pool. `close` and `fstat` need only what `open` has brought
 * into memory: there, the way to the pool and back would cost ten times the call.
 */

const open = promisify(fs.open);
const read = promisify(fs.read);
const write = promisify(fs.write);
const fsync = promisify(fs.fsync);

/** Follows no link, and waits for no pipe. (Windows has neither flag.) */
const TO_READ: number = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;

/** The file must be new. */
const TO_WRITE: number = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL;

/** Where this is all that `fsync` does, each write waits for the disk by itself (open(2)). */
const SYNC: number = process.platform === 'linux' ? fs.constants.O_SYNC : 0;

/** A link, a folder, a pipe, a socket. (EMLINK is FreeBSD's ELOOP.) */
const NO_FILE: ReadonlySet<unknown> = new Set(['ELOOP', 'EMLINK', 'EISDIR', 'EAGAIN', 'ENXIO']);

/** Room for most sessions, so that one call reads them. */
const USUAL_BYTES = 8192;

const NOTHING: Buffer = Buffer.alloc(0);

/** Larger files are neither written nor read, since either takes all of it in memory. */
const MAX_BYTES: number = 64 * 1024 * 1024;

/**
 * A file's text. `undefined` where there is no file; `''` where it can't be one of the store's: not a regular file, not
 * UTF-8, over 64 MiB. Throws where that can't be told.
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

    const { size } = fstatSync(file);
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
    closeSync(file);
  }
}

/** How a file is changed. */
export interface Change {
  /** `renew` prepares the step that readers see; `assertHeld` throws unless the step may still be taken. */
  readonly guard: { renew(): Promise<void>; assertHeld(): void };
  /** Whether to wait until the disk has it. */
  readonly flush: boolean;
}

/**
 * Gives a file this text, for readers all at once. The file need not exist. `temporary` is a name in the same folder that
 * no other call uses.
 *
 * The rename is synchronous, so that it follows the guard's check without waiting for a free thread.
 * @throws RangeError over 64 MiB, which `readText` would not read
 */
export async function replaceFile(
  path: string,
  text: string,
  { temporary, mode, guard, flush }: Change & { readonly temporary: string; readonly mode: number },
): Promise<void> {
  const bytes = Buffer.from(text);
  if (bytes.length > MAX_BYTES)
    throw new RangeError(`The session takes ${bytes.length} bytes; a session file holds at most ${MAX_BYTES}`);
  try {
    await writeNew(temporary, bytes, mode, flush);
    await guard.renew();
    guard.assertHeld();
    renameSync(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {}); // there is none, or the sweep removes it
    throw error;
  }
  if (flush) await flushFolder(dirname(path));
}

/** Makes a file that must not exist. */
async function writeNew(path: string, bytes: Buffer, mode: number, flush: boolean): Promise<void> {
  const file = await open(path, flush ? TO_WRITE | SYNC : TO_WRITE, mode);
  try {
    for (let at = 0; at < bytes.length; ) at += (await write(file, bytes, at, bytes.length - at, null)).bytesWritten;
    if (flush && SYNC === 0) await fsync(file);
  } finally {
    closeSync(file);
  }
}

/** Removes a file that exists; synchronously, for the same reason. */
export async function removeFile(path: string, { guard, flush }: Change): Promise<void> {
  await guard.renew();
  guard.assertHeld();
  unlinkSync(path);
  if (flush) await flushFolder(dirname(path));
}

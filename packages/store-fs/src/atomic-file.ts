import { isAscii, isUtf8 } from 'node:buffer';
import fs, { closeSync, fstatSync, renameSync, unlinkSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import { giveBack, takeBuffer } from './buffers.js';
import { codeOf } from './errors.js';
import type { Lock } from './lock.js';

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

const encoder = new TextEncoder();

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

/** Larger files are neither written nor read, since either takes all of it in memory. */
const MAX_BYTES: number = 64 * 1024 * 1024;

/**
 * A file's text. `undefined` where there is no file; `''` where it can't be one of the store's: not a regular file, not
 * UTF-8, over 64 MiB. Throws where that can't be told.
 */
export async function readText(path: string): Promise<string | undefined> {
  try {
    return await readAll(await open(path, TO_READ));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    if (NO_FILE.has(codeOf(error))) return '';
    throw error;
  }
}

async function readAll(file: number): Promise<string> {
  const start = takeBuffer(USUAL_BYTES);
  try {
    const { bytesRead } = await read(file, start, 0, start.length, null);
    if (bytesRead < start.length) return decode(start.subarray(0, bytesRead));

    const { size } = fstatSync(file);
    if (size < start.length || size > MAX_BYTES) return ''; // devices have no size
    const whole = Buffer.allocUnsafeSlow(size);
    let length = start.copy(whole);
    while (length < size) {
      const { bytesRead } = await read(file, whole, length, size - length, null);
      if (bytesRead === 0) return '';
      length += bytesRead;
    }
    return decode(whole);
  } finally {
    giveBack(start);
    closeSync(file);
  }
}

function decode(bytes: Buffer): string {
  // A record measures itself in characters, and half of one at a torn end would be decoded into a whole one.
  return isAscii(bytes) ? bytes.toString('latin1') : isUtf8(bytes) ? bytes.toString() : '';
}

/**
 * Gives a file this text, for readers all at once. The file need not exist.
 * With `flush`, waits until the disk has the content; its name takes a flush of the folder.
 *
 * The rename is synchronous, so that it follows the lock's check without waiting for a free thread.
 * @throws RangeError over 64 MiB, which `readText` would not read
 */
export function replaceFile(path: string, text: string, mode: number, flush: boolean, lock: Lock): Promise<void> {
  // Not async, so that the text needn't stay in memory while the disk works.
  const buffer = takeBuffer(text.length);
  const { read, written } = encoder.encodeInto(text, buffer);
  const bytes = read === text.length ? buffer.subarray(0, written) : Buffer.from(text);
  return replaceWith(path, bytes, mode, flush, lock).finally(() => giveBack(buffer));
}

async function replaceWith(path: string, bytes: Buffer, mode: number, flush: boolean, lock: Lock): Promise<void> {
  if (bytes.length > MAX_BYTES)
    throw new RangeError(`The session takes ${bytes.length} bytes; a session file holds at most ${MAX_BYTES}`);
  const temporary = `${path}.${lock.identity}.tmp`;
  try {
    const file = await open(temporary, flush ? TO_WRITE | SYNC : TO_WRITE, mode);
    try {
      for (let at = 0; at < bytes.length; ) at += (await write(file, bytes, at, bytes.length - at, null)).bytesWritten;
      if (flush && SYNC === 0) await fsync(file);
    } finally {
      closeSync(file);
    }
    await lock.renew();
    lock.assertHeld();
    renameSync(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {}); // there is none, or the sweep removes it
    throw error;
  }
}

/** Removes a file that exists; synchronously, for the same reason. */
export async function removeFile(path: string, lock: Lock): Promise<void> {
  await lock.renew();
  lock.assertHeld();
  unlinkSync(path);
}

/** Bytes of a buffer that is used again: room for nearly all sessions. It takes memory only where it was written to. */
export const ROOM: number = 128 * 1024;

/** As many as a busy server uses at the same time. */
const MAX_SPARE = 64;

const spare: Buffer[] = [];

/**
 * A buffer of `ROOM` bytes, or of more where that is too few, with anything in it. A new one costs more than the call that
 * fills it, and keeps the collector busy.
 */
export function takeBuffer(bytes: number): Buffer {
  return bytes > ROOM ? Buffer.allocUnsafeSlow(bytes) : (spare.pop() ?? Buffer.allocUnsafeSlow(ROOM));
}

/**
 * For the next caller: neither this one, nor a call that it made, may use the buffer any more. One that never comes back,
 * since a call failed, is left to the collector.
 */
export function giveBack(buffer: Buffer): void {
  if (buffer.length === ROOM && spare.length < MAX_SPARE) spare.push(buffer);
}

/** Bytes of a buffer that is used again: room for nearly all sessions. It takes memory only where it was written to. */
const ROOM: number = 128 * 1024;

/** So many are made: what a busy server uses at the same time. */
const MOST = 64;

const spare: Buffer[] = [];
let made = 0;

/**
 * A buffer of so many bytes or more, with anything in it. A new one costs more than the call that fills it, and keeps the
 * collector busy.
 */
export function takeBuffer(bytes: number): Buffer {
  if (bytes > ROOM) return Buffer.allocUnsafe(bytes);
  return spare.pop() ?? Buffer.allocUnsafeSlow(made++ < MOST ? ROOM : bytes);
}

/** For the next caller: neither this one, nor a call that it made, may use the buffer any more. */
export function giveBack(buffer: Buffer): void {
  if (buffer.length === ROOM) spare.push(buffer);
}

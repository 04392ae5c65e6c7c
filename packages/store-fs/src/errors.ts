/** A lock that didn't become free in time, or that was held for too long. */
export class LockError extends Error {
  readonly code: string = 'ELOCKED';
  override readonly name: string = 'LockError';
}

/** A step that no caller waits for any more. */
export class TimeoutError extends Error {
  readonly code: string = 'ETIMEDOUT';
  override readonly name: string = 'TimeoutError';
}

/** @throws TimeoutError from `deadline` on, in `performance.now()` milliseconds */
export function assertInTime(deadline: number): void {
  if (performance.now() >= deadline) throw new TimeoutError('File access abandoned: the request timed out');
}

/** A system error's code. */
export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/** For `catch`: takes a missing file as `undefined`. */
export function unlessMissing(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error;
}

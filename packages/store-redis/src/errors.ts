/** A reply that none of the store's scripts makes, from Redis or a program in its place. It says nothing of a session. */
export class ReplyError extends Error {
  constructor() {
    super("Redis: the reply isn't one of this store's scripts");
  }
}

/** Redis doesn't know the script: it is new, or Redis was restarted, failed over or told to forget its scripts. */
export function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}

/**
 * The message and nothing else: errors of ioredis carry the command, and with it addresses and session data. So does
 * the message where Redis doesn't know the command.
 */
export function toPlainError(error: unknown): Error {
  return new Error(`Redis: ${messageOf(error).replace(/,? with args.*|\.$/is, '')}`);
}

/** Of several errors, such as those of a host with several addresses or of a Cluster's servers, one. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return 'the client threw a non-Error value';
  const { errors, lastNodeError } = error as { errors?: unknown; lastNodeError?: unknown };
  const cause = Array.isArray(errors) ? errors[0] : lastNodeError;
  return cause instanceof Error ? cause.message : error.message;
}

/** Redis, or whoever spoke in its place, answered what none of our scripts does: that tells nothing of the session. */
export class ReplyError extends Error {
  constructor() {
    super("Redis: the answer isn't one of this store's scripts");
  }
}

export function toList(reply: unknown): Array<string | null> {
  const isItem = (item: unknown): boolean => typeof item === 'string' || item === null;
  if (!Array.isArray(reply) || !reply.every(isItem)) throw new ReplyError();
  return reply;
}

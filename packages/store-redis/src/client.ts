/** Until when a command may be sent, in `performance.now()` milliseconds: 0 as soon as no caller waits for it any more. */
export interface Limit {
  deadline: number;
}

/** Sends a command, and never after its limit. */
export type Send = (line: readonly string[], limit: Limit) => Promise<unknown>;

/** What differs between the clients. */
export interface Client {
  /** `ready`, or what the client does instead. */
  readonly status: string;
  /** Why the client won't connect by itself, and what to do; `undefined` while it might. */
  readonly closed: string | undefined;
  /** What the client puts before every key. */
  readonly keyPrefix: string;
  /** Calls `wake` at least when the client has become ready or closed, and `note` with errors of the connection. */
  listen(how: 'on' | 'off', wake: () => void, note: (error: unknown) => void): void;
  /** Connects a client that leaves this to the first command. */
  connect(): void;
  /** Sends a command to the master of its key. */
  send(line: readonly string[], limit: Limit, key: string): Promise<unknown>;
  /** How to send commands without keys to each server that takes writes: one, or the masters of a Cluster. */
  primaries(): Promise<Send[]>;
  /**
   * Opens a connection on which the server announces the keys that begin with a prefix and change. A client for a Cluster
   * has none: each server announces its own keys only, and keys move.
   */
  readonly track: ((prefix: string, listener: TrackingListener) => Tracking) | undefined;
}

/** A connection of its own on which the server announces keys that change. */
export interface Tracking {
  /** Has the server begin, once the connection is there. */
  begin(): Promise<unknown>;
  /** Resolves after all announcements of changes that were made before. */
  ping(): Promise<unknown>;
  close(): void;
}

/** What a {@link Tracking} calls, never before it is returned. */
export interface TrackingListener {
  /** The connection is there, for the first time or again. */
  ready(): void;
  /** The connection was lost, or refused. */
  lost(error?: unknown): void;
  /** These keys changed; `null`: any may have. */
  changed(keys: readonly unknown[] | null): void;
}

/** The milliseconds until a deadline (`performance.now()` milliseconds) as a timer takes them. */
export function millisecondsUntil(deadline: number): number {
  return Math.min(Math.ceil(deadline - performance.now()), 2 ** 31 - 1);
}

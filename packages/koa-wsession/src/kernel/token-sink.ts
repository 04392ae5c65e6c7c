import { LateError, NoResponseError, type SessionError } from '../errors.js';

/** Where the visitor's token goes. The session decides what to write, and knows no response. */
export interface TokenSink {
  /** Why no token can be written (any more); `undefined` while one can. `keys`: what is lost, for the error to name. */
  refusal(keys: readonly string[]): SessionError | undefined;
  /** Throws a CookieSizeError for a token that doesn't fit; `sizes` says which keys take how many bytes. */
  assertFits(token: string, sizes: () => ReadonlyArray<readonly [key: string, bytes: number]>): void;
  /** `maxAge` in seconds; `undefined`: until the browser is closed. */
  write(token: string, maxAge: number | undefined): void;
  /** Has the visitor forget the token. */
  clear(): void;
  /** Undoes `write` and `clear`. */
  retract(): void;
}

/** For a session that was opened without a response. */
export const NO_RESPONSE: TokenSink = {
  refusal: (keys) => new NoResponseError(keys),
  assertFits: () => undefined,
  write: () => undefined,
  clear: () => undefined,
  retract: () => undefined,
};

/** For a request whose connection was upgraded: a WebSocket's handshake is the last response there is. */
export const UPGRADED: TokenSink = { ...NO_RESPONSE, refusal: (keys) => new LateError(keys) };

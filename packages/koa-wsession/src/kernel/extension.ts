import type { IncomingMessage } from 'node:http';
import type { SessionError } from '../errors.js';
import type { Entries } from '../store/store.js';
import type { RejectionReason } from './observer.js';
import type { Loaded, TokenStore } from './token-store.js';

/** What a feature adds to what the kernel does with a request's session. */
export interface Extension {
  /**
   * Judges the record that the request's token leads to, when the session is used first. A reason: the visitor is an
   * anonymous one. An error: using the session throws it.
   */
  admit(loaded: Loaded, request: ExtendedRequest): RejectionReason | SessionError | undefined;
  /** What a login stores besides, and what happens once that is stored. */
  beginLogIn(request: ExtendedRequest): LogInExtension | undefined;
}

export interface LogInExtension {
  readonly entries: Entries;
  onStored(): void;
}

/** What an extension sees of a request. */
export interface ExtendedRequest {
  readonly req: IncomingMessage;
  readonly tokens: TokenStore;
  /** Whether it came over https. */
  readonly secure: boolean;
  /** Sends a header line besides the token; nothing once the headers are out. */
  addHeader(name: string, value: string): void;
}

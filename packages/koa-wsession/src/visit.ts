import type { IncomingMessage, ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import type Koa from 'koa';
import { isPromise } from './ask.js';
import { NO_RESPONSE, ResponseCarrier } from './carrier.js';
import { Lifecycle } from './commit.js';
import { deletionOf, readCookies } from './cookie.js';
import { type Found, findSession } from './lookup.js';
import { type Settings, signerOf } from './options.js';
import { exposeSession, replaceContent } from './session.js';
import type { Awaitable } from './store.js';
import type { Signer } from './token.js';
import type { Transport } from './transport.js';
import type { Session, SessionData } from './types.js';

/** What a visit needs of a request: of Koa's `ctx`, or of what stands in its place outside Koa. */
export interface Surroundings {
  readonly req: IncomingMessage;
  readonly res: ServerResponse | undefined;
  /** Whether the request came over https. */
  readonly secure: boolean;
  readonly app: {
    readonly keys?: object;
    emit(event: 'error', error: unknown, surroundings: Surroundings): unknown;
  };
}

/** One request's session, from its token to the response: loaded early or late, handed out on the first touch, finished. */
export class Visit {
  readonly #at: Surroundings;
  readonly #settings: Settings;
  #arrival: Arrival | undefined;
  #found: Found | undefined;
  #lifecycle: Lifecycle | undefined;
  #carrier: ResponseCarrier | undefined;
  /** Why it couldn't be loaded. */
  #failure: { readonly error: unknown } | undefined;
  #touched = false;
  #finished = false;
  #session: Session | undefined;

  constructor(at: Surroundings, settings: Settings) {
    this.#at = at;
    this.#settings = settings;
  }

  /** Loads ahead of the handler, where the store has to be waited for. An outage concerns only those who touch. */
  preload(): Awaitable<void> {
    if (this.#settings.store.capabilities.seals || this.#arrive().tokens.length === 0) return;
    try {
      const answer = this.#find();
      if (isPromise(answer)) {
        return answer.then(
          (found) => {
            this.#found = found;
          },
          (error) => {
            this.#failure = { error };
          },
        );
      }
      this.#found = answer;
    } catch (error) {
      this.#failure = { error };
    }
  }

  /** Asks the app for the content of a session that the visitor has elsewhere, where he has none of ours. */
  async adopt(ctx: Koa.Context): Promise<void> {
    const { adopt, adopted } = this.#settings;
    const header = ctx.req.headers.cookie;
    const sent = adopted?.filter((name) => header !== undefined && readCookies(header, name).length > 0);
    if (!adopt || sent?.length === 0 || this.#failure || this.#insecure) return;
    this.#lifecycle ??= this.#open();
    if (!this.#lifecycle.isNew) return;
    const content = await adopt(ctx);
    try {
      if (content !== undefined) replaceContent(this.#touch(), content);
      await this.#lifecycle.save();
    } catch (error) {
      this.#failure = { error };
      this.#touched = false; // by us, not by the handler
      return;
    }
    for (const name of sent ?? []) this.#carrier?.keep(deletionOf(name, attributesOfOld(name)));
  }

  get session(): Session {
    this.#session ??= exposeSession(this.#touch());
    return this.#session;
  }

  set session(content: SessionData | null) {
    if (content === null) this.#touch().end();
    else replaceContent(this.#touch(), content);
  }

  /** Stores what is to be stored. Nothing of the response may be sent before. */
  finish(failure: { readonly error: unknown } | undefined): Awaitable<void> {
    this.#finished = true;
    if (!this.#touched || !this.#lifecycle) return;
    const storing = this.#lifecycle.finish();
    return storing ? this.#settle(storing, failure) : this.#carrier?.restore();
  }

  async #settle(storing: Promise<void>, failure: { readonly error: unknown } | undefined): Promise<void> {
    try {
      await storing;
    } catch (error) {
      // What the visitor has to know first is that nothing was stored; what the handler threw must not go unseen.
      if (failure && failure.error !== error) this.#report(failure.error);
      throw error;
    }
    this.#carrier?.restore();
  }

  /** The response's body goes out while the handler is still at work, and may change the session. */
  watchStream(): void {
    this.#at.res?.once('close', () => {
      if (this.#touched) this.#lifecycle?.watchForLateChanges();
    });
  }

  #touch(): Lifecycle {
    if (this.#failure) throw this.#failure.error;
    if (!this.#touched || !this.#lifecycle) {
      this.#touched = true;
      this.#lifecycle ??= this.#open();
      this.#carrier?.begin();
      if (this.#finished) this.#lifecycle.markFinished();
    }
    return this.#lifecycle;
  }

  /** The tokens that came, and the way they came, which is the way back. */
  #arrive(): Arrival {
    this.#arrival ??= this.#read();
    return this.#arrival;
  }

  #read(): Arrival {
    const { transports } = this.#settings;
    for (const transport of transports) {
      const tokens = this.#insecure ? [] : transport.read(this.#at.req);
      if (tokens) return { transport, tokens };
    }
    return { transport: transports[transports.length - 1] as Transport, tokens: [] };
  }

  #find(): Awaitable<Found | undefined> {
    const { transport, tokens } = this.#arrive();
    return findSession(this.#settings, this.#signer, tokens, transport.limit - transport.overhead);
  }

  #open(): Lifecycle {
    const settings = this.#settings;
    const { res } = this.#at;
    if (res) this.#carrier = new ResponseCarrier(res, this.#arrive().transport, settings.vary);
    const opening = {
      settings,
      signer: this.#signer,
      carrier: this.#carrier ?? NO_RESPONSE,
      insecure: this.#insecure,
      onLate: (error: unknown) => this.#report(error),
    };
    // A store that seals answers at once, and is not asked before.
    const found = settings.store.capabilities.seals ? (this.#find() as Found | undefined) : this.#found;
    return new Lifecycle(opening, found);
  }

  get #signer(): Signer | undefined {
    return signerOf(this.#settings, this.#at.app.keys);
  }

  get #insecure(): boolean {
    return this.#settings.store.secure && !this.#at.secure;
  }

  #report(error: unknown): void {
    const reported = error instanceof Error ? error : new Error(`non-error thrown: ${inspect(error)}`);
    this.#at.app.emit('error', reported, this.#at);
  }
}

/** A cookie can only be deleted with what its name demands (RFC 6265bis, 4.1.3). */
function attributesOfOld(name: string): string {
  return /^__(host|secure)-/i.test(name) ? '; Path=/; Secure' : '; Path=/';
}

interface Arrival {
  readonly transport: Transport;
  readonly tokens: readonly string[];
}

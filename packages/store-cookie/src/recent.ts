import type { SessionRecord } from 'koa-wsession';

/** Characters of the tokens in one half. With what they hold, and for small sessions, both halves take 4 MB, and never over 8. */
const HALF_SIZE = 2 ** 19;

/**
 * What tokens that came or went lately hold, so that a visitor who clicks along isn't decrypted at each click, and a
 * request that writes not twice. (Measured over HTTP, that is a quarter of what a session costs.)
 *
 * It has two halves: what is used gets into the young one; when that is full, it becomes the old one, and what nobody
 * used meanwhile goes. Whether they still count is for others to say.
 */
export class Recent {
  #young: Map<string, Opened> = new Map();
  #old: Map<string, Opened> = new Map();
  #size = 0;

  get(name: string, token: string): Opened | undefined {
    const young = this.#young.get(token);
    const found = young ?? this.#old.get(token);
    if (found?.name !== name) return undefined; // a token counts under one name only
    if (!young) this.set(token, found);
    return found;
  }

  set(token: string, opened: Opened): void {
    if (this.#size >= HALF_SIZE) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#size = 0;
    }
    // A copy: a token cut out of a request's header keeps all of the header in memory.
    this.#young.set(Buffer.from(token, 'latin1').toString('latin1'), opened);
    this.#size += token.length;
  }
}

/** What a token holds. It is shared by all requests that bring it, and nobody changes it. */
export interface Opened {
  /** The session's name under which the token opens. */
  readonly name: string;
  /** The session's address. */
  readonly owner: string;
  readonly record: SessionRecord;
}

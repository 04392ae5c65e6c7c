import { Client, type ClientResponse } from 'testkit/http';

/** A logged-in visitor that counts with `update()`, sets keys, and remembers what was acknowledged. */
export class Visitor {
  /** Responses by status. */
  readonly statuses: Map<number, number> = new Map();
  /** Whether a response was that of another session, or of none. */
  loggedOut = false;
  readonly #name: string;
  readonly #client: Client;
  #cookie = '';
  #counted = 0;
  /** Counts without a 200: each may have been done or not. */
  #unknown = 0;
  #sent = 0;
  readonly #kept: Set<string> = new Set();

  constructor(name: string, url: string) {
    this.#name = name;
    this.#client = new Client(url);
  }

  async login(): Promise<void> {
    const { status } = await this.#client.post(`/login/${this.#name}`);
    if (status !== 200) throw new Error(`The login failed with ${status}.`);
    this.#cookie = this.#client.cookie;
  }

  /** Four requests at once, to four servers. */
  async turn(): Promise<void> {
    const key = this.#sent++;
    const [, kept, ...counts] = await Promise.all([
      this.#ask('GET', '/'),
      this.#ask('POST', `/keep/${key}`),
      this.#ask('POST', '/count'),
      this.#ask('POST', '/count'),
    ]);
    if (kept.status === 200) this.#kept.add(`own-${key}`);
    for (const { status } of counts) {
      if (status === 200) this.#counted++;
      else this.#unknown++;
    }
  }

  get acknowledged(): number {
    return this.#counted + this.#kept.size;
  }

  /** How many of the acknowledged updates are missing from the session. */
  async lost(): Promise<number> {
    const response = await this.#ask('GET', '/');
    if (response.status !== 200) throw new Error(`The last page failed with ${response.status}.`);
    const { counter = 0, ...session } = response.json();
    if (counter > this.#counted + this.#unknown) throw new Error(`${this.#name} was counted twice.`);
    const missing = [...this.#kept].filter((key) => !(key in session));
    return Math.max(0, this.#counted - counter) + missing.length;
  }

  async #ask(method: string, path: string): Promise<ClientResponse> {
    const response = await this.#client.request(method, path);
    this.statuses.set(response.status, (this.statuses.get(response.status) ?? 0) + 1);
    if (this.#client.cookie !== this.#cookie) this.loggedOut = true;
    if (response.status === 200 && response.json().user !== this.#name) this.loggedOut = true;
    return response;
  }
}

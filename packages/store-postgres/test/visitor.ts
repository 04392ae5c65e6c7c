import { expect } from 'chai';
import type { Store } from 'koa-wsession/store';
import { Client, type Served, serve } from 'testkit/http';
import { counterApp } from './app.js';
import { type ClientName, type ClientOptions, clients, type TestClient, until } from './support.js';

const TIMEOUT = 750;
/** What a busy machine may add. */
const SLACK = 8000;

/** One app and one visitor of it, who knows what the app acknowledged. */
export class AppUnderTest {
  readonly #client: TestClient;
  readonly store: Store & { migrate(): Promise<void>; close(): void };
  readonly #served: Served;
  readonly visitor: Client;
  acknowledged = 0;

  private constructor(client: TestClient, store: AppUnderTest['store'], served: Served) {
    this.#client = client;
    this.store = store;
    this.#served = served;
    this.visitor = new Client(served);
  }

  static async start(name: ClientName, options: ClientOptions, timeout = TIMEOUT): Promise<AppUnderTest> {
    const client = clients[name](options);
    const store = client.store();
    return new AppUnderTest(client, store, await serve(counterApp(store, timeout)));
  }

  async stop(): Promise<void> {
    await this.#served.close();
    this.store.close();
    await this.#client.end();
  }

  async count(): Promise<void> {
    const response = await this.visitor.get('/count');
    expect(response.status).to.equal(200);
    this.acknowledged = response.json().counter;
  }

  async read(): Promise<number | undefined> {
    const response = await this.visitor.get('/read');
    expect(response.status).to.equal(200);
    return response.json().counter;
  }

  /** A request that doesn't use the session responds as usual. */
  async expectUntouched(): Promise<void> {
    const { cookie } = this.visitor;
    const { status, body, setCookie } = await this.visitor.get('/untouched');
    expect([status, body, setCookie]).to.deep.equal([200, 'untouched', []]);
    expect(this.visitor.cookie).to.equal(cookie);
  }

  /** One that does is a 503 in time, and the visitor keeps the cookie. */
  async expectRefused(path: string, visitor: Client = this.visitor): Promise<void> {
    const { cookie } = visitor;
    const began = performance.now();
    const { status, setCookie } = await visitor.get(path);
    expect(performance.now() - began, path).to.be.below(TIMEOUT + SLACK);
    expect([status, setCookie], path).to.deep.equal([503, []]);
    expect(visitor.cookie).to.equal(cookie);
  }

  async expectAllRefused(): Promise<void> {
    await Promise.all([
      this.expectUntouched(),
      ...['/count', '/read', '/update', '/regenerate', '/logout'].map((path) => this.expectRefused(path)),
      this.expectRefused('/count', new Client(this.#served)),
    ]);
  }

  /** Reading works, and nothing of what is refused is stored. */
  async expectReadOnly(): Promise<void> {
    const before = await this.read();
    await this.expectUntouched();
    for (const path of ['/count', '/update', '/regenerate', '/logout']) await this.expectRefused(path);
    await this.expectRefused('/count', new Client(this.#served));
    expect(await this.read()).to.equal(before);
  }

  /** Without a new client, process or cookie, and with all that was acknowledged. */
  async expectRecovered(): Promise<void> {
    await until('it recovers', async () => (await this.visitor.get('/read')).status === 200);
    const { acknowledged } = this;
    await this.count();
    // What was a 503 may have been stored.
    expect(this.acknowledged).to.be.above(acknowledged);
    await this.count();
  }
}

import { connect } from 'node:net';

/**
 * One connection that stays open, one request at a time, and a cookie jar of names and values only: as little work as
 * possible, since the servers must not wait for the client.
 */
class Browser {
  #socket;
  #cookies = new Map();
  #cookieHeader = '';
  #received = '';
  #waiting;
  #keepsCookies;

  constructor(port, { keepsCookies }) {
    this.#keepsCookies = keepsCookies;
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (text) => this.#receive(text));
    this.#socket.on('error', (error) => this.#waiting?.reject(error));
    this.#socket.on('close', () => this.#waiting?.reject(new Error('The server closed the connection.')));
  }

  /** Length of the value of the header `Cookie`. */
  get cookieBytes() {
    return Math.max(0, this.#cookieHeader.length - 'Cookie: \r\n'.length);
  }

  /** @returns {Promise<{ status: string, body: string, setCookie: string[] }>} */
  get(path) {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n${this.#cookieHeader}\r\n`);
    });
  }

  close() {
    this.#socket.destroy();
  }

  #receive(text) {
    const received = this.#received + text;
    this.#received = received;
    const end = received.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = received.slice(0, end);
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1]);
    if (received.length < end + 4 + length) return;
    this.#received = '';
    const { resolve, reject } = this.#waiting;
    this.#waiting = undefined;
    if (Number.isNaN(length)) return reject(new Error(`A response without Content-Length:\n${head}`));
    const setCookie = /\r\nset-cookie:/i.test(head) ? this.#keep(head) : [];
    resolve({ status: head.slice(9, 12), body: received.slice(end + 4), setCookie });
  }

  #keep(head) {
    const lines = Array.from(head.matchAll(/\r\nset-cookie: *([^\r]*)/gi), ([, line]) => line);
    if (!this.#keepsCookies) return lines;
    for (const line of lines) {
      const [, name, value] = /^([^=]*)=([^;]*)/.exec(line);
      this.#cookies.set(name, value);
    }
    const pairs = Array.from(this.#cookies, ([name, value]) => `${name}=${value}`);
    this.#cookieHeader = `Cookie: ${pairs.join('; ')}\r\n`;
    return lines;
  }
}

/** A visitor with a session, which repeats one work and checks every response. */
export class Visitor {
  #browser;
  #work;
  #visits = 0;

  /** @param {import('./works.js').Work} work */
  constructor(port, work) {
    this.#browser = new Browser(port, { keepsCookies: work.before !== 'none' });
    this.#work = work;
  }

  get cookieBytes() {
    return this.#browser.cookieBytes;
  }

  /** Gets a session, if the work needs one. */
  async arrive() {
    if (this.#work.before === 'none') return;
    const { setCookie } = await this.#expect(this.#work.before, 'filled');
    if (setCookie.length === 0) throw new Error(`${this.#work.before} set no cookie.`);
  }

  visit() {
    this.#visits += 1;
    return this.#expect(this.#work.path(this.#visits), this.#work.body(this.#visits));
  }

  /** Sends the cookie to a page that leaves the session alone. */
  pass() {
    return this.#expect('/untouched', 'untouched');
  }

  /** Fails unless the last write is stored. */
  async prove() {
    const proof = this.#work.proof?.(this.#visits);
    if (proof) await this.#expect(proof.path, proof.body);
  }

  leave() {
    this.#browser.close();
  }

  async #expect(path, body) {
    const answer = await this.#browser.get(path);
    if (answer.status !== '200' || answer.body !== body) {
      throw new Error(`GET ${path}: expected 200 "${body}", got ${answer.status} "${answer.body.slice(0, 200)}".`);
    }
    return answer;
  }
}

/** Runs `use` with so many visitors, each with a session of its own. */
export async function withVisitors(port, work, number, use) {
  const visitors = Array.from({ length: number }, () => new Visitor(port, work));
  try {
    await Promise.all(visitors.map((visitor) => visitor.arrive()));
    return await use(visitors);
  } finally {
    for (const visitor of visitors) visitor.leave();
  }
}

/** Lets the visitors send requests for a time, and resolves with their number after the last response. */
export async function drive(visitors, milliseconds) {
  const end = performance.now() + milliseconds;
  let requests = 0;
  await Promise.all(
    visitors.map(async (visitor) => {
      while (performance.now() < end) {
        await visitor.visit();
        requests += 1;
      }
    }),
  );
  return requests;
}

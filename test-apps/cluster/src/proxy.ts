import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import { type Served, serve } from 'testkit/http';

/** A process behind the proxy. */
export interface Backend {
  readonly port: number;
}

interface Answer {
  readonly incoming: IncomingMessage;
  readonly body: Buffer;
}

/**
 * A reverse proxy, round robin. It tries another backend only where that can't do something twice: no connection was
 * made, or the request is a GET. Any other request that is cut gets a 502, since it may have been done or not.
 */
export class RoundRobin {
  /** How often another backend was tried. */
  retried = 0;
  /** Requests that were cut and not sent again, by the port of the backend. */
  readonly cut: Map<number, number> = new Map();
  readonly #backends: Backend[] = [];
  readonly #busy: Map<Backend, Set<Promise<unknown>>> = new Map();

  listen(): Promise<Served> {
    return serve((req, res) => void this.#pass(req, res));
  }

  add(backend: Backend): void {
    this.#backends.push(backend);
  }

  /** Takes a backend out of the rotation. Resolves when its open requests have ended. */
  async remove(backend: Backend): Promise<void> {
    const at = this.#backends.indexOf(backend);
    if (at >= 0) this.#backends.splice(at, 1);
    await Promise.allSettled(this.#busy.get(backend) ?? []);
  }

  async #pass(req: IncomingMessage, res: ServerResponse): Promise<void> {
    for (let attempts = this.#backends.length; attempts > 0; attempts--) {
      const backend = this.#next();
      if (!backend) break;
      try {
        const { incoming, body } = await this.#ask(backend, req);
        res.writeHead(incoming.statusCode ?? 502, incoming.headers).end(body);
        return;
      } catch (error) {
        const refused = (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
        if (!refused && req.method !== 'GET') {
          this.cut.set(backend.port, (this.cut.get(backend.port) ?? 0) + 1);
          break;
        }
        this.retried++;
      }
    }
    res.writeHead(502).end();
  }

  #next(): Backend | undefined {
    const backend = this.#backends.shift();
    if (backend) this.#backends.push(backend);
    return backend;
  }

  #ask(backend: Backend, req: IncomingMessage): Promise<Answer> {
    const busy = this.#busy.get(backend) ?? new Set();
    this.#busy.set(backend, busy);
    const answer = forward(backend.port, req);
    busy.add(answer);
    const done = (): void => void busy.delete(answer);
    answer.then(done, done);
    return answer;
  }
}

/** Forwards a request without a body, and reads the whole response before any of it is passed on. */
function forward(port: number, { method, url, headers }: IncomingMessage): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const to = { host: '127.0.0.1', port, method, path: url, headers, agent: false };
    const outgoing = request(to, async (incoming) => {
      try {
        const chunks: Buffer[] = [];
        for await (const chunk of incoming) chunks.push(chunk);
        resolve({ incoming, body: Buffer.concat(chunks) });
      } catch (error) {
        reject(error);
      }
    });
    outgoing.once('error', reject).end();
  });
}

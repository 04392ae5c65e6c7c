import { expect } from 'chai';
import { Client } from 'testkit/http';
import { until } from 'testkit/redis';

/** What visitors who count and count were told, for comparison with what was kept. */
export interface Load {
  /** Resolves when every visitor was answered 200 twice more: the first answer may have been on its way already. */
  settled(): Promise<void>;
  /** Ends the load. Answers what happened, in numbers. */
  end(): Promise<Outcome>;
}

export interface Outcome {
  readonly acknowledged: number;
  /** Requests that were answered 503. Each may have counted or not. */
  readonly refused: number;
  /** Acknowledged and not kept. */
  readonly lost: number;
}

/** Visitors who each send one request after the other. Every answer is 200 or 503; none counts twice. */
export async function startLoad(url: string, count: number): Promise<Load> {
  const visitors = await Promise.all(Array.from({ length: count }, () => Visitor.arrive(url)));
  let over = false;
  const running = Promise.all(
    visitors.map(async (visitor) => {
      while (!over) await visitor.count();
    }),
  );
  running.catch(() => {}); // reported by end()

  return {
    async settled() {
      const before = visitors.map(({ acknowledged }) => acknowledged);
      const done = () => visitors.every(({ acknowledged }, i) => acknowledged >= (before[i] as number) + 2);
      await Promise.race([running, until('every visitor is answered again', done, 30_000)]);
    },
    async end() {
      over = true;
      await running;
      const kept = await Promise.all(visitors.map((visitor) => visitor.read()));
      const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0);
      for (const [i, { acknowledged, refused }] of visitors.entries()) {
        expect(kept[i]).to.be.at.most(acknowledged + refused, 'nothing counts twice');
      }
      return {
        acknowledged: sum(visitors.map(({ acknowledged }) => acknowledged)),
        refused: sum(visitors.map(({ refused }) => refused)),
        lost: sum(visitors.map(({ acknowledged }, i) => Math.max(0, acknowledged - (kept[i] as number)))),
      };
    },
  };
}

class Visitor {
  acknowledged = 0;
  refused = 0;
  readonly #client: Client;

  constructor(url: string) {
    this.#client = new Client(url);
  }

  static async arrive(url: string): Promise<Visitor> {
    const visitor = new Visitor(url);
    await visitor.count();
    return visitor;
  }

  async count(): Promise<void> {
    const { cookie } = this.#client;
    const { status } = await this.#client.get('/update');
    expect(status).to.be.oneOf([200, 503]);
    if (status === 200) this.acknowledged++;
    else this.refused++;
    if (status === 503) expect(this.#client.cookie).to.equal(cookie);
  }

  async read(): Promise<number> {
    const answer = await this.#client.get('/read');
    expect(answer.status).to.equal(200);
    return Number(answer.body);
  }
}

export function describeOutcome({ acknowledged, refused, lost }: Outcome): string {
  return `${acknowledged} acknowledged, ${refused} refused, ${lost} lost by replication`;
}

import type { RoundRobin } from './proxy.js';
import { Visitor } from './visitor.js';

/** The result of a load. */
export interface Tally {
  readonly requests: number;
  /** Responses by status. */
  readonly answers: Record<number, number>;
  /** Requests that the proxy sent to another server. */
  readonly retried: number;
  /** Requests that were cut when their server ended, and not sent again, by its port: 502. */
  readonly cut: Record<number, number>;
  readonly sessions: number;
  readonly sessionsLost: number;
  readonly updates: number;
  readonly updatesLost: number;
}

/** Lets visitors send requests until `during` ends; `during` may wait until each visitor was served again. */
export async function underLoad(
  url: string,
  proxy: RoundRobin,
  count: number,
  during: (settled: () => Promise<void>) => Promise<void>,
): Promise<Tally> {
  const retriedBefore = proxy.retried;
  proxy.cut.clear();
  const visitors = Array.from({ length: count }, (_, i) => new Visitor(`visitor-${i}`, url));
  await Promise.all(visitors.map((visitor) => visitor.login()));

  let isOver = false;
  const running = Promise.all(
    visitors.map(async (visitor) => {
      while (!isOver) await visitor.turn();
    }),
  );
  const settled = async (): Promise<void> => {
    const before = visitors.map(({ acknowledged }) => acknowledged);
    const again = (): boolean => visitors.every((one, i) => one.acknowledged > (before[i] as number) + 6);
    const deadline = Date.now() + 30_000;
    while (!again()) {
      if (Date.now() > deadline) throw new Error('The visitors are not served any more.');
      await Promise.race([running, new Promise((resolve) => setTimeout(resolve, 10))]);
    }
  };
  try {
    await settled();
    await during(settled);
    await settled();
  } finally {
    isOver = true;
    await running;
  }

  const lost = await Promise.all(visitors.map((visitor) => visitor.lost()));
  const answers: Record<number, number> = {};
  for (const { statuses } of visitors)
    for (const [status, times] of statuses) answers[status] = (answers[status] ?? 0) + times;
  return {
    requests: sum(Object.values(answers)),
    answers,
    retried: proxy.retried - retriedBefore,
    cut: Object.fromEntries(proxy.cut),
    sessions: count,
    sessionsLost: visitors.filter(({ loggedOut }) => loggedOut).length,
    updates: sum(visitors.map(({ acknowledged }) => acknowledged)),
    updatesLost: sum(lost),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}

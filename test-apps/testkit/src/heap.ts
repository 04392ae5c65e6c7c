import { randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Store } from 'koa-wsession/store';

/** Whether there is time to measure the heap. */
export const canMeasureHeap: boolean = process.env.SOAK === '1';

let collect: (() => void) | undefined;

/** Bytes in use once everything is collected that can be. */
export function usedHeap(): number {
  if (!collect) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  for (let i = 0; i < 3; i++) collect();
  return process.memoryUsage().heapUsed + process.memoryUsage().external;
}

/** Bytes that stay behind `times` calls, of which `parallel` are at work at a time, once it is warm. */
export async function heapGrowth(times: number, parallel: number, work: () => Promise<unknown>): Promise<number> {
  const run = async (count: number): Promise<void> => {
    for (let done = 0; done < count; done += parallel) await Promise.all(Array.from({ length: parallel }, work));
  };
  await run(times / 10);
  const before = usedHeap();
  await run(times);
  return usedHeap() - before;
}

/** A session that is made, changed, read and ended. */
export async function passThrough(store: Store): Promise<void> {
  const call = { name: 'wsession', deadline: performance.now() + 60_000 };
  const updatedAt = Date.now();
  const expiresAt = updatedAt + 3_600_000;
  const entries = new Map([['user', '"ada"']]);
  const key = randomBytes(32).toString('base64url');
  await store.create(key, { entries, createdAt: updatedAt, updatedAt, expiresAt, revision: 1 }, call);
  await store.update(key, { set: new Map([['counter', '1']]), delete: [], updatedAt, expiresAt }, call);
  await store.load(key, call);
  await store.destroy(key, call);
}

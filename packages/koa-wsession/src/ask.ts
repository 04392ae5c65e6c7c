import { UnavailableError } from './errors.js';
import { isTraced, type TracedCall, trace } from './events.js';
import type { Settings } from './options.js';
import type { Awaitable, Call, Store } from './store.js';
import { addressOf } from './token.js';

/** One call to the store: an answer, or an UnavailableError within `timeout`. */
export function ask<T>(
  { store, name, timeout }: Settings,
  traced: TracedCall,
  key: string,
  operation: (store: Store, call: Call) => Awaitable<T>,
): Awaitable<T> {
  const call = (): Awaitable<T> => {
    try {
      const answer = operation(store, { name, deadline: performance.now() + timeout });
      return isPromise(answer) ? within(timeout, answer) : answer;
    } catch (error) {
      throw toUnavailable(error);
    }
  };
  return isTraced(traced) ? trace(traced, { name, session: hashOf(store, name, key) }, call) : call();
}

export function isPromise<T>(answer: Awaitable<T>): answer is Promise<T> {
  return typeof (answer as { then?: unknown } | undefined)?.then === 'function';
}

/** What stands for a session in events: its address, which is a hash already, or a hash of the token. */
export function hashOf({ capabilities }: Store, name: string, key: string): string {
  return capabilities.seals ? addressOf(name, key) : key;
}

function within<T>(timeout: number, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new UnavailableError(`The session store didn't answer within ${timeout} ms.`)),
      timeout,
    );
    answer.then(
      (it) => {
        clearTimeout(timer);
        resolve(it);
      },
      (error) => {
        clearTimeout(timer);
        reject(toUnavailable(error));
      },
    );
  });
}

function toUnavailable(error: unknown): UnavailableError {
  const problem =
    error instanceof Error
      ? error.message
      : typeof error === 'object'
        ? 'it threw what is no error'
        : String(error);
  return new UnavailableError(`The session store failed: ${problem}.`, error);
}

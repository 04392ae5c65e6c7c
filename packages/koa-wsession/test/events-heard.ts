import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { SessionEvent } from 'koa-wsession';

const silence: Array<() => void> = [];

/** Everything that is published from here on as one of these events, in order, until the test ends. */
export function listenTo(...events: string[]): Array<[event: string, message: SessionEvent]> {
  const heard: Array<[string, SessionEvent]> = [];
  for (const event of events) {
    const listener = (message: unknown): void => {
      heard.push([event, { ...(message as SessionEvent) }]);
    };
    subscribe(`koa-wsession:${event}`, listener);
    silence.push(() => unsubscribe(`koa-wsession:${event}`, listener));
  }
  return heard;
}

/** For `afterEach`. */
export function stopListening(): void {
  for (const stop of silence.splice(0)) stop();
}

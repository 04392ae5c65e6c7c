import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { SessionEvent } from 'koa-wsession';

/** What was published, with the channel's name without `koa-wsession:`. */
export type Heard = [name: string, message: SessionEvent & { error?: unknown }];

const silence: Array<() => void> = [];

/** Everything that is published on these channels from here on, in order, until the test ends. */
export function listen(channels: readonly string[]): Heard[] {
  const heard: Heard[] = [];
  for (const channel of channels) {
    const name = channel.replace(/^(tracing:)?koa-wsession:/, '');
    const listener = (message: unknown): void => {
      heard.push([name, { ...(message as SessionEvent) }]);
    };
    subscribe(channel, listener);
    silence.push(() => unsubscribe(channel, listener));
  }
  return heard;
}

/** The same for events, by their names. */
export function listenTo(...events: string[]): Heard[] {
  return listen(events.map((event) => `koa-wsession:${event}`));
}

/** For `afterEach`. */
export function stopListening(): void {
  for (const stop of silence.splice(0)) stop();
}

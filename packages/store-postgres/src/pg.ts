import { createHash } from 'node:crypto';
import { DEADLINE_PASSED, isRolledBack, type Rows, type Run } from './run.js';

/** A `Pool` or a single `Client` of `pg`, described by what the store uses of it. */
export interface PgLike extends Pick<NodeJS.EventEmitter, 'on' | 'off' | 'listenerCount'> {
  // biome-ignore lint/suspicious/noExplicitAny: no version's types are needed
  query(query: any): Promise<any>;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  connect(): Promise<any>;
}

export const isPg = (client: unknown): client is PgLike =>
  typeof client === 'object' &&
  client !== null &&
  'query' in client &&
  ('totalCount' in client || 'escapeLiteral' in client);

/** Apps replace pg's parsers, but the store's columns are text. */
const AS_TEXT = { getTypeParser: () => String };
const ignore = (): void => {};

export function runWithPg(client: PgLike, prepare: boolean): Run {
  // A connection that breaks while idle is an 'error' event, which would end a process that doesn't listen.
  if (client.listenerCount('error') === 0) client.on('error', ignore);

  const send = async (on: PgLike, ...[text, values, deadline]: Parameters<Run>): Promise<Rows> => {
    const query_timeout = Math.min(deadline - performance.now(), 2 ** 31 - 1);
    if (query_timeout <= 0) throw new Error(DEADLINE_PASSED);
    // By its text: stores that share a pool may have different tables.
    const name = prepare && values.length > 0 ? createHash('sha1').update(text).digest('hex') : undefined;
    return (await on.query({ text, values, name, query_timeout, rowMode: 'array', types: AS_TEXT })).rows;
  };

  if (!('totalCount' in client)) {
    let last: Promise<unknown> = Promise.resolve();
    return (...statement) => {
      const rows = last.then(() => send(client, ...statement));
      last = rows.catch(ignore);
      return rows;
    };
  }
  return async (...statement) => {
    const connection = await client.connect();
    connection.on('error', ignore);
    const rows = send(connection, ...statement);
    connection.release(await rows.then(ignore, toFatal));
    connection.off('error', ignore);
    return rows;
  };
}

/** For an error, the pool closes the connection: its server may hang, be out of reach, or have become a standby. */
const toFatal = (error: Error): Error | undefined =>
  isRolledBack(error) || error.message === DEADLINE_PASSED ? undefined : error;

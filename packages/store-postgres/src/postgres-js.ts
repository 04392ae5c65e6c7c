import type { Row, Run } from './run.js';

/** A client of `postgres`, described by what the store uses of it. */
export interface PostgresJsLike {
  // biome-ignore lint/suspicious/noExplicitAny: no version's types are needed
  unsafe(text: string, parameters?: any[], options?: { prepare?: boolean }): { raw(): PromiseLike<any> };
  end(): Promise<void>;
}

export const isPostgresJs = (client: unknown): client is PostgresJsLike =>
  typeof client === 'function' && 'unsafe' in client && 'end' in client;

export function runWithPostgresJs(sql: PostgresJsLike, prepare: boolean): Run {
  return async (statement, parameters) => {
    const rows: unknown[][] = await sql.unsafe(statement, parameters, { prepare }).raw();
    // Raw, and so bytes: apps replace parsers and transform values.
    return rows.map((row): Row => row.map((bytes) => (bytes === null ? null : String(bytes))));
  };
}

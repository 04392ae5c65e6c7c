/** A row of a result: its columns as text. */
export type Row = ReadonlyArray<string | null>;
export type Rows = readonly Row[];

/**
 * Runs one statement on a connection of the client, but not on one that comes after the deadline (`performance.now()`
 * milliseconds). Without parameters, it may be several statements, which are one transaction.
 */
export type Run = (statement: string, parameters: unknown[], deadline: number) => Promise<Rows>;

export const DEADLINE_PASSED = "no connection before the call's deadline";

/**
 * The instant of a call, as a parameter. Clients turn a parameter into text when they send it, which may be long after they
 * took it: past the deadline the text is no number, and the server refuses the statement before it begins.
 */
export function instantOf(deadline: number): object {
  const now = String(Date.now());
  const toText = (): string => (performance.now() < deadline ? now : DEADLINE_PASSED);
  return { toString: toText, toPostgres: toText };
}

/** A SQLSTATE, or Node's code. */
const codeOf = (error: unknown): string => String((error as { code?: unknown } | undefined)?.code ?? '');

/** Serialization failures and deadlocks: the statement didn't happen, and the server says to send it again. */
export const isRolledBack = (error: unknown): boolean => /^40(001|P01)$/.test(codeOf(error));

/** The message and nothing else: a client's error may hold the statement's parameters, and the server's the row. */
export function toPlainError(error: unknown): Error {
  const message = (error as Error | undefined)?.message || codeOf(error) || `rejected with a ${typeof error}`;
  const isOutdated = /^42(P01|703)$/.test(codeOf(error)); // no such table, no such column
  return new Error(`Postgres: ${message}${isOutdated ? `. ${ADVICE}` : ''}`);
}

const ADVICE =
  'Create or upgrade the table: await store.migrate(), or run the SQL in the README of @koa-wsession/store-postgres';

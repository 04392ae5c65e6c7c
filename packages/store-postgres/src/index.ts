export type { PgLike } from './pg.js';
export type { PostgresJsLike } from './postgres-js.js';
export { type PostgresClient, PostgresStore, type PostgresStoreOptions } from './postgres-store.js';

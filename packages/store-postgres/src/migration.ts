/** The comment of a table of this version. */
export const COMMENT = 'Sessions of koa-wsession, version 1';

/** The comment of a table; null where the table or its comment is missing. */
export const READ_COMMENT = `SELECT obj_description(to_regclass($1::text), 'pg_class')`;

/**
 * Creates or upgrades the table; run again, it changes nothing. In one transaction: the lock makes other processes wait,
 * and ends with the transaction.
 *
 * An index on the expiry itself would be written by each update. `sweep_after`, the expiry rounded up to the hour, changes
 * once an hour at most, and the updates in between are heap-only.
 */
export function migration(table: string, index: string, unlogged: boolean): string {
  return `SELECT pg_advisory_xact_lock(hashtext('koa-wsession')), set_config('client_min_messages', 'warning', true);

DO $$ BEGIN IF substring(obj_description(to_regclass('${table}'), 'pg_class') FROM '\\d+$')::int > 1 THEN
  RAISE EXCEPTION 'the table is of a newer version: upgrade @koa-wsession/store-postgres';
END IF; END $$;

CREATE ${unlogged ? 'UNLOGGED TABLE' : 'TABLE'} IF NOT EXISTS ${table} (
  key text COLLATE "C" PRIMARY KEY,
  entries jsonb, revision bigint, created_at double precision, updated_at double precision,
  replaced_by text,
  sessions jsonb,
  expires_at double precision NOT NULL,
  sweep_after double precision NOT NULL GENERATED ALWAYS AS (ceil(expires_at / 3600000) * 3600000) STORED
) WITH (fillfactor = 80);

CREATE INDEX IF NOT EXISTS ${index} ON ${table} (sweep_after);

COMMENT ON TABLE ${table} IS '${COMMENT}';
`;
}

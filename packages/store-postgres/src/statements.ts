export type Statements = Readonly<
  Record<'load' | 'create' | 'update' | 'updateExpected' | 'destroy' | 'replace', string> &
    Record<'scan' | 'sweep' | 'add' | 'remove' | 'keys', string>
>;

/** How many rows one statement lists or removes at most. */
export const BATCH = 1000;

/** `live` is a record as the store writes it: entries that are an object of strings. */
const STATE = `CASE WHEN t.expires_at <= $2::float8 THEN 'expired' WHEN t.replaced_by IS NOT NULL THEN 'replaced'
  WHEN jsonb_typeof(t.entries) = 'object' AND NOT t.entries @? 'strict $.* ? (@.type() <> "string")' THEN 'live'
  ELSE 'corrupt' END`;
/** All as text: apps replace the clients' parsers of other types. */
const RECORD = `replaced_by, entries::text, created_at::text, updated_at::text, expires_at::text, revision::text`;
/** $3: instant, $4: expiry or null, $5: entries to set or null for a touch, $6: list of keys to delete. */
const CHANGES = `updated_at = $3::float8, expires_at = coalesce($4::float8, t.expires_at), revision = t.revision + 1,
  entries = CASE WHEN $5::text IS NULL THEN t.entries
    ELSE (t.entries || $5::text::jsonb) - ARRAY(SELECT jsonb_array_elements_text($6::text::jsonb)) END`;
/** The sessions of a group that count, each with its instant. */
const LISTED = `(SELECT coalesce(jsonb_object_agg(s.key, value), '{}') FROM jsonb_each(t.sessions) AS s
  WHERE value::float8 > $2::float8)`;

/**
 * $1 is the key of a session or a group, $2 the instant of the call.
 *
 * Each statement is atomic under READ COMMITTED: a write works on the row as it is once it has the row's lock. Where the
 * answer tells more than the write itself can, a CTE locks the row first: FOR UPDATE evaluates its columns again after
 * a wait.
 */
export function statementsFor(table: string): Statements {
  // Before Postgres 18, RETURNING has only the new values: the locked row has the old ones. $3: revision or null.
  const ending = (how: string): string => `WITH
    old AS (SELECT t.*, ${STATE} AS state FROM ${table} AS t WHERE key = $1::text FOR UPDATE),
    ended AS (${how} old WHERE t.key = old.key AND state = 'live'
      AND old.revision = coalesce($3::float8, old.revision) RETURNING 1)
    SELECT CASE WHEN EXISTS (SELECT FROM ended) THEN 'destroyed' WHEN state = 'live' THEN 'changed' ELSE state END,
      ${RECORD} FROM old`;

  return {
    load: `SELECT ${STATE}, ${RECORD} FROM ${table} AS t WHERE key = $1::text`,
    create: `INSERT INTO ${table} AS t (key, created_at, updated_at, expires_at, revision, entries)
      VALUES ($1::text, $3::float8, $4::float8, $5::float8, $6::float8, $7::text::jsonb)
      ON CONFLICT (key) DO UPDATE SET created_at = excluded.created_at, updated_at = excluded.updated_at,
        expires_at = excluded.expires_at, revision = excluded.revision, entries = excluded.entries, replaced_by = NULL
      WHERE ${STATE} NOT IN ('live', 'replaced') RETURNING '1'`,
    update: `UPDATE ${table} AS t SET ${CHANGES} WHERE key = $1::text AND ${STATE} = 'live' RETURNING revision::text`,
    // $7: the entries expected, null for a key that must not be there.
    updateExpected: `WITH
      old AS (SELECT key, (SELECT jsonb_object_agg(k, entries -> k) FROM jsonb_object_keys($7::text::jsonb) AS k) AS actual
        FROM ${table} AS t WHERE key = $1::text AND ${STATE} = 'live' FOR UPDATE),
      updated AS (UPDATE ${table} AS t SET ${CHANGES} FROM old
        WHERE t.key = old.key AND actual = $7::text::jsonb RETURNING t.revision)
      SELECT (SELECT revision::text FROM updated), actual::text FROM old`,
    destroy: ending(`DELETE FROM ${table} AS t USING`),
    replace: ending(`UPDATE ${table} AS t SET entries = NULL, replaced_by = $4::text, expires_at = $5::float8 FROM`),
    scan: `SELECT key FROM ${table} WHERE key > $1::text AND expires_at > $2::float8 AND entries IS NOT NULL
      ORDER BY key LIMIT ${BATCH}`,
    // Rows that a call or another process has locked are left for the next sweep.
    sweep: `WITH expired AS (DELETE FROM ${table} WHERE key = ANY(ARRAY(SELECT key FROM ${table} WHERE $1::text = ''
        AND sweep_after <= $2::float8 LIMIT ${BATCH} FOR UPDATE SKIP LOCKED)) RETURNING 1)
      SELECT count(*)::text FROM expired`,
    // $3: session, $4: until, $5: limit or null. The row's lock makes counting and adding one step.
    add: `INSERT INTO ${table} AS t (key, sessions, expires_at)
      SELECT $1::text, jsonb_build_object($3::text, $4::float8), $4::float8 WHERE coalesce($5::float8 > 0, true)
      ON CONFLICT (key) DO UPDATE SET expires_at = greatest(t.expires_at, excluded.expires_at),
        sessions = ${LISTED} || jsonb_build_object($3::text, greatest((t.sessions -> $3::text)::float8, $4::float8))
      WHERE $5::float8 IS NULL OR ${LISTED} ? $3::text
        OR (SELECT count(*) FROM jsonb_object_keys(${LISTED})) < $5::float8 RETURNING '1'`,
    remove: `UPDATE ${table} SET sessions = sessions - $3::text WHERE key = $1::text AND $2::float8 > 0`,
    keys: `SELECT s.key FROM ${table} AS t, jsonb_each(sessions) AS s WHERE t.key = $1::text AND value::float8 > $2::float8`,
  };
}

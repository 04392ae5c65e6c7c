import pg from 'pg';

/** How to connect to a server of the benchmark. */
export function databaseAt(port) {
  return { host: '127.0.0.1', port, user: 'app', database: 'postgres' };
}

/** Runs SQL on a connection of its own. */
export async function query(port, text, values) {
  const client = new pg.Client(databaseAt(port));
  await client.connect();
  try {
    return (await client.query(text, values)).rows;
  } finally {
    await client.end();
  }
}

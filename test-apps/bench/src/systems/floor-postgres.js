import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Koa from 'koa';
import pg from 'pg';
import { databaseAt } from '../postgres.js';
import { answer, bigOf, describeBig } from '../works.js';

const READ = 'SELECT entries FROM floor WHERE key = $1';
const CREATE = 'INSERT INTO floor (key, entries, expires_at) VALUES ($1, $2, $3)';
const UPDATE = 'UPDATE floor SET entries = entries || $2, expires_at = $3 WHERE key = $1';

/** A bare select and a bare update of what changed, by `pg`; nothing that makes a session safe to use. */
export async function create({ postgresPort }) {
  const pool = new pg.Pool(databaseAt(postgresPort));
  await pool.query(
    'CREATE TABLE IF NOT EXISTS floor (key text PRIMARY KEY, entries jsonb, expires_at double precision) WITH (fillfactor = 80)',
  );
  const app = new Koa();
  app.use(async (ctx) => {
    const { url } = ctx;
    const key = ctx.req.headers.cookie?.slice(2);
    const read = async () => (await pool.query(READ, [key])).rows[0].entries;
    const write = async (statement, id, changes) => {
      await pool.query(statement, [id, JSON.stringify(changes), Date.now() + 3_600_000]);
      ctx.res.setHeader('Set-Cookie', `s=${id}; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax`);
    };
    switch (url) {
      case '/untouched':
        ctx.body = answer(url, ctx);
        return;
      case '/fill':
      case '/fill-big': {
        const session = {};
        ctx.body = answer(url, { session });
        return write(CREATE, randomBytes(24).toString('base64url'), session);
      }
      case '/read':
        ctx.body = (await read()).name;
        return;
      case '/read-big':
        ctx.body = describeBig((await read()).big);
        return;
      case '/read-counter':
        ctx.body = String((await read()).counter);
        return;
      case '/counter': {
        const counter = (await read()).counter + 1;
        ctx.body = String(counter);
        return write(UPDATE, key, { counter });
      }
      default: {
        const big = bigOf(url);
        ctx.body = describeBig(big);
        return write(UPDATE, key, { big });
      }
    }
  });
  return createServer(app.callback());
}

import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import Koa from 'koa';
import { answer } from '../works.js';

// Callbacks cost a little less than node:fs/promises.
const [open, write, fsync, close, rename, readFile] = [
  fs.open,
  fs.write,
  fs.fsync,
  fs.close,
  fs.rename,
  fs.readFile,
].map((call) => promisify(call));

/** One read, or a read, a write to a new file, fsync and rename; JSON; nothing that makes a session safe to use. */
export function create({ directory }) {
  const app = new Koa();
  app.use(async (ctx) => {
    const { url } = ctx;
    if (url === '/untouched') {
      ctx.body = answer(url, ctx);
      return;
    }
    const known = ctx.req.headers.cookie?.slice(2);
    const id = known ?? randomBytes(24).toString('base64url');
    const path = join(directory, id);
    const session = known ? JSON.parse(await readFile(path, 'utf8')) : {};
    ctx.body = answer(url, { session });
    if (!url.startsWith('/read')) {
      const temporary = `${path}~`;
      const file = await open(temporary, 'w', 0o600);
      await write(file, JSON.stringify(session));
      await fsync(file);
      await close(file);
      await rename(temporary, path);
      ctx.res.setHeader('Set-Cookie', `s=${id}; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax`);
    }
  });
  return createServer(app.callback());
}

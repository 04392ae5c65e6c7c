import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Koa from 'koa';
import { answer } from '../works.js';

/** AES-256-GCM and JSON, without anything that makes a session safe to use. */
export function create({ secret }) {
  const key = createHash('sha256').update(secret).digest();
  const app = new Koa();
  app.use((ctx) => {
    const { url } = ctx;
    if (url === '/untouched') {
      ctx.body = answer(url, ctx);
      return;
    }
    const { cookie } = ctx.req.headers;
    const session = cookie ? JSON.parse(open(key, cookie.slice(2))) : {};
    ctx.body = answer(url, { session });
    if (!url.startsWith('/read')) {
      const token = seal(key, JSON.stringify(session));
      ctx.res.setHeader('Set-Cookie', `s=${token}; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax`);
    }
  });
  return createServer(app.callback());
}

function seal(key, text) {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const sealed = cipher.update(text, 'utf8');
  cipher.final();
  return Buffer.concat([nonce, sealed, cipher.getAuthTag()]).toString('base64url');
}

function open(key, token) {
  const bytes = Buffer.from(token, 'base64url');
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12));
  decipher.setAuthTag(bytes.subarray(-16));
  const text = decipher.update(bytes.subarray(12, -16), undefined, 'utf8');
  return text + decipher.final('utf8');
}

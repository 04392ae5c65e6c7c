import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import Koa from 'koa';
import { session } from 'koa-wsession';
import { Client, serve } from 'testkit/http';
import { useFolder } from './helpers.js';

describe('The files of a visitor', () => {
  const folder = useFolder();

  it("don't hold the session id, which is in the cookie", async () => {
    const app = new Koa();
    const sessions = session(folder.current.store());
    app.use(sessions);
    app.use(async (ctx) => {
      if (ctx.path === '/login') await sessions.of(ctx).logIn('ada');
      ctx.session.counter = ((ctx.session.counter as number | undefined) ?? 0) + 1;
      ctx.body = ctx.session.counter;
    });
    const server = await serve(app);
    try {
      const client = new Client(server);
      await client.get('/login');
      expect((await client.get('/')).body).to.equal('2');
      const [id] = client.jar.values() as unknown as [string];
      expect(id).to.have.lengthOf(32);
      const { names, path } = folder.current;
      expect(names).to.have.lengthOf(2, "the session and its owner's list");
      for (const name of names) expect(name + readFileSync(join(path, name), 'utf8')).not.to.contain(id);
    } finally {
      await server.close();
    }
  });
});

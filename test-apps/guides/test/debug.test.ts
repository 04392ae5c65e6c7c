import { expect } from 'chai';
import { debugSessions } from 'guides/debug';
import Koa from 'koa';
import { session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { Client, serve } from 'testkit';

describe('the guide to debugging', () => {
  it('writes a line for each event and each call to the store, with no id in it', async () => {
    const lines: string[] = [];
    debugSessions((line) => lines.push(line)); // not earlier: the tests of all packages run in one process
    const app = new Koa();
    app.use(session(new MemoryStore(), { name: 'debugged' }));
    app.use((ctx) => {
      if (ctx.path === '/write') ctx.session.user = 'ada';
      ctx.body = ctx.session.user ?? '';
    });
    const served = await serve(app);
    try {
      const ada = new Client(served);
      await ada.get('/write');
      await ada.get('/', { headers: { cookie: `debugged=${'A'.repeat(32)}` } });
      const own = lines.filter((line) => line.includes(' debugged'));
      const plain = own.map((line) => line.replace(/(debugged) [\w-]{8}/, '$1 REF'));
      expect(plain).to.deep.equal([
        'koa-wsession save … debugged REF',
        'koa-wsession save debugged REF',
        'koa-wsession created debugged REF',
        'koa-wsession load … debugged REF',
        'koa-wsession load debugged REF',
        'koa-wsession rejected debugged REF (unknown)',
      ]);
      expect(own.join()).not.to.contain(ada.cookie.slice('debugged='.length, 'debugged='.length + 8));
    } finally {
      await served.close();
    }
  });
});

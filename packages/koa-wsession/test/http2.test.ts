import { once } from 'node:events';
import { connect } from 'node:http2';
import { expect } from 'chai';
import type Koa from 'koa';
import { MemoryStore } from 'koa-wsession/memory';
import { spy } from 'sinon';
import { createSite, Gate, tidy } from './helpers.js';

describe('over HTTP/2', () => {
  afterEach(tidy);

  const count = (ctx: Koa.Context) => {
    ctx.session.n = (ctx.session.n ?? 0) + 1;
    if (ctx.path === '/throw') ctx.throw(401, 'no');
    if (ctx.path === '/crash') throw new Error('mine');
    return ctx.session.n;
  };

  it('a session is kept, errors included', async () => {
    const { visitor, errors } = await createSite({ '/': count, '/throw': count, '/crash': count }, { http2: true });
    const ada = visitor();
    const first = await ada.get('/');
    expect([first.status, first.body, first.setCookie.length, first.headers.vary]).to.deep.equal([
      200,
      '1',
      1,
      'Cookie',
    ]);
    for (const [path, status] of [
      ['/throw', 401],
      ['/crash', 500],
    ] as const) {
      const reply = await ada.get(path);
      expect([reply.status, reply.setCookie.length, reply.headers['cache-control']]).to.deep.equal([
        status,
        1,
        'no-store',
      ]);
    }
    const headers = { cookie: ['other=1', ada.cookie] };
    expect((await ada.get('/', { headers })).body, 'cookies come one by one').to.equal('4');
    expect(errors.map(({ message }) => message)).to.deep.equal(['no', 'mine']);
  });

  it('a stream that the client closed is no error, and its session is saved once', async () => {
    const store = new MemoryStore();
    const create = spy(store, 'create');
    const [arrived, closed, finished] = [new Gate(), new Gate(), new Gate()];
    const { served, visitor, errors } = await createSite(
      {
        '/': async (ctx) => {
          ctx.session.n = 1;
          ctx.res.once('close', closed.open);
          arrived.open();
          await closed.passed;
          ctx.session.n = 2;
        },
        '/after': () => 'fine',
      },
      { store, http2: true, before: [(_ctx, next) => next().finally(finished.open)] },
    );
    const client = connect(served.url);
    const stream = client.request({ ':path': '/' });
    stream.on('error', () => undefined);
    await arrived.passed;
    stream.close();
    await finished.passed;
    expect([create.callCount, errors]).to.deep.equal([1, []]);
    client.destroy();
    await once(client, 'close');
    expect((await visitor().get('/after')).json()).to.equal('fine');
  });
});

import { once } from 'node:events';
import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import type { Redis as Redis5 } from 'ioredis5';
import { Client, type Served, serve } from 'testkit/http';
import { describeWith } from 'testkit/programs';
import { type RedisServer, startRedis, until } from 'testkit/redis';
import { counterApp } from './app.js';
import { type CuttableProxy, startProxy } from './proxy.js';
import { address, call, changesOf, clients, contentOf, recordOf, rejection } from './support.js';

for (const [version, connect] of Object.entries(clients)) {
  describeWith(['redis-server'], `A connection cut in the middle of a call, with ${version}`, () => {
    let server: RedisServer;
    let proxy: CuttableProxy;
    /** The client whose connection is cut, and another process' one. */
    let redis: Redis | Redis5;
    let direct: Redis;
    let store: RedisStore;
    let other: RedisStore;
    let key: string;
    before(async () => {
      server = await startRedis();
      proxy = await startProxy(server.port);
      direct = new Redis(server.port);
      other = new RedisStore(direct);
    });
    after(async () => {
      direct.disconnect();
      await proxy.close();
      await server.stop();
    });
    beforeEach(async () => {
      redis = connect(proxy.port, { retryStrategy: () => 10 });
      store = new RedisStore(redis);
      key = address();
      await store.create(key, recordOf({ n: '1' }), call());
      await store.update(key, changesOf({ n: '1' }), call()); // so that Redis knows the script
    });
    afterEach(() => {
      proxy.open();
      redis.disconnect();
    });

    const content = async () => contentOf(await other.load(key, call()));
    const increment = (from: string, to: string) =>
      changesOf({ n: to }, { expect: { key: 'n', value: from } });

    it('after an update was carried out: it is not carried out again, over a later write', async () => {
      const cut = proxy.cutReply();
      const updating = store.update(key, changesOf({ n: '2' }), call());
      proxy.shut();
      await cut;
      await other.update(key, changesOf({ n: '3' }), call());
      proxy.open();
      expect(await updating).to.deep.equal({ outcome: 'updated' });
      expect(await content()).to.deep.equal({ n: '3' });
    });

    it('after an update with expect was carried out: it is no conflict', async () => {
      const cut = proxy.cutReply();
      const updating = store.update(key, increment('1', '2'), call());
      proxy.shut();
      await cut;
      await other.update(key, increment('2', '3'), call());
      proxy.open();
      expect(await updating).to.deep.equal({ outcome: 'updated' });
      expect(await content()).to.deep.equal({ n: '3' });
    });

    it('after an update was carried out, and the session ended meanwhile: it is gone', async () => {
      const cut = proxy.cutReply();
      const updating = store.update(key, changesOf({ n: '2' }), call());
      proxy.shut();
      await cut;
      expect(contentOf(await other.destroy(key, call()))).to.deep.equal({ n: '2' });
      proxy.open();
      expect(await updating).to.deep.equal({ outcome: 'gone' });
      expect(await content()).to.equal(undefined);
    });

    it('after an update was carried out: it is known again behind 7 others, and no more behind 8', async () => {
      for (const [others, outcome] of [
        [7, 'updated'],
        [8, 'conflict'],
      ] as const) {
        const cut = proxy.cutReply();
        const { n: before = '' } = (await content()) ?? {};
        const updating = store.update(key, increment(before, `${before}+1`), call());
        proxy.shut();
        await cut;
        for (let i = 0; i < others; i++) await other.update(key, changesOf({ [`k${i}`]: '1' }), call());
        proxy.open();
        expect(await updating).to.include({ outcome });
      }
    });

    it('before an update arrived: it is carried out when the connection is back', async () => {
      const cut = proxy.cutCommand();
      const updating = store.update(key, changesOf({ n: '2' }), call());
      await cut;
      expect(await updating).to.deep.equal({ outcome: 'updated' });
      expect(await content()).to.deep.equal({ n: '2' });
    });

    it('before an update arrived, for longer than anybody waits: it never is, over a later write', async () => {
      const cut = proxy.cutCommand();
      const brief = call(100);
      const updating = store.update(key, changesOf({ n: '2' }), brief);
      updating.catch(() => {}); // the core has given up
      proxy.shut();
      await cut;
      await other.update(key, changesOf({ n: '3' }), call());
      await until('the deadline has passed', () => performance.now() > brief.deadline + 5);
      proxy.open();
      expect((await rejection(updating)).message).to.match(/^Redis: TIMEOUT nobody waits/);
      expect(await content()).to.deep.equal({ n: '3' });
    });

    it('while nothing is on its way: a call waits for the next one, and is never sent after its deadline', async () => {
      proxy.shut();
      const cut = proxy.cutReply();
      redis.ping().catch(() => {});
      await cut;
      await once(redis, 'reconnecting');
      const given = await rejection(store.update(key, changesOf({ n: '2' }), call(50)));
      expect(given.message).to.match(/no answer in time/);
      const waiting = store.update(key, changesOf({ m: '1' }), call());
      proxy.open();
      expect(await waiting).to.deep.equal({ outcome: 'updated' });
      expect(await content()).to.deep.equal({ n: '1', m: '1' });
    });

    it('after a create was carried out: it exists', async () => {
      const fresh = address();
      const cut = proxy.cutReply();
      const creating = store.create(fresh, recordOf({ a: '1' }), call());
      await cut;
      expect(await creating).to.deep.equal({ outcome: 'exists' });
    });

    it('after a destroy was carried out: there was nothing to end', async () => {
      const cut = proxy.cutReply();
      const destroying = store.destroy(key, call());
      await cut;
      expect(await destroying).to.equal(undefined);
      expect(await content()).to.equal(undefined);
    });

    describe('over HTTP', () => {
      let served: Served;
      let visitor: Client;
      beforeEach(async () => {
        await direct.flushall();
        served = await serve(counterApp(store));
        visitor = new Client(served);
        await visitor.get('/count');
      });
      afterEach(() => served.close());

      it('when a logout was carried out: it is one', async () => {
        const cut = proxy.cutReply(1); // the reply to `load` is let through
        const answer = await visitor.get('/logout');
        await cut;
        expect([answer.status, answer.setCookie]).to.deep.equal([200, []]);
        expect((await visitor.get('/read')).body).to.equal('0');
        expect(await direct.dbsize()).to.equal(0);
      });

      it('when regenerate() ended the old session: it is answered 409, and the visitor is anonymous', async () => {
        const cut = proxy.cutReply(2); // those to `load` and `create`
        const answer = await visitor.get('/login');
        await cut;
        expect([answer.status, answer.setCookie]).to.deep.equal([409, []]);
        expect((await visitor.get('/read')).body).to.equal('0');
        expect(await direct.dbsize()).to.equal(0);
      });
    });
  });
}

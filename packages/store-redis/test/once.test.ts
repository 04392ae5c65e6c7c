import { once } from 'node:events';
import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import type { Redis as Redis5 } from 'ioredis5';
import { Client, type Served, serve } from 'testkit/http';
import { describeWith } from 'testkit/programs';
import { address, call, changesOf, contentOf, HOUR, recordOf, rejection } from 'testkit/records';
import { type RedisServer, startRedis, until } from 'testkit/redis';
import { counterApp } from './app.js';
import { type CuttableProxy, startProxy } from './proxy.js';
import { clients } from './support.js';

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
    let fresh: string;
    let group: string;
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
      [key, fresh, group] = [address(), address(), address()] as [string, string, string];
      await store.create(key, recordOf({ n: '1' }), call());
      await store.update(key, changesOf({ n: '1' }), call()); // so that Redis knows the script
    });
    afterEach(() => {
      proxy.open();
      redis.disconnect();
    });

    const content = async () => contentOf(await other.load(key, call()));
    const increment = (from: string, to: string) => changesOf({ n: to }, { expect: new Map([['n', from]]) });

    it('after an update was carried out: it is not carried out again, over a later write', async () => {
      const cut = proxy.cutReply();
      const updating = store.update(key, changesOf({ n: '2' }), call());
      proxy.shut();
      await cut;
      await other.update(key, changesOf({ n: '3' }), call());
      proxy.open();
      expect(await updating).to.deep.equal({ outcome: 'updated', revision: 3 });
      expect(await content()).to.deep.equal({ n: '3' });
    });

    it('after an update with expect was carried out: it is no conflict', async () => {
      const cut = proxy.cutReply();
      const updating = store.update(key, increment('1', '2'), call());
      proxy.shut();
      await cut;
      await other.update(key, increment('2', '3'), call());
      proxy.open();
      expect(await updating).to.deep.equal({ outcome: 'updated', revision: 3 });
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

    it('after an update was carried out: it is known again after 7 others, by its own revision, and not after 8', async () => {
      for (const [others, outcome] of [
        [7, { outcome: 'updated', revision: 3 }],
        [8, { outcome: 'conflict', actual: new Map([['n', '1+1+1']]) }],
      ] as const) {
        const cut = proxy.cutReply();
        const { n: before = '' } = (await content()) ?? {};
        const updating = store.update(key, increment(before, `${before}+1`), call());
        proxy.shut();
        await cut;
        for (let i = 0; i < others; i++) await other.update(key, changesOf({ [`k${i}`]: '1' }), call());
        proxy.open();
        expect(await updating).to.deep.equal(outcome);
      }
    });

    it('before an update arrived: it is carried out when the connection is back', async () => {
      const cut = proxy.cutCommand();
      const updating = store.update(key, changesOf({ n: '2' }), call());
      await cut;
      expect(await updating).to.deep.equal({ outcome: 'updated', revision: 3 });
      expect(await content()).to.deep.equal({ n: '2' });
    });

    const writes: Record<string, (brief: ReturnType<typeof call>) => Promise<unknown>> = {
      create: (brief) => store.create(fresh, recordOf({ n: '2' }), brief),
      update: (brief) => store.update(key, changesOf({ n: '2' }), brief),
      destroy: (brief) => store.destroy(key, brief),
      'index.add': async (brief) => store.index.add(fresh, key, Date.now() + HOUR, brief),
      'index.remove': async (brief) => store.index.remove(group, key, brief),
    };
    for (const [name, write] of Object.entries(writes)) {
      it(`before a write arrived, for longer than its caller waits: it is never carried out: ${name}`, async () => {
        await store.index.add(group, key, Date.now() + HOUR, call());
        await store.index.remove(fresh, key, call());
        await store.destroy(fresh, call()); // so that Redis knows the scripts
        const cut = proxy.cutCommand();
        const brief = call(100);
        const writing = write(brief);
        writing.catch(() => {}); // the core has stopped waiting
        proxy.shut();
        await cut;
        await other.update(key, changesOf({ n: '3' }), call());
        await until('the deadline has passed', () => performance.now() > brief.deadline + 5);
        proxy.open();
        expect((await rejection(writing)).message).to.match(/TIMEOUT command abandoned|not connected/);
        await redis.ping(); // behind what the client sent again
        expect(await content()).to.deep.equal({ n: '3' });
        expect(await other.load(fresh, call())).to.equal(undefined);
        expect(await other.index.keys(fresh, call())).to.deep.equal([]);
        expect(await other.index.keys(group, call())).to.deep.equal([key]);
      });
    }

    it('while nothing is on its way: a call waits for the next one, and is never sent after its deadline', async () => {
      proxy.shut();
      const cut = proxy.cutReply();
      redis.ping().catch(() => {});
      await cut;
      await once(redis, 'reconnecting');
      const given = await rejection(store.update(key, changesOf({ n: '2' }), call(50)));
      expect(given.message).to.match(/^The Redis client is not connected: /);
      const waiting = store.update(key, changesOf({ m: '1' }), call());
      proxy.open();
      expect(await waiting).to.deep.equal({ outcome: 'updated', revision: 3 });
      expect(await content()).to.deep.equal({ n: '1', m: '1' });
    });

    it('after a create was carried out: it is not carried out again', async () => {
      const cut = proxy.cutReply();
      const creating = store.create(fresh, recordOf({ a: '1' }), call());
      proxy.shut();
      await cut;
      await other.update(fresh, changesOf({ a: '2' }), call());
      proxy.open();
      expect(await creating).to.deep.equal({ outcome: 'created' });
      expect(contentOf(await other.load(fresh, call()))).to.deep.equal({ a: '2' });
    });

    it('after a destroy was carried out: there was nothing to end', async () => {
      const cut = proxy.cutReply();
      const destroying = store.destroy(key, call());
      await cut;
      expect(await destroying).to.deep.equal({ outcome: 'none' });
      expect(await content()).to.equal(undefined);
    });

    it('after a destroy left its mark: it is replaced, by the same successor', async () => {
      const cut = proxy.cutReply();
      const replaced = { by: fresh, until: Date.now() + HOUR };
      const destroying = store.destroy(key, { ...call(), replaced });
      await cut;
      expect(await destroying).to.deep.equal({ outcome: 'replaced', by: fresh });
      expect(await other.load(key, call())).to.deep.equal(replaced);
    });

    it('after the index added a session: it is in the group, also at the limit', async () => {
      const cut = proxy.cutReply();
      const adding = store.index.add(group, key, Date.now() + HOUR, { ...call(), limit: 1 });
      await cut;
      expect(await adding).to.equal(true);
      expect(await other.index.keys(group, call())).to.deep.equal([key]);
    });

    it('is noticed by no caller, with auto-pipelining', async () => {
      const pipelining = connect(proxy.port, { retryStrategy: () => 10, enableAutoPipelining: true });
      try {
        const own = new RedisStore(pipelining);
        await own.load(key, call()); // until it is ready
        await own.update(key, changesOf({ large: 'x'.repeat(1_000_000) }), call());
        const cut = proxy.cutReply(1); // after the reply to the update, in the middle of the reply to load
        const calls = Promise.all([own.update(key, changesOf({ m: '1' }), call()), own.load(key, call())]);
        await cut;
        const [updated, loaded] = await calls;
        expect(updated).to.deep.equal({ outcome: 'updated', revision: 4 });
        expect(contentOf(loaded)).to.include({ n: '1', m: '1' });
      } finally {
        pipelining.disconnect();
      }
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
        expect(answer.status).to.equal(200);
        expect((await visitor.get('/read')).body).to.equal('0');
        expect(await direct.dbsize()).to.equal(0);
      });

      it('when regenerate() ended the old session: it is done, and the visitor has the new id', async () => {
        const cut = proxy.cutReply(2); // those to `load` and `create`
        const answer = await visitor.get('/login');
        await cut;
        expect([answer.status, answer.setCookie.length]).to.deep.equal([200, 1]);
        expect((await visitor.get('/read')).body).to.equal('1');
      });
    });
  });
}

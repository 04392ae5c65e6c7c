import { expect } from 'chai';
import { limitLogins } from 'guides/login-limit';
import { Redis } from 'ioredis';
import Koa from 'koa';
import { session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { Client, describeWith, type RedisServer, type Served, serve, startRedis } from 'testkit';

describeWith(['redis-server'], 'the guide to rate limiting', () => {
  let server: RedisServer;
  let redis: Redis;
  let served: Served;
  beforeEach(async () => {
    server = await startRedis();
    redis = new Redis(server.url, { maxRetriesPerRequest: 0 });
    redis.on('error', () => undefined);
    const sessions = session(new MemoryStore());
    const app = new Koa({ proxy: true });
    app.silent = true;
    app.use(sessions);
    app.use((ctx, next) => {
      Object.assign(ctx.request, { body: ctx.query }); // in place of a body parser
      return next();
    });
    app.use(limitLogins(redis, { perName: 3, perAddress: 5 }));
    app.use(async (ctx) => {
      if (ctx.query.password !== 'right') return ctx.throw(401);
      await sessions.of(ctx).logIn(String(ctx.query.name));
      ctx.body = 'in';
    });
    served = await serve(app);
  });
  afterEach(async () => {
    redis.disconnect();
    await Promise.all([served.close(), server.stop()]);
  });

  /** The statuses of attempts, each from an address of its own unless one is given. */
  let last = 0;
  const attempt = async (name: string, password = 'guessed', address = `10.0.0.${++last}`): Promise<number> => {
    const headers = { 'x-forwarded-for': address };
    return (await new Client(served).get(`/?name=${name}&password=${password}`, { headers })).status;
  };

  it('refuses the fourth attempt on a name, from whatever address, even with the right password', async () => {
    const statuses = [await attempt('ada'), await attempt('ada'), await attempt('ada'), await attempt('ada', 'right')];
    expect(statuses).to.deep.equal([401, 401, 401, 429]);
    expect(await attempt('grace', 'right')).to.equal(200);
  });

  it('counts parallel attempts, too', async () => {
    const statuses = await Promise.all(Array.from({ length: 20 }, () => attempt('ada')));
    expect(statuses.filter((status) => status === 401)).to.have.length(3);
  });

  it('refuses the sixth attempt from an address, on whatever name', async () => {
    const statuses = [];
    for (const name of 'abcdef') statuses.push(await attempt(name, 'guessed', '10.1.1.1'));
    expect(statuses).to.deep.equal([401, 401, 401, 401, 401, 429]);
  });

  it('begins anew after a login, and when the time is over', async () => {
    for (const password of ['guessed', 'guessed', 'right', 'guessed', 'guessed']) await attempt('ada', password);
    expect(await attempt('ada', 'right')).to.equal(200);
    for (let i = 0; i < 4; i++) await attempt('ada');
    const keys = await redis.keys('attempts:name:*');
    for (const key of keys) {
      expect(await redis.ttl(key)).to.be.within(1, 900);
      await redis.pexpire(key, 0);
    }
    expect(await attempt('ada', 'right')).to.equal(200);
  });

  it('lets nobody in while Redis is down', async () => {
    await server.stop();
    expect(await attempt('ada', 'right')).to.equal(500);
  });
});

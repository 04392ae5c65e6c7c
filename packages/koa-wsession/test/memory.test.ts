import { expect } from 'chai';
import { OptionError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { stub, useFakeTimers } from 'sinon';
import { errorOf, recordOf, tidy } from './helpers.js';

const CALL = { name: 'x', deadline: 0 };

describe('MemoryStore', () => {
  afterEach(tidy);

  it('refuses NODE_ENV=production, whatever the options', async () => {
    const before = process.env.NODE_ENV;
    try {
      process.env.NODE_ENV = 'production';
      for (const options of [undefined, {}, { expire: 5 }]) {
        const { message } = await errorOf(() => new MemoryStore(options));
        expect(message).to.match(/refuses NODE_ENV=production.*file, Redis or cookie store/);
      }
      process.env.NODE_ENV = 'development';
      expect(new MemoryStore()).to.be.instanceOf(MemoryStore);
    } finally {
      if (before === undefined) delete process.env.NODE_ENV;
      else process.env.NODE_ENV = before;
    }
  });

  it('has the options of every store, and no others', async () => {
    const { expire, secure, domain } = new MemoryStore();
    expect([expire, secure, domain]).to.deep.equal([3600, false, undefined]);
    expect(await errorOf(() => new MemoryStore({ directory: '/x' } as never))).to.be.instanceOf(OptionError);
  });

  it('forgets abandoned sessions: memory is bounded by those alive, and looking for them is rare', () => {
    const clock = useFakeTimers({ toFake: ['Date'] });
    const store = new MemoryStore();
    let made = 0;
    const remove = stub(Map.prototype, 'delete').callThrough();
    const add = (count: number) => {
      for (let i = 0; i < count; i++) store.create(`k${made++}`, recordOf({ a: '1' }, clock.now));
    };
    add(1000);
    clock.tick(3_600_001);
    add(1); // makes it look
    expect(remove.callCount).to.equal(1000);
    add(998);
    expect(remove.callCount).to.equal(1000);
    clock.tick(3_600_001);
    add(2);
    expect(remove.callCount).to.equal(1999);
    remove.restore();
  });

  it('with many sessions alive looks again only when their number has doubled', () => {
    const clock = useFakeTimers({ toFake: ['Date'] });
    const store = new MemoryStore();
    const looks = stub(Map.prototype, 'keys').callThrough();
    for (let i = 0; i < 8000; i++) store.create(`k${i}`, recordOf({}, clock.now));
    const { callCount } = looks;
    looks.restore();
    expect(callCount).to.equal(3); // at 1000, 2000 and 4000
    for (const key of ['k0', 'k7999']) expect(store.load(key)).to.not.equal(undefined);
  });

  it('forgets the owners of sessions that are over, and no others', async () => {
    const clock = useFakeTimers({ toFake: ['Date'] });
    const store = new MemoryStore();
    await store.owners.add('long', 'a', clock.now + 10_000_000, CALL);
    await store.owners.add('short', 'b', clock.now + 1000, CALL);
    await store.owners.add('none', 'c', clock.now + 10_000_000, CALL);
    await store.owners.remove('none', 'c', CALL);
    clock.tick(1001);
    const forgotten = stub(Map.prototype, 'delete').callThrough();
    for (let i = 0; i <= 1000; i++) store.create(`k${i}`, recordOf({}, clock.now));
    const owners = forgotten.args.flat();
    forgotten.restore();
    expect(owners).to.deep.equal(['short', 'none']);
    expect(await store.owners.keys('long', CALL)).to.deep.equal(['a']);
  });

  it('has no timers, and keeps no process alive', () => {
    const clock = useFakeTimers();
    const store = new MemoryStore();
    store.create('k', recordOf({}, clock.now));
    store.update('k', { set: new Map(), delete: [], expiresAt: clock.now + 5 });
    store.destroy('k');
    expect(clock.countTimers()).to.equal(0);
  });
});

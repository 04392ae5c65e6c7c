import { expect } from 'chai';
import { OptionError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { SessionRecord } from 'koa-wsession/store';
import { restore, stub, useFakeTimers } from 'sinon';

const CALL = { name: 'x', deadline: 0 };

/** A record created now, which expires in an hour. */
function recordOf(entries: Record<string, string> = {}): SessionRecord {
  const now = Date.now();
  return {
    entries: new Map(Object.entries(entries)),
    createdAt: now,
    updatedAt: now,
    expiresAt: now + 3_600_000,
    revision: 1,
  };
}

describe('MemoryStore', () => {
  afterEach(() => restore());

  it('refuses NODE_ENV=production, whatever the options', () => {
    const before = process.env.NODE_ENV;
    try {
      process.env.NODE_ENV = 'production';
      for (const options of [undefined, {}, { expire: 5 }]) {
        expect(() => new MemoryStore(options)).to.throw(/refuses NODE_ENV=production.*file, Redis or cookie store/);
      }
      process.env.NODE_ENV = 'development';
      expect(new MemoryStore()).to.be.instanceOf(MemoryStore);
    } finally {
      if (before === undefined) delete process.env.NODE_ENV;
      else process.env.NODE_ENV = before;
    }
  });

  it('takes the options of every store, and no others', () => {
    const { expire, secure, domain } = new MemoryStore();
    expect([expire, secure, domain]).to.deep.equal([3600, false, undefined]);
    expect(() => new MemoryStore({ directory: '/x' } as never)).to.throw(OptionError);
  });

  it('removes expired records and marks: memory is bounded by the live ones, and looking for expired ones is rare', () => {
    const clock = useFakeTimers({ toFake: ['Date'] });
    const store = new MemoryStore();
    let created = 0;
    const create = (count: number) => {
      for (let i = 0; i < count; i++) store.create(`k${created++}`, recordOf({ a: '1' }));
    };
    create(1000);
    for (let i = 0; i < 10; i++) store.destroy(`k${i}`, { ...CALL, replaced: { by: '', until: clock.now + 60_000 } });
    const remove = stub(Map.prototype, 'delete').callThrough();
    clock.tick(3_600_001);
    create(1); // looks for expired ones
    expect(remove.callCount).to.equal(1000);
    create(998);
    expect(remove.callCount).to.equal(1000);
    clock.tick(3_600_001);
    create(2);
    expect(remove.callCount).to.equal(1999);
  });

  it('with many live sessions, looks for expired ones again only when their number has doubled', () => {
    useFakeTimers({ toFake: ['Date'] });
    const store = new MemoryStore();
    const looks = stub(Map.prototype, 'keys').callThrough();
    for (let i = 0; i < 8000; i++) store.create(`k${i}`, recordOf());
    const pruned = looks.thisValues.filter((map: Map<string, unknown>) => map.has('k0')).length;
    expect(pruned).to.equal(3); // at 1000, 2000 and 4000
    for (const key of ['k0', 'k7999']) expect(store.load(key)).to.not.equal(undefined);
  });

  it('removes the groups that have no live session left, and no others', () => {
    const clock = useFakeTimers({ toFake: ['Date'] });
    const store = new MemoryStore();
    store.index.add('long', 'a', clock.now + 10_000_000, CALL);
    store.index.add('short', 'b', clock.now + 1000, CALL);
    store.index.add('none', 'c', clock.now + 10_000_000, CALL);
    store.index.remove('none', 'c', CALL);
    clock.tick(1001);
    const removed = stub(Map.prototype, 'delete').callThrough();
    for (let i = 0; i <= 1000; i++) store.create(`k${i}`, recordOf());
    expect(removed.args.flat()).to.deep.equal(['b', 'short', 'none']);
    expect(store.index.keys('long', CALL)).to.deep.equal(['a']);
  });

  it('has no timers, and keeps no process alive', () => {
    const clock = useFakeTimers();
    const store = new MemoryStore();
    store.create('k', recordOf());
    store.update('k', { set: new Map(), delete: [], updatedAt: clock.now, expiresAt: clock.now + 5 });
    store.destroy('k', { ...CALL, replaced: { by: '', until: clock.now + 5 } });
    store.index.add('g', 'k', clock.now + 5, CALL);
    expect(clock.countTimers()).to.equal(0);
  });
});

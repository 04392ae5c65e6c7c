import { createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { OptionError } from 'koa-wsession';
import { conformance } from 'koa-wsession/conformance';
import { encrypted } from 'koa-wsession/encrypted';
import { MemoryStore } from 'koa-wsession/memory';
import type { Call, SessionRecord, Store, Updated } from 'koa-wsession/store';
import { asStore, createSite, errorOf, OpenStore, recordOf, stubStore, tidy } from './helpers.js';

const [OLD, NEW] = ['old', 'new'].map((word) => word.repeat(20)) as [string, string];

/** A store whose secrets are rotated again and again: every few calls another process, so to speak, has the call. */
function rotating(store: Store): Store {
  const stores = [[OLD], [OLD, NEW], [NEW, OLD], [OLD, NEW]].map((secrets) => encrypted(store, secrets));
  // The old secret alone serves only as long as nothing is encrypted with the new one.
  let calls = 0;
  const current = (): Store => (calls++ < 10 ? stores[0] : stores[1 + (Math.floor(calls / 7) % 3)]) as Store;
  const { expire, secure, domain, capabilities } = store;
  const index = new Proxy({} as NonNullable<Store['index']>, {
    get: (_, method: 'add' | 'remove' | 'keys') => (current().index as NonNullable<Store['index']>)[method],
  });
  return {
    ...{ expire, secure, domain, capabilities, index },
    load: (key, call) => current().load(key, call),
    create: (key, record, call) => current().create(key, record, call),
    update: (key, changes, call) => current().update(key, changes, call),
    destroy: (key, call) => current().destroy(key, call),
    scan: (call) => (current().scan as NonNullable<Store['scan']>)(call),
  };
}

for (const [name, create] of [
  ['encrypted(MemoryStore)', (store: Store) => encrypted(store, OLD)],
  ['encrypted(MemoryStore), while secrets are rotated', rotating],
] as const) {
  conformance(
    { describe, it, afterEach },
    {
      name,
      create: (options) => create(new MemoryStore(options)),
      capabilities: { seals: false, merges: true, revokes: true },
      isolated: true,
    },
  );
}

const CALL: Call = { name: 'wsession', deadline: Number.POSITIVE_INFINITY };
const key = (): string => randomBytes(32).toString('base64url');

describe('encrypted(store, secrets)', () => {
  afterEach(tidy);

  /** A record under a new key, in an encrypted store and in the one below. */
  async function stored(entries: Record<string, string>, secrets: string | string[] = OLD) {
    const below = new MemoryStore();
    const store = encrypted(below, secrets);
    const address = key();
    await store.create(address, recordOf(entries), CALL);
    const textOf = (entry: string): string => (below.load(address) as SessionRecord).entries.get(entry) as string;
    const put = (entry: string, text: string): unknown =>
      below.update(address, { set: new Map([[entry, text]]), delete: [], updatedAt: 0, expiresAt: undefined });
    return { below, store, address, textOf, put };
  }

  const loaded = async (store: Store, address: string): Promise<unknown> => {
    const found = await store.load(address, CALL);
    return typeof found === 'object' && 'entries' in found ? Object.fromEntries(found.entries) : found;
  };

  it('shows the store below the names of keys, and no value, owner, label or message', async () => {
    const below = new MemoryStore();
    const seen: string[] = [];
    const { create, update } = below;
    below.create = (address, record) => {
      seen.push(...[...record.entries].flat());
      return create.call(below, address, record);
    };
    below.update = (address, changes) => {
      seen.push(...[...changes.set].flat());
      expect(changes.known).to.equal(undefined);
      return update.call(below, address, changes);
    };
    const { visitor } = await createSite(
      {
        '/login': async (ctx, { of }) => {
          ctx.session.card = 'VALUE-1';
          of(ctx).flash('note', 'VALUE-2');
          await of(ctx).logIn('VALUE-3', { label: 'VALUE-4', sid: 'VALUE-5' });
        },
        '/update': async (ctx, { of }) => {
          await of(ctx).update('text', () => 'VALUE-6');
          ctx.session.more = { deep: ['VALUE-7'] };
        },
        '/read': async (ctx, { of }) => ({
          ...ctx.session,
          notes: await of(ctx).takeFlash('note'),
          owner: of(ctx).owner,
        }),
      },
      { store: encrypted(below, OLD) },
    );
    const ada = visitor();
    for (const path of ['/login', '/update']) expect((await ada.get(path)).status).to.equal(200);
    expect((await ada.get('/read')).json()).to.deep.equal({
      card: 'VALUE-1',
      text: 'VALUE-6',
      more: { deep: ['VALUE-7'] },
      notes: ['VALUE-2'],
      owner: 'VALUE-3',
    });
    expect(seen).to.include.members(['card', 'text', 'more', '\0owner']);
    expect(seen.join()).to.not.match(/VALUE/);
  });

  it('encrypts the same value to another text each time, and with another key for each session', async () => {
    const { store, address, textOf } = await stored({ a: '1' });
    const first = textOf('a');
    const changes = { set: new Map([['a', '1']]), delete: [], updatedAt: Date.now(), expiresAt: undefined };
    await store.update(address, changes, CALL);
    expect(textOf('a')).to.not.equal(first);
    expect(await loaded(store, address)).to.deep.equal({ a: '1' });
  });

  it('refuses a text of another session, another name, another entry or another secret, and a changed one', async () => {
    const one = await stored({ a: '1', b: '2' });
    const other = await stored({ a: '3' });
    const text = one.textOf('a');
    const bytes = Buffer.from(text, 'base64url');
    const flipped = Array.from(bytes, (byte, at) => {
      const copy = Buffer.from(bytes);
      copy[at] = byte ^ 1;
      return copy.toString('base64url');
    });
    for (const bad of [other.textOf('a'), one.textOf('b'), '', '"1"', text.slice(0, -6), `${text}AAAA`, ...flipped]) {
      one.put('a', bad);
      expect(await loaded(one.store, one.address), bad).to.equal('seal');
    }
    one.put('a', text);
    expect(await loaded(one.store, one.address)).to.deep.equal({ a: '1', b: '2' });
    expect(await one.store.load(one.address, { ...CALL, name: 'another' })).to.equal('seal');
    expect(await loaded(encrypted(one.below, NEW), one.address)).to.equal('seal');
  });

  it('makes the visitor of an unreadable session an anonymous one, and never a 5xx', async () => {
    const below = new MemoryStore();
    const handlers = { '/': (ctx: { session: { n?: number } }) => (ctx.session.n = (ctx.session.n ?? 0) + 1) };
    const before = await createSite(handlers as never, { store: encrypted(below, OLD) });
    const ada = before.visitor();
    for (const n of ['1', '2']) expect((await ada.get('/')).body).to.equal(n);
    const after = await createSite(handlers as never, { store: encrypted(below, NEW) });
    const again = after.visitor();
    for (const [name, value] of ada.jar) again.jar.set(name, value);
    for (const n of ['1', '2']) expect((await again.get('/')).body).to.equal(n);
  });

  it('is AES-256-GCM under a key that HKDF derives from the secret, the name and the address', async () => {
    const { address, textOf } = await stored({ a: '1' });
    const bytes = Buffer.from(textOf('a'), 'base64url');
    const info = `koa-wsession encrypted 1\0wsession\0${address}`;
    const decipher = createDecipheriv(
      'aes-256-gcm',
      Buffer.from(hkdfSync('sha256', OLD, '', info, 32)),
      bytes.subarray(1, 13),
    );
    decipher.setAAD(Buffer.from(`1\0${address}\0a`)).setAuthTag(bytes.subarray(-16));
    expect(decipher.update(bytes.subarray(13, -16), undefined, 'utf8') + decipher.final('utf8')).to.equal('1');
  });

  it('opens with each secret, and encrypts with the first', async () => {
    const { below, address } = await stored({ a: '1' });
    const both = encrypted(below, [NEW, OLD]);
    expect(await loaded(both, address)).to.deep.equal({ a: '1' });
    await both.update(
      address,
      { set: new Map([['a', '2']]), delete: [], updatedAt: Date.now(), expiresAt: undefined },
      CALL,
    );
    expect(await loaded(encrypted(below, NEW), address)).to.deep.equal({ a: '2' });
    expect(await loaded(encrypted(below, OLD), address)).to.equal('seal');
  });

  it('finds an owner’s sessions of all secrets in use, and counts them together against a limit', async () => {
    const below = new MemoryStore();
    const [group, keys] = [key(), Array.from({ length: 4 }, key) as [string, string, string, string]];
    const indexOf = (...secrets: string[]) => encrypted(below, secrets).index as NonNullable<Store['index']>;
    const until = Date.now() + 1e6;
    const add = (index: ReturnType<typeof indexOf>, one: string, limit?: number) =>
      index.add(group, one, until, limit === undefined ? CALL : { ...CALL, limit });
    await add(indexOf(OLD), keys[0]);
    await add(indexOf(NEW, OLD), keys[1]);
    expect([...(await indexOf(NEW, OLD).keys(group, CALL))].sort()).to.deep.equal(keys.slice(0, 2).sort());
    expect(await indexOf(OLD).keys(group, CALL)).to.deep.equal([keys[0]]);
    expect(below.index.keys(group, CALL), 'under a keyed hash').to.deep.equal([]);
    expect(await add(indexOf(NEW, OLD), keys[2], 2)).to.equal(false);
    expect(await add(indexOf(NEW, OLD), keys[0], 2), 'it is one of them').to.equal(true);
    expect(await add(indexOf(NEW, OLD), keys[2], 3)).to.equal(true);
    for (const one of keys) await indexOf(NEW, OLD).remove(group, one, CALL);
    expect(await indexOf(NEW, OLD).keys(group, CALL)).to.deep.equal([]);
  });

  describe('update() with expect', () => {
    const changes = (a: string, expected: string | undefined, known?: SessionRecord) => ({
      set: new Map([['a', a]]),
      delete: [],
      updatedAt: Date.now(),
      expiresAt: undefined,
      expect: new Map([['a', expected]]),
      ...(known && { known }),
    });

    it('succeeds where the value is the expected one, also after a rotation, and is a conflict otherwise', async () => {
      const { below, store, address } = await stored({ a: '1' });
      const rotated = encrypted(below, [NEW, OLD]);
      expect((await store.update(address, changes('2', '1'), CALL)).outcome).to.equal('updated');
      expect((await rotated.update(address, changes('3', '2'), CALL)).outcome).to.equal('updated');
      for (const expected of ['2', undefined]) {
        const answer = (await rotated.update(address, changes('4', expected), CALL)) as Updated & { actual: unknown };
        expect(answer).to.deep.equal({ outcome: 'conflict', actual: new Map([['a', '3']]) });
      }
      expect(await loaded(rotated, address)).to.deep.equal({ a: '3' });
    });

    it('takes one call where the request loaded the value, else two', async () => {
      const { below, store, address } = await stored({ a: '1' });
      let calls = 0;
      const { update } = below;
      below.update = (...args) => {
        calls++;
        return update.apply(below, args);
      };
      const known = (await store.load(address, CALL)) as SessionRecord;
      await store.update(address, changes('2', '1', known), CALL);
      expect(calls).to.equal(1);
      await store.update(address, changes('3', '2'), CALL);
      expect(calls).to.equal(3);
    });

    it('tries again where another process stored the same value in between', async () => {
      const { below, store, address } = await stored({ a: '1' });
      const { update } = below;
      let interferes = true;
      below.update = (...args) => {
        const answer = update.apply(below, args);
        if (answer.outcome === 'conflict' && interferes) {
          interferes = false;
          update.call(below, address, {
            ...changes('', ''),
            expect: undefined,
            set: new Map([['a', texts.shift() as string]]),
          });
        }
        return answer;
      };
      const other = await stored({});
      const twin = encrypted(other.below, OLD);
      await twin.create(address, recordOf({ a: '1' }), CALL);
      const texts = [(other.below.load(address) as SessionRecord).entries.get('a') as string];
      expect((await store.update(address, changes('2', '1'), CALL)).outcome).to.equal('updated');
      expect([interferes, await loaded(store, address)]).to.deep.equal([false, { a: '2' }]);
    });
  });

  it('passes on what the store announces, for a near cache, and has neither index nor scan where the store has none', () => {
    const changes = { subscribe: () => () => undefined, sync: async () => undefined };
    expect(encrypted({ ...asStore(stubStore()), changes }, OLD).changes).to.equal(changes);
    const bare = encrypted(asStore(stubStore()), OLD);
    expect([bare.index, bare.scan, bare.changes]).to.deep.equal([undefined, undefined, undefined]);
    expect(encrypted(new MemoryStore(), OLD).index).to.have.property('keys');
  });

  it('refuses short secrets, and stores that seal their tokens', async () => {
    for (const bad of ['', 'short', 'x'.repeat(31), new Uint8Array(31), undefined, 5, [], [OLD, 'short'], null]) {
      const error = await errorOf(() => encrypted(new MemoryStore(), bad as never));
      expect(error).to.be.instanceOf(OptionError);
      expect(error.message).to.not.include('xxx');
    }
    expect(await errorOf(() => encrypted(new OpenStore(), OLD))).to.be.instanceOf(OptionError);
    expect(await errorOf(() => encrypted(null as never, OLD))).to.be.instanceOf(OptionError);
    expect(encrypted(new MemoryStore(), new Uint8Array(32)).capabilities.merges).to.equal(true);
  });
});

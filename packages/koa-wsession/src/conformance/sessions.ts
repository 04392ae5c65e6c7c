import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { addressOf } from '../token.js';
import { Clock } from './clock.js';
import type { Subject, TestRunner } from './index.js';
import { type AnyContext, Gate, type Handler, type Visitor, Worlds } from './world.js';

const count: Handler = (ctx) => {
  ctx.session.counter = (ctx.session.counter ?? 0) + 1;
  return ctx.session.counter;
};
const read: Handler = (ctx) => ({ ...ctx.session });
const logout: Handler = (ctx) => ctx.session.destroy();

/** What a visitor sees of a store, whatever the store: one table of scenarios for all. */
export function describeSessions({ describe, it, afterEach }: TestRunner, subject: Subject): void {
  const { seals, merges } = subject.capabilities;
  const clock = new Clock();
  const worlds = new Worlds(subject);
  afterEach(async () => {
    clock.restore();
    await worlds.close();
  });

  describe('data', () => {
    it('counts: 1, 2, 3, and each visitor by himself', async () => {
      const { visitor } = await worlds.create({ '/': count });
      const [ada, bob] = [visitor(), visitor()];
      const texts = [];
      for (const who of [ada, ada, bob, ada]) texts.push((await who.get('/')).text);
      assert.deepEqual(texts, ['1', '2', '1', '3']);
    });

    it('comes back as it was, in value and type', async () => {
      const cyclic: Record<string, unknown> = { name: 'loop' };
      cyclic.self = cyclic;
      const values: Record<string, unknown> = {
        string: 'é😀\u2028\ud800',
        numbers: [0, -0, 1.5, 1e300, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
        nothing: [null, undefined, true, false, '', 0],
        undefined: undefined,
        bigint: 2n ** 70n,
        date: new Date(1e12),
        map: new Map<unknown, unknown>([
          ['a', { b: [1] }],
          [2, new Set([1, 'x'])],
        ]),
        bytes: new Uint8Array([0, 255, 7]),
        buffer: Buffer.from('buffer'),
        // biome-ignore lint/suspicious/noSparseArray: the hole is the point.
        holes: [1, , 3],
        bare: Object.assign(Object.create(null), { a: 1 }),
        cyclic,
      };
      let seen: Record<string, unknown> = {};
      const { visitor } = await worlds.create({
        '/set': (ctx) => void Object.assign(ctx.session, values),
        '/get': (ctx) => void (seen = { ...ctx.session }),
      });
      const ada = visitor();
      assert.equal((await ada.get('/set')).status, 200);
      await ada.get('/get');
      assert.deepEqual(Object.keys(seen).sort(), Object.keys(values).sort());
      for (const [key, value] of Object.entries(values)) assert.deepEqual(seen[key], value, key);
    });

    it('has no key that is special', async () => {
      const keys = [
        '__proto__',
        'constructor',
        'toString',
        'then',
        'toJSON',
        '',
        '\0',
        '\0expire',
        '0',
        'a.b',
        '😀',
      ];
      const { visitor } = await worlds.create({
        '/set': (ctx) => {
          for (const [i, key] of keys.entries()) ctx.session[key] = { [key]: i };
        },
        '/get': (ctx) =>
          keys.map((key) => [key in ctx.session, Object.hasOwn(ctx.session, key), ctx.session[key]?.[key]]),
        '/keys': (ctx) => Object.keys(ctx.session).length,
      });
      const ada = visitor();
      assert.equal((await ada.get('/get')).text, JSON.stringify(keys.map(() => [false, false, null])));
      await ada.get('/set');
      // `{ ['__proto__']: 5 }` is an own property by the computed name, and comes back as one.
      assert.equal((await ada.get('/get')).text, JSON.stringify(keys.map((_, i) => [true, true, i])));
      assert.equal((await ada.get('/keys')).text, String(keys.length));
    });

    it('that changed in place is stored', async () => {
      const { visitor } = await worlds.create({
        '/set': (ctx) => {
          ctx.session = {
            deep: { list: [{ n: 1 }] },
            map: new Map([['a', 1]]),
            set: new Set([1]),
            date: new Date(0),
            bytes: new Uint8Array(2),
          };
        },
        '/deep': (ctx) => void ctx.session.deep.list[0].n++,
        '/map': (ctx) => void ctx.session.map.set('b', 2),
        '/set2': (ctx) => void ctx.session.set.add(2),
        '/date': (ctx) => void ctx.session.date.setTime(5),
        '/bytes': (ctx) => void (ctx.session.bytes[1] = 9),
        '/get': ({ session: { deep, map, set, date, bytes } }) => [
          deep.list[0].n,
          [...map],
          [...set],
          +date,
          [...bytes],
        ],
      });
      const ada = visitor();
      for (const path of ['/set', '/deep', '/map', '/set2', '/date', '/bytes'])
        assert.ok((await ada.get(path)).setCookie, path);
      assert.equal((await ada.get('/get')).text, '[2,[["a",1],["b",2]],[1,2],5,[0,9]]');
    });

    it('can be deleted and replaced', async () => {
      const { visitor } = await worlds.create({
        '/set': (ctx) => void Object.assign(ctx.session, { a: 1, b: 2, c: 3 }),
        '/delete': (ctx) => void delete ctx.session.b,
        '/replace': (ctx) => void (ctx.session = { c: 3, d: 4 }),
        '/get': read,
      });
      const ada = visitor();
      await ada.get('/set');
      await ada.get('/delete');
      assert.deepEqual(JSON.parse((await ada.get('/get')).text), { a: 1, c: 3 });
      await ada.get('/replace');
      assert.deepEqual(JSON.parse((await ada.get('/get')).text), { c: 3, d: 4 });
    });

    it('that can not be stored is an error that says where it is, and nothing is stored', async () => {
      const { visitor, errors } = await worlds.create({
        '/set': (ctx) =>
          Object.assign(ctx.session, { fine: 1, bad: { list: [new URL('http://x.example')] } }),
        '/get': read,
      });
      const ada = visitor();
      const { status, setCookie } = await ada.get('/set');
      assert.deepEqual([status, setCookie], [500, undefined]);
      assert.equal(errors[0]?.code, 'WSESSION_VALUE');
      assert.match(String(errors[0]?.message), /^session\.bad\.list\[0\] /);
      assert.equal((await ada.get('/get')).text, '{}');
    });
  });

  describe('a request', () => {
    it('that leaves the session alone costs nothing', async () => {
      const { visitor, calls } = await worlds.create({ '/': count });
      const ada = visitor();
      await ada.get('/');
      calls.length = 0;
      const { setCookie, headers } = await ada.get('/untouched');
      assert.deepEqual([setCookie, headers.get('vary')], [undefined, null]);
      assert.deepEqual(calls, seals ? [] : ['load']);
      await visitor().get('/untouched');
      assert.deepEqual(calls, seals ? [] : ['load'], 'without a cookie not even that');
    });

    it('that only reads stores nothing and sets no cookie', async () => {
      const { visitor, calls } = await worlds.create({ '/': count, '/read': read });
      const ada = visitor();
      await ada.get('/');
      calls.length = 0;
      for (const who of [visitor(), ada]) {
        const { setCookie, headers } = await who.get('/read');
        assert.deepEqual(
          [setCookie, headers.get('vary'), headers.get('cache-control')],
          [undefined, 'Cookie', null],
        );
      }
      assert.deepEqual(calls, ['load']);
    });

    it('that sets the same value again stores nothing', async () => {
      const { visitor, calls } = await worlds.create({
        '/': (ctx) => void (ctx.session.user = { name: 'ada', roles: ['a'] }),
      });
      const ada = visitor();
      await ada.get('/');
      calls.length = 0;
      assert.equal((await ada.get('/')).setCookie, undefined);
      assert.deepEqual(calls, ['load']);
    });

    it('that changes it is kept from caches, unless the handler says otherwise', async () => {
      const { visitor } = await worlds.create({
        '/': count,
        '/own': (ctx) => {
          ctx.set('Cache-Control', 'private');
          ctx.set('Vary', 'Accept');
          return count(ctx);
        },
      });
      const one = (await visitor().get('/')).headers;
      assert.deepEqual([one.get('cache-control'), one.get('vary')], ['no-store', 'Cookie']);
      const own = (await visitor().get('/own')).headers;
      assert.deepEqual([own.get('cache-control'), own.get('vary')], ['private', 'Accept, Cookie']);
    });

    it('that fails after a change still stores it and delivers the cookie', async () => {
      const { visitor } = await worlds.create({
        '/throw': (ctx) => {
          ctx.session.attempts = (ctx.session.attempts ?? 0) + 1;
          ctx.throw(401);
        },
        '/crash': (ctx) => {
          ctx.session.crashed = true;
          throw new Error('a bug');
        },
        '/primitive': (ctx) => {
          ctx.session.primitive = true;
          throw 'no error at all';
        },
        '/get': read,
      });
      const ada = visitor();
      for (const [path, status] of [
        ['/throw', 401],
        ['/crash', 500],
        ['/primitive', 500],
        ['/throw', 401],
      ] as const) {
        const reply = await ada.get(path);
        assert.equal(reply.status, status);
        assert.match(String(reply.setCookie), /^wsession=.+HttpOnly/);
        assert.deepEqual(
          [reply.headers.get('cache-control'), reply.headers.get('vary')],
          ['no-store', 'Cookie'],
        );
      }
      assert.deepEqual(JSON.parse((await ada.get('/get')).text), {
        attempts: 2,
        crashed: true,
        primitive: true,
      });
    });

    it('can store before it ends', async () => {
      const { visitor, calls } = await worlds.create({
        '/': async (ctx) => {
          ctx.session.a = 1;
          const before = [...calls, ctx.session.isNew];
          await ctx.session.save();
          return [before, [...calls, ctx.session.isNew]];
        },
        '/get': read,
      });
      const ada = visitor();
      assert.equal((await ada.get('/')).text, '[[true],["create",false]]');
      assert.equal((await ada.get('/get')).text, '{"a":1}');
    });

    it('that changes the session while the body streams is reported, not dropped silently', async () => {
      const { visitor, errors } = await worlds.create({
        '/': count,
        '/stream': (ctx) => {
          ctx.session.list = [];
          ctx.body = Readable.from(
            (async function* () {
              yield 'a';
              ctx.session.late = true;
              ctx.session.list.push(1);
              yield 'b';
            })(),
          );
        },
      });
      const ada = visitor();
      await ada.get('/');
      assert.equal((await ada.get('/stream')).text, 'ab');
      while (errors.length === 0) await new Promise(setImmediate);
      assert.equal(errors[0]?.code, 'WSESSION_LATE');
      assert.deepEqual([...(errors[0] as unknown as { keys: string[] }).keys].sort(), ['late', 'list']);
    });
  });

  describe('parallel requests', () => {
    const parallel = (ada: Visitor, paths: string[]) => Promise.all(paths.map((path) => ada.get(path)));

    it(merges ? 'on different keys all survive' : 'can not be merged: the last cookie counts', async () => {
      const all = new Gate();
      let waiting = 0;
      const { visitor } = await worlds.create({
        '/': count,
        '/set': async (ctx) => {
          const key = String(ctx.query.key);
          ctx.session[key] = true;
          if (++waiting === 100) all.open();
          await all.passed; // so that each has loaded before any stores
        },
        '/get': (ctx) => Object.keys(ctx.session).length,
      });
      const ada = visitor();
      await ada.get('/');
      await parallel(
        ada,
        Array.from({ length: 100 }, (_, i) => `/set?key=k${i}`),
      );
      assert.equal((await ada.get('/get')).text, merges ? '101' : '2');
    });

    it(
      merges ? 'with update() lose nothing on one key' : 'with update() lose nothing one after another',
      async () => {
        const { visitor } = await worlds.create({
          '/': count,
          '/update': (ctx) => ctx.session.update('n' as never, ((n = 0) => n + 1) as never),
          '/get': (ctx) => ctx.session.n,
        });
        const ada = visitor();
        await ada.get('/');
        const paths = Array.from({ length: 100 }, () => '/update');
        if (merges) {
          const texts = (await parallel(ada, paths)).map((reply) => Number(reply.text));
          assert.deepEqual(
            texts.sort((a, b) => a - b),
            Array.from({ length: 100 }, (_, i) => i + 1),
            'each got its own',
          );
        } else for (const path of paths) await ada.get(path);
        assert.equal((await ada.get('/get')).text, '100');
      },
    );

    it('within one request are in order: assign, update, save', async () => {
      const { visitor } = await worlds.create({
        '/': async (ctx) => {
          ctx.session.n = 10;
          const updates = Array.from({ length: 10 }, () =>
            ctx.session.update('n' as never, ((n: number) => n + 1) as never),
          );
          await Promise.all([...updates, ctx.session.save()]);
        },
        '/get': (ctx) => ctx.session.n,
      });
      const ada = visitor();
      await ada.get('/');
      assert.equal((await ada.get('/get')).text, '20');
    });
  });

  describe('logout', () => {
    for (const [way, end] of [
      ['destroy()', logout],
      ['ctx.session = null', (ctx: AnyContext) => void (ctx.session = null)],
    ] as const) {
      it(`by ${way} ends the session and deletes the cookie`, async () => {
        const { visitor } = await worlds.create({ '/': count, '/logout': end, '/get': read });
        const ada = visitor();
        await ada.get('/');
        const stolen = visitor(ada.cookie);
        assert.match(
          String((await ada.get('/logout')).setCookie),
          /^wsession=; Max-Age=0; Expires=Thu, 01 Jan 1970/,
        );
        assert.equal((await stolen.get('/get')).text, '{}');
      });
    }

    it('twice is no error, and touches the cookie once', async () => {
      const { visitor } = await worlds.create({ '/': count, '/logout': logout });
      const ada = visitor();
      await ada.get('/');
      const again = visitor(ada.cookie);
      await ada.get('/logout');
      for (const who of [again, visitor()]) {
        const { status, setCookie } = await who.get('/logout');
        assert.deepEqual([status, setCookie], [200, undefined]);
      }
    });

    it('and a login in one request make a new session', async () => {
      const { visitor } = await worlds.create({
        '/': count,
        '/switch': (ctx) => {
          ctx.session = null;
          ctx.session.user = 'bob';
        },
        '/get': read,
      });
      const ada = visitor();
      await ada.get('/');
      const old = visitor(ada.cookie);
      await ada.get('/switch');
      assert.equal((await ada.get('/get')).text, '{"user":"bob"}');
      assert.equal((await old.get('/get')).text, '{}');
    });

    for (const [what, end] of [
      ['logout', logout],
      ['regenerate', (ctx: AnyContext) => ctx.session.regenerate()],
    ] as const) {
      it(`is final: a request still at work during ${what} is answered 409, stores nothing and leaves the cookie alone`, async () => {
        const [arrived, released] = [new Gate(), new Gate()];
        const { visitor } = await worlds.create({
          '/': count,
          '/slow': async (ctx) => {
            ctx.session.stale = true;
            arrived.open();
            await released.passed;
          },
          '/end': end,
          '/get': read,
        });
        const ada = visitor();
        await ada.get('/');
        const slow = visitor(ada.cookie);
        const old = visitor(ada.cookie);
        const pending = slow.get('/slow');
        await arrived.passed;
        await ada.get('/end');
        released.open();
        const { status, setCookie } = await pending;
        assert.deepEqual([status, setCookie], [409, undefined]);
        assert.equal((await old.get('/get')).text, '{}');
        assert.equal((await ada.get('/get')).text, what === 'logout' ? '{}' : '{"counter":1}');
      });
    }

    it('ends what save(), update() and regenerate() do afterwards, too', async () => {
      const [arrived, released] = [new Gate(), new Gate()];
      const outcomes: unknown[] = [];
      const { visitor } = await worlds.create({
        '/': count,
        '/slow': async (ctx) => {
          ctx.session.counter; // loaded by now
          arrived.open();
          await released.passed;
          const note = (error: { code: string }) => outcomes.push(error.code);
          await ctx.session.update('counter' as never, (() => 99) as never).catch(note);
          await ctx.session.regenerate().catch(note);
          ctx.session.stale = true;
          await ctx.session.save().catch(note);
        },
        '/logout': logout,
      });
      const ada = visitor();
      await ada.get('/');
      const pending = visitor(ada.cookie).get('/slow');
      await arrived.passed;
      await ada.get('/logout');
      released.open();
      const { status, setCookie } = await pending;
      assert.deepEqual(outcomes, ['WSESSION_GONE', 'WSESSION_GONE', 'WSESSION_GONE']);
      assert.deepEqual([status, setCookie], [409, undefined]);
    });
  });

  describe('regenerate()', () => {
    it('gives a new id to the same data, and the old one is worth nothing', async () => {
      const { visitor } = await worlds.create({
        '/': count,
        '/login': async (ctx) => {
          ctx.session.user = 'ada';
          await ctx.session.regenerate();
        },
        '/get': read,
      });
      const ada = visitor();
      await ada.get('/');
      const planted = visitor(ada.cookie);
      await ada.get('/login');
      assert.notEqual(ada.cookie, planted.cookie);
      assert.equal((await planted.get('/get')).text, '{}');
      assert.deepEqual(JSON.parse((await ada.get('/get')).text), { counter: 1, user: 'ada' });
    });

    if (merges) {
      it('carries over what a parallel request stored meanwhile', async () => {
        const [arrived, released] = [new Gate(), new Gate()];
        const { visitor } = await worlds.create({
          '/': (ctx) => void Object.assign(ctx.session, { counter: 1, dropped: 1, mine: 'old' }),
          '/login': async (ctx) => {
            ctx.session.mine = 'new';
            arrived.open();
            await released.passed;
            await ctx.session.regenerate();
          },
          '/write': (ctx) => {
            Object.assign(ctx.session, { counter: 2, added: 1, mine: 'theirs' });
            delete ctx.session.dropped;
          },
          '/get': read,
        });
        const ada = visitor();
        await ada.get('/');
        const other = visitor(ada.cookie);
        const pending = ada.get('/login');
        await arrived.passed;
        await other.get('/write');
        released.open();
        await pending;
        assert.deepEqual(JSON.parse((await ada.get('/get')).text), { counter: 2, added: 1, mine: 'new' });
      });
    }
  });

  describe('a bad cookie', () => {
    it('is an anonymous visitor, and its id is never taken over', async () => {
      const { visitor } = await worlds.create({ '/': count, '/get': read });
      const ada = visitor();
      await ada.get('/');
      const good = String(ada.cookie).slice('wsession='.length);
      const forged = [
        '',
        'x',
        good.slice(0, -1),
        `${good}A`,
        good.slice(1),
        good.toLowerCase(),
        `"${good}"`,
        `${good.slice(0, -1)}%41`,
        'A'.repeat(32),
        'A'.repeat(4000),
        '../../etc/passwd',
        '%00',
        'null',
        '{}',
        good.split('').reverse().join(''),
      ];
      for (const value of forged) {
        for (const header of [`wsession=${value}`, `a=1; wsession=${value}; b=2`, `wsession=${value};;;`]) {
          const mallory = visitor(header);
          const reply = await mallory.get('/get');
          assert.deepEqual(
            [reply.status, reply.text, reply.setCookie],
            [200, '{}', undefined],
            header.slice(0, 80),
          );
        }
        const mallory = visitor(`wsession=${value}`);
        assert.equal((await mallory.get('/')).text, '1');
        assert.notEqual(mallory.cookie, `wsession=${value}`);
      }
      assert.equal((await ada.get('/')).text, '2');
    });

    it('beside a good one does no harm: the first that opens counts, of eight', async () => {
      const { visitor } = await worlds.create({ '/': count, '/get': read });
      const [ada, bob] = [visitor(), visitor()];
      await ada.get('/');
      for (let i = 0; i < 2; i++) await bob.get('/');
      const bad = 'wsession=forged';
      const textOf = async (...cookies: unknown[]) => (await visitor(cookies.join('; ')).get('/get')).text;
      assert.equal(await textOf(bad, ada.cookie, bob.cookie), '{"counter":1}');
      assert.equal(await textOf(bob.cookie, bad, ada.cookie), '{"counter":2}');
      assert.equal(
        await textOf('xwsession=1', 'wsession2=2', ...Array(7).fill(bad), ada.cookie),
        '{"counter":1}',
      );
      assert.equal(await textOf(...Array(8).fill(bad), ada.cookie), '{}');
    });

    it('of another session name does not count', async () => {
      const one = await worlds.create({ '/': count }, { name: 'one' });
      const two = await worlds.create({ '/': count }, { name: 'two' });
      const ada = one.visitor();
      await ada.get('/');
      const moved = two.visitor(String(ada.cookie).replace('one=', 'two='));
      assert.equal((await moved.get('/')).text, '1');
    });

    if (!seals) {
      it('with a signature that is missing or wrong does not count, and an old key still verifies', async () => {
        const signed = await worlds.create({ '/': count }, { keys: ['new', 'old'] });
        const before = await worlds.create({ '/': count }, { keys: ['old'] });
        const ada = subject.separate ? signed.visitor() : before.visitor();
        await ada.get('/');
        const [id, signature] = String(ada.cookie).split('.');
        assert.equal(signature?.length, 43, 'SHA-256 as base64url');
        for (const cookie of [id, `${id}.`, `${id}.${'A'.repeat(43)}`, `${id}.${signature}x`]) {
          assert.equal((await signed.visitor(cookie).get('/')).text, '1');
        }
        const rotated = signed.visitor(ada.cookie);
        assert.equal((await rotated.get('/')).text, '2');
        assert.equal(String(rotated.cookie).split('.')[0], id, 'the same id');
        if (!subject.separate) assert.notEqual(rotated.cookie, ada.cookie, 'signed with the new key');
      });
    }

    if (!seals && subject.corrupt) {
      const { corrupt } = subject;
      it('that leads to a corrupt record is an anonymous visitor', async () => {
        const { visitor } = await worlds.create({ '/': count });
        const ada = visitor();
        await ada.get('/');
        await corrupt.call(subject, addressOf('wsession', String(ada.cookie).slice('wsession='.length)));
        const { status, text, setCookie } = await ada.get('/');
        assert.deepEqual([status, text, setCookie !== undefined], [200, '1', true]);
      });
    }
  });

  describe('expiry', () => {
    it('is reset by each change, and by nothing else', async () => {
      const { visitor } = await worlds.create({ '/': count, '/get': read }, {}, { expire: 100 });
      const ada = visitor();
      assert.match(String((await ada.get('/')).setCookie), /; Max-Age=100;/);
      clock.advance(60_000);
      assert.equal((await ada.get('/')).text, '2');
      clock.advance(60_000);
      assert.equal((await ada.get('/get')).text, '{"counter":2}');
      clock.advance(41_000);
      assert.equal((await ada.get('/get')).text, '{}');
    });

    it('with rolling, is reset by reading too, at most once in so many seconds', async () => {
      for (const [rolling, expected] of [
        [true, [true, true, true]],
        [30, [false, true, false]],
      ] as const) {
        const { visitor } = await worlds.create({ '/': count, '/get': read }, { rolling }, { expire: 100 });
        clock.restore();
        const ada = visitor();
        await ada.get('/');
        const renewed = [];
        for (const seconds of [20, 20, 20]) {
          clock.advance(seconds * 1000);
          renewed.push((await ada.get('/get')).setCookie !== undefined);
        }
        assert.deepEqual(renewed, expected);
        clock.advance(75_000);
        assert.equal((await ada.get('/get')).text, '{"counter":1}');
        assert.equal((await ada.get('/untouched')).setCookie, undefined);
      }
    });

    it('with absoluteTimeout, comes whatever happens, and regenerate() does not put it off', async () => {
      const { visitor } = await worlds.create(
        { '/': count, '/regenerate': (ctx) => ctx.session.regenerate() },
        { absoluteTimeout: 150 },
        { expire: 100 },
      );
      const ada = visitor();
      await ada.get('/');
      clock.advance(80_000);
      assert.match(String((await ada.get('/')).setCookie), /; Max-Age=(70|71);/);
      assert.match(String((await ada.get('/regenerate')).setCookie), /; Max-Age=(70|71);/);
      clock.advance(69_000);
      assert.equal((await ada.get('/')).text, '3');
      clock.advance(2_000);
      assert.equal((await ada.get('/')).text, '1');
    });

    it("with expireIn(), is the session's own, and stays so", async () => {
      const { visitor } = await worlds.create(
        {
          '/': count,
          '/remember': (ctx) => ctx.session.expireIn(1000),
          '/regenerate': (ctx) => ctx.session.regenerate(),
          '/get': read,
        },
        {},
        { expire: 100 },
      );
      const ada = visitor();
      assert.equal((await visitor().get('/remember')).setCookie, undefined, 'nothing is stored for nothing');
      await ada.get('/');
      assert.match(String((await ada.get('/remember')).setCookie), /; Max-Age=1000;/);
      clock.advance(900_000);
      assert.match(String((await ada.get('/')).setCookie), /; Max-Age=1000;/);
      assert.match(String((await ada.get('/regenerate')).setCookie), /; Max-Age=1000;/);
      clock.advance(900_000);
      assert.equal((await ada.get('/get')).text, '{"counter":2}');
      clock.advance(101_000);
      assert.equal((await ada.get('/get')).text, '{}');
    });
  });

  describe('flash()', () => {
    it('leaves a message that is read once, and is no key', async () => {
      const { visitor } = await worlds.create({
        '/set': (ctx) => void ctx.session.flash('notice', { text: 'Saved.' }),
        '/get': (ctx) => ctx.session.flash('notice') ?? 'none',
        '/keys': (ctx) => Object.keys(ctx.session),
      });
      const ada = visitor();
      const texts = [];
      for (const path of ['/get', '/set', '/keys', '/get', '/get']) texts.push((await ada.get(path)).text);
      assert.deepEqual(texts, ['"none"', 'ok', '[]', '{"text":"Saved."}', '"none"']);
    });

    it('leaves it to one of two parallel requests', async () => {
      const both = new Gate();
      let waiting = 0;
      const { visitor } = await worlds.create({
        '/set': (ctx) => void ctx.session.flash('notice', 'Saved.'),
        '/get': async (ctx) => {
          ctx.session.isNew; // loaded by now
          if (++waiting === 2) both.open();
          await both.passed;
          return ctx.session.flash('notice') ?? 'none';
        },
      });
      for (let round = 0; round < 2; round++) {
        waiting = 0;
        const ada = visitor();
        await ada.get('/set');
        const texts = await Promise.all([ada.get('/get'), visitor(ada.cookie).get('/get')]);
        assert.deepEqual(texts.map((reply) => reply.text).sort(), ['"Saved."', '"none"']);
      }
    });
  });

  describe('owners', () => {
    const login: Handler = (ctx) => {
      Object.assign(ctx.session, { n: 1 });
      ctx.session.owner = String(ctx.query.owner ?? 'ada');
      ctx.session.label = String(ctx.query.label);
    };

    if (seals || subject.owners === false) {
      it('can not be had: an error says so', async () => {
        const { sessions } = await worlds.create({});
        for (const attempt of [() => sessions.list('ada'), () => sessions.revoke('ada')]) {
          await assert.rejects(attempt, { code: 'WSESSION_UNSUPPORTED' });
        }
      });
      return;
    }

    it('have a list of their sessions, newest first, and nobody else has them', async () => {
      const ada = `ada ${Math.random()}`;
      let current: unknown[] = [];
      const { visitor, sessions } = await worlds.create({
        '/login': login,
        '/list': async (ctx) =>
          void (current = (await sessions.list(ada, ctx.session)).map((one) => one.current)),
      });
      const [phone, desk] = [visitor(), visitor()];
      await phone.get(`/login?label=phone&owner=${ada}`);
      clock.advance(10);
      await desk.get(`/login?label=desk&owner=${ada}`);
      await visitor().get('/login?owner=bob');
      const list = await sessions.list(ada);
      assert.deepEqual(
        list.map((one) => one.label),
        ['desk', 'phone'],
      );
      for (const { ref, createdAt, updatedAt, expiresAt, current } of list) {
        assert.match(ref, /^[\w-]{43}$/);
        assert.ok(![phone, desk].some((one) => one.cookie?.includes(ref)));
        assert.ok(Math.abs(+updatedAt - +createdAt) < 1000);
        assert.ok(Math.abs(+expiresAt - +updatedAt - 3_600_000) < 1000);
        assert.equal(current, false);
      }
      await phone.get('/list');
      assert.deepEqual(current, [false, true]);
    });

    it("lose those that are logged out, expired, somebody else's by now, and keep those that are regenerated", async () => {
      const ada = `ada ${Math.random()}`;
      const { visitor, sessions } = await worlds.create({
        '/login': login,
        '/logout': logout,
        '/expire': (ctx) => ctx.session.expireIn(1),
        '/leave': (ctx) => void (ctx.session.owner = undefined),
        '/regenerate': (ctx) => ctx.session.regenerate(),
        '/get': (ctx) => ctx.session.owner,
      });
      const paths = ['/logout', '/expire', '/leave', '/regenerate', `/login?label=/bob&owner=bob ${ada}`];
      const visitors = new Map(paths.map((path) => [path, visitor()]));
      for (const [path, who] of visitors) {
        await who.get(`/login?label=${path}&owner=${ada}`);
        await who.get(path);
      }
      clock.advance(2000);
      assert.deepEqual(
        (await sessions.list(ada)).map((one) => one.label),
        ['/regenerate'],
      );
      assert.deepEqual(
        (await sessions.list(`bob ${ada}`)).map((one) => one.label),
        ['/bob'],
      );
      assert.equal((await visitors.get('/regenerate')?.get('/get'))?.text, JSON.stringify(ada));
    });

    it('stay in the list as long as they live', async () => {
      const ada = `ada ${Math.random()}`;
      const { visitor, sessions } = await worlds.create({ '/login': login, '/': count });
      const phone = visitor();
      await phone.get(`/login?owner=${ada}`);
      for (let hour = 0; hour < 6; hour++) {
        clock.advance(3_500_000);
        await phone.get('/');
        const [one] = await sessions.list(ada);
        assert.ok(Math.abs(+(one?.expiresAt ?? 0) - +(one?.updatedAt ?? 0) - 3_600_000) < 1000);
      }
      clock.advance(3_700_000);
      assert.deepEqual(await sessions.list(ada), []);
    });

    it('can end all sessions but one, one, or all; finally', async () => {
      const ada = `ada ${Math.random()}`;
      const [arrived, released] = [new Gate(), new Gate()];
      const { visitor, sessions } = await worlds.create({
        '/login': login,
        '/others': (ctx) => sessions.revoke(ada, { except: ctx.session }),
        '/get': (ctx) => ctx.session.n ?? 'gone',
        '/slow': async (ctx) => {
          ctx.session.late = 1;
          arrived.open();
          await released.passed;
        },
      });
      const [one, two, three, bob] = [visitor(), visitor(), visitor(), visitor()];
      for (const [i, who] of [one, two, three].entries()) {
        await who.get(`/login?label=${i}&owner=${ada}`);
        clock.advance(10);
      }
      await bob.get('/login?owner=bob');
      const states = async () =>
        Promise.all([one, two, three, bob].map(async (who) => (await who.get('/get')).text === '1'));

      const slow = visitor(three.cookie).get('/slow');
      await arrived.passed;
      assert.equal(await sessions.revoke(ada, { only: (await sessions.list(ada))[0]?.ref as string }), 1);
      released.open();
      assert.equal((await slow).status, 409);
      assert.deepEqual(await states(), [true, true, false, true]);
      assert.equal((await two.get('/others')).text, '1');
      assert.deepEqual(await states(), [false, true, false, true]);
      assert.equal(await sessions.revoke(ada), 1);
      assert.equal(await sessions.revoke(ada), 0);
      assert.deepEqual(await states(), [false, false, false, true]);
    });

    it('who log in and out in parallel are listed exactly', async () => {
      const ada = `ada ${Math.random()}`;
      const { visitor, sessions } = await worlds.create({ '/login': login, '/logout': logout, '/get': read });
      const visitors = Array.from({ length: 20 }, () => visitor());
      await Promise.all(
        visitors.map(async (who, i) => {
          await who.get(`/login?label=${i}&owner=${ada}`);
          if (i % 3 === 0) await who.get('/logout');
          if (i % 5 === 0) await sessions.list(ada);
        }),
      );
      const alive = Array.from({ length: 20 }, (_, i) => String(i)).filter((i) => Number(i) % 3 !== 0);
      assert.deepEqual((await sessions.list(ada)).map((one) => one.label).sort(), alive.sort());

      // Revoked while logging in: whoever survives is in the list.
      const late = Array.from({ length: 20 }, () => visitor());
      await Promise.all([
        ...late.map((who, i) => who.get(`/login?label=late${i}&owner=${ada}`)),
        sessions.revoke(ada),
        sessions.revoke(ada),
      ]);
      const survivors = await Promise.all(late.map(async (who) => (await who.get('/get')).text !== '{}'));
      const listed = await sessions.list(ada);
      assert.equal(listed.length, survivors.filter(Boolean).length);
    });
  });

  describe('secure', () => {
    it('over plain http is neither read nor set, and a write is an error that names app.proxy', async () => {
      const { visitor, app, errors, calls } = await worlds.create(
        { '/': count, '/get': read, '/logout': logout },
        {},
        { secure: true },
      );
      app.proxy = true;
      const https = { 'x-forwarded-proto': 'https' };
      const ada = visitor();
      assert.match(String((await ada.get('/', https)).setCookie), /; Secure; HttpOnly/);
      assert.equal((await ada.get('/get', https)).text, '{"counter":1}');
      calls.length = 0;
      assert.equal((await ada.get('/get')).text, '{}');
      assert.equal((await ada.get('/logout')).status, 200);
      const { status, setCookie } = await ada.get('/');
      assert.deepEqual([status, setCookie], [500, undefined]);
      assert.equal(errors[0]?.code, 'WSESSION_INSECURE');
      assert.match(String(errors[0]?.message), /app\.proxy/);
      assert.deepEqual(calls, []);
    });
  });

  if (subject.breakIt && subject.mendIt) {
    const { breakIt, mendIt } = subject;
    describe('an outage', () => {
      it('concerns those who touch the session, within the timeout; nobody loses the cookie, and it passes by itself', async () => {
        const { visitor, errors } = await worlds.create({ '/': count, '/get': read }, { timeout: 300 });
        const ada = visitor();
        await ada.get('/');
        await breakIt.call(subject);
        try {
          assert.equal((await visitor().get('/untouched')).status, 200);
          assert.equal((await ada.get('/untouched')).status, 200);
          for (const [who, path] of [
            [ada, '/'],
            [ada, '/get'],
            [visitor(), '/'],
          ] as const) {
            const start = performance.now();
            const { status, setCookie, text } = await who.get(path);
            assert.deepEqual([status, setCookie, text], [503, undefined, 'Service Unavailable'], path);
            assert.ok(performance.now() - start < 2000, 'within the timeout');
          }
          assert.ok(errors.every((error) => error.code === 'WSESSION_UNAVAILABLE'));
        } finally {
          await mendIt.call(subject);
        }
        assert.equal((await ada.get('/')).text, '2');
      });
    });
  }
}

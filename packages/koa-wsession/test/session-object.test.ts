import assert from 'node:assert/strict';
import { Console } from 'node:console';
import { Writable } from 'node:stream';
import { format, inspect } from 'node:util';
import { expect } from 'chai';
import { ReservedError, type Session, type Sessions, ValueError } from 'koa-wsession';
import { asStore, createSite, errorOf, inRequest, recordOf, SOME_COOKIE, stubStore, tidy } from './helpers.js';

const MEMBERS = ['isNew', 'maxAge', 'save', 'regenerate', 'destroy'] as const;
const READONLY = ['isNew', 'save', 'regenerate', 'destroy'] as const;
const DAY = 86_400_000;

/** Runs with a session that holds a: 1 and b: { c: 2 } in the store. */
async function withSession(body: (session: Session, sessions: Sessions) => unknown): Promise<void> {
  const store = stubStore();
  store.load.callsFake(() => recordOf({ a: '1', b: '{"c":2}' }));
  await inRequest((ctx, sessions) => void body(ctx.session, sessions), {
    store: asStore(store),
    cookie: SOME_COOKIE,
  });
}

/** As lodash has it. */
function isPlainObject(value: object): boolean {
  if (Object.prototype.toString.call(value) !== '[object Object]') return false;
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null) return true;
  const Class = Object.hasOwn(prototype, 'constructor') && prototype.constructor;
  return typeof Class === 'function' && Class instanceof Class && String(Class) === String(Object);
}

describe('ctx.session', () => {
  afterEach(tidy);

  describe('is a plain object', () => {
    it('to get, set, delete and ask for a key', () =>
      withSession((session) => {
        expect([session.a, session.b, session.c, 'a' in session, 'c' in session]).to.deep.equal([
          1,
          { c: 2 },
          undefined,
          true,
          false,
        ]);
        session.c = 3;
        expect([session.c, 'c' in session]).to.deep.equal([3, true]);
        session.a = undefined;
        expect([session.a, 'a' in session]).to.deep.equal([undefined, true]);
        expect(delete session.a).to.equal(true);
        expect(delete session.never).to.equal(true);
        expect([session.a, 'a' in session]).to.deep.equal([undefined, false]);
        session.a = 9;
        expect([session.a, 'a' in session]).to.deep.equal([9, true]);
      }));

    it('whose keys can be listed, in whatever way', () =>
      withSession((session) => {
        session.c = 3;
        session.a = 4;
        delete session.b;
        const expected = ['a', 'c'];
        const visited = [];
        for (const key in session) visited.push(key);
        expect(visited).to.deep.equal(expected);
        expect(Object.keys(session)).to.deep.equal(expected);
        expect(Object.getOwnPropertyNames(session)).to.deep.equal(expected);
        expect(Object.getOwnPropertySymbols(session)).to.deep.equal([]);
        expect(Reflect.ownKeys(session)).to.deep.equal(expected);
        expect(Object.entries(session)).to.deep.equal([
          ['a', 4],
          ['c', 3],
        ]);
        expect(Object.keys(Object.getOwnPropertyDescriptors(session))).to.deep.equal(expected);
      }));

    it('whose keys come in the order in which they were added', () =>
      withSession((session) => {
        Object.assign(session, { x: 1, y: 2 });
        session.x = 3;
        expect(Reflect.ownKeys(session)).to.deep.equal(['a', 'b', 'x', 'y']);
        delete session.x;
        expect(Reflect.ownKeys(session)).to.deep.equal(['a', 'b', 'y']);
        session.x = 4;
        expect(Reflect.ownKeys(session)).to.deep.equal(['a', 'b', 'y', 'x']);
      }));

    it('that holds only what was assigned once an entry turns out to be corrupt', async () => {
      const store = stubStore();
      store.load.callsFake(() => recordOf({ n: '{', m: '1' }));
      await inRequest(
        ({ session }) => {
          session.a = 1;
          expect([session.n, 'n' in session, { ...session }]).to.deep.equal([undefined, false, { a: 1 }]);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect([...store.create.firstCall.args[1].entries]).to.deep.equal([['a', '1']]);
    });

    it('that can be spread, copied, taken apart and written as JSON', () =>
      withSession((session) => {
        const expected = { a: 1, b: { c: 2 } };
        expect({ ...session }).to.deep.equal(expected);
        expect(Object.assign({}, session)).to.deep.equal(expected);
        expect(JSON.parse(JSON.stringify(session))).to.deep.equal(expected);
        const { a, ...rest } = session;
        expect([a, rest]).to.deep.equal([1, { b: { c: 2 } }]);
        Object.assign(session, { a: 5, d: 6 });
        expect(JSON.stringify(session)).to.equal('{"a":5,"b":{"c":2},"d":6}');
      }));

    it('that is the same object, with the same values, throughout a request', () =>
      inRequest((ctx) => {
        const { session } = ctx;
        session.list = [];
        expect(ctx.session).to.equal(session);
        expect(session.list).to.equal(session.list);
        ctx.session = { other: 1 };
        expect(session.other).to.equal(1);
      }));

    it("that inherits Object.prototype's methods", () =>
      withSession((session) => {
        expect(session).to.be.instanceOf(Object);
        expect(Object.getPrototypeOf(session)).to.equal(Object.prototype);
        const ask = (method: string, key: string) => session[method](key); // as templates and older code do
        expect([ask('hasOwnProperty', 'a'), ask('hasOwnProperty', 'toString')]).to.deep.equal([true, false]);
        expect([ask('propertyIsEnumerable', 'b'), 'toString' in session]).to.deep.equal([true, true]);
        expect([`${session}`, session.toString(), Number(session)]).to.deep.equal([
          '[object Object]',
          '[object Object]',
          Number.NaN,
        ]);
        expect(session.valueOf()).to.equal(session);
      }));

    it('that libraries take for one: deep equality, isPlainObject, structuredClone of a copy', () =>
      withSession((session) => {
        expect(session).to.deep.equal({ a: 1, b: { c: 2 } });
        expect(session).to.not.deep.equal({ a: 1, b: { c: 3 } });
        assert.deepStrictEqual(session, { a: 1, b: { c: 2 } });
        expect(isPlainObject(session)).to.equal(true);
        expect(structuredClone({ ...session })).to.deep.equal({ a: 1, b: { c: 2 } });
      }));

    it('in which data wins over what is inherited', () =>
      withSession((session) => {
        for (const key of ['toString', 'hasOwnProperty', 'valueOf', 'isPrototypeOf']) {
          session[key] = 'data';
          expect([session[key], Object.hasOwn(session, key)], key).to.deep.equal(['data', true]);
          session[key] = undefined;
          expect(session[key], key).to.equal(undefined);
          delete session[key];
          expect([typeof session[key], Object.hasOwn(session, key)], key).to.deep.equal(['function', false]);
        }
      }));

    it('in which constructor and __proto__ are keys like any other', () =>
      withSession((session) => {
        for (const key of ['constructor', '__proto__', 'then', 'toJSON']) {
          expect([session[key], key in session], key).to.deep.equal([undefined, false]);
          session[key] = { admin: true };
          expect([session[key], Object.hasOwn(session, key)], key).to.deep.equal([{ admin: true }, true]);
        }
        expect(Object.getPrototypeOf(session)).to.equal(Object.prototype);
        expect([{}.constructor, ({} as Record<string, unknown>).admin]).to.deep.equal([Object, undefined]);
      }));

    it('that can be awaited', () =>
      inRequest(async (ctx) => {
        ctx.session.a = 1;
        expect(await ctx.session).to.equal(ctx.session);
      }));

    it('whose properties can be defined, as long as they are ordinary ones', () =>
      withSession((session) => {
        const ordinary = { writable: true, enumerable: true, configurable: true };
        Object.defineProperty(session, 'd', { value: 4, ...ordinary });
        expect(session.d).to.equal(4);
        expect(Object.getOwnPropertyDescriptor(session, 'd')).to.deep.equal({ value: 4, ...ordinary });
        expect(Object.getOwnPropertyDescriptor(session, 'e')).to.equal(undefined);
        for (const property of [
          { value: 5 },
          { get: () => 5, enumerable: true, configurable: true },
          { value: 5, ...ordinary, enumerable: false },
          { value: 5, ...ordinary, writable: false },
          { value: 5, ...ordinary, configurable: false },
        ])
          expect(() => Object.defineProperty(session, 'e', property)).to.throw(
            ValueError,
            'session.e can only be an ordinary property: assign it.',
          );
        expect('e' in session).to.equal(false);
      }));

    it('from which another object can inherit, whose properties are its own', () =>
      inRequest((ctx) => {
        ctx.session.user = 'ada';
        const locals = Object.create(ctx.session);
        locals.title = 'Home';
        locals.user = 'bob';
        expect([locals.title, locals.user, { ...locals }]).to.deep.equal([
          'Home',
          'bob',
          { title: 'Home', user: 'bob' },
        ]);
        expect({ ...ctx.session }).to.deep.equal({ user: 'ada' });
        expect(Reflect.set(ctx.session, 'user', 'eve')).to.equal(true);
        expect(locals.user).to.equal('bob');
        expect(ctx.session.user).to.equal('eve');
      }));

    it('that can be neither frozen nor given a prototype', () =>
      withSession((session) => {
        expect(() => Object.freeze(session)).to.throw(TypeError);
        expect(() => Object.seal(session)).to.throw(TypeError);
        expect(() => Object.preventExtensions(session)).to.throw(TypeError);
        expect(() => Object.setPrototypeOf(session, { a: 2 })).to.throw(TypeError);
        expect(Reflect.preventExtensions(session)).to.equal(false);
        expect([Object.isExtensible(session), Object.isFrozen(session)]).to.deep.equal([true, false]);
        session.c = 3;
        expect(session.c).to.equal(3);
      }));
  });

  describe('in a log', () => {
    it('shows its data, and never a token', async () => {
      const seen: string[] = [];
      const { visitor } = await createSite({
        '/': (ctx) => {
          ctx.session.user = { name: 'ada' };
        },
        '/log': (ctx) => {
          const { session } = ctx;
          const stream = new Writable({
            write(chunk, _encoding, done) {
              seen.push(String(chunk));
              done();
            },
          });
          new Console(stream).log(session);
          seen.push(inspect(session), format('%o %O %j', session, session, session));
          seen.push(inspect({ session }, { depth: 9 }));
          seen.push(inspect(session, { showHidden: true, depth: 9, getters: true }));
        },
        '/insides': (ctx) => {
          seen.push(inspect(ctx.session, { showProxy: true, showHidden: true, depth: 99 }));
        },
      });
      const ada = visitor();
      await ada.get('/');
      const id = String(ada.jar.get('wsession'));
      await ada.get('/log');
      expect(seen).to.have.length(5);
      for (const text of seen) expect(text).to.match(/user.*ada/s);
      expect(seen[0]).to.equal("{ user: { name: 'ada' } }\n");
      await ada.get('/insides');
      expect(seen).to.have.length(6);
      for (const text of seen) expect(text).to.not.include(id);
    });
  });

  describe('has five names besides the data', () => {
    it('that are there, and are no own properties', () =>
      withSession((session) => {
        for (const member of MEMBERS) {
          expect(member in session, member).to.equal(true);
          expect(Object.hasOwn(session, member), member).to.equal(false);
          expect(Object.getOwnPropertyDescriptor(session, member), member).to.equal(undefined);
        }
        expect(Object.keys(session)).to.deep.equal(['a', 'b']);
      }));

    it('whose methods can be taken off, and are the same each time', () =>
      inRequest(async (ctx) => {
        const { save } = ctx.session;
        expect(ctx.session.save).to.equal(save);
        ctx.session.a = 1;
        await save();
        expect(ctx.session.isNew).to.equal(false);
      }));

    for (const member of READONLY) {
      it(`${member} can't be assigned or deleted, alone or inside an object`, async () => {
        const property = { value: 1, writable: true, enumerable: true, configurable: true };
        await inRequest(async (ctx, sessions) => {
          ctx.session.fine = 1;
          const before = ctx.session[member];
          for (const attempt of [
            () => void ((ctx.session as Record<string, unknown>)[member] = 1),
            () => void delete (ctx.session as Record<string, unknown>)[member],
            () => Object.defineProperty(ctx.session, member, property),
            () => Object.assign(ctx.session, { [member]: 1 }),
            () => void (ctx.session = { other: 1, [member]: 1 }),
            () => sessions.of(ctx).update(member, () => 1),
          ]) {
            const error = await errorOf(attempt);
            expect(error).to.be.instanceOf(ReservedError).and.instanceOf(TypeError);
            expect(error.code).to.equal('WSESSION_RESERVED');
            expect(error.message).to.equal(
              `session.${member} can't be assigned or deleted, every session has it: store the value under another key.`,
            );
          }
          expect(ctx.session[member]).to.equal(before);
          expect({ ...ctx.session }).to.deep.equal({ fine: 1 });
        });
      });
    }

    it('and no more: every other name is data, what other libraries call theirs included', async () => {
      const names = ['flash', 'owner', 'label', 'update', 'ref', 'expireIn', 'cookie', 'id', 'touch', 'passport'];
      const { visitor } = await createSite({
        '/': (ctx) => {
          ctx.session.flash = ctx.session.flash || {}; // as connect-flash does
          ctx.session.flash.info = ['saved'];
          for (const name of names.slice(1)) ctx.session[name] = `data of ${name}`;
        },
        '/assign': (ctx) => void (ctx.session = { owner: 1, update: 2, flash: 3 }),
        '/delete': (ctx) => void delete ctx.session.flash,
        '/get': (ctx) => ({ ...ctx.session }),
      });
      const ada = visitor();
      await ada.get('/');
      expect((await ada.get('/get')).json()).to.deep.equal({
        flash: { info: ['saved'] },
        ...Object.fromEntries(names.slice(1).map((name) => [name, `data of ${name}`])),
      });
      await ada.get('/assign');
      await ada.get('/delete');
      expect((await ada.get('/get')).json()).to.deep.equal({ owner: 1, update: 2 });
    });

    it('whose names are free as flash keys, and inside values', () =>
      inRequest(async (ctx, sessions) => {
        sessions.of(ctx).flash('save', 'x');
        ctx.session.nested = { save: 1, destroy: 2, maxAge: 3 };
        expect(await sessions.of(ctx).takeFlash('save')).to.deep.equal(['x']);
        expect(ctx.session.nested.save).to.equal(1);
      }));
  });

  describe('takes no symbol', () => {
    it('and says so, at each way to write one', () =>
      withSession((session) => {
        const symbol = Symbol('mine');
        const any = session as unknown as Record<symbol, unknown>;
        expect([any[symbol], symbol in any]).to.deep.equal([undefined, false]);
        for (const attempt of [
          () => void (any[symbol] = 1),
          () => void delete any[symbol],
          () => Object.assign(any, { [symbol]: 1 }),
          () =>
            Object.defineProperty(any, symbol, {
              value: 1,
              writable: true,
              enumerable: true,
              configurable: true,
            }),
        ])
          expect(attempt).to.throw(ValueError, 'session[Symbol(mine)] is a symbol');
        expect(Object.getOwnPropertyDescriptor(any, symbol)).to.equal(undefined);
        expect(symbol in any).to.equal(false);
      }));
  });

  describe('takes no key with a lone surrogate', () => {
    it('to write to, and has none to read', async () => {
      await inRequest(async (ctx, sessions) => {
        const { session } = ctx;
        for (const key of ['\ud800', 'a\udc00b', '\udc00\ud800']) {
          for (const attempt of [
            () => void (session[key] = 1),
            () => Object.assign(session, { [key]: 1 }),
            () => sessions.of(ctx).flash(key, 'x'),
          ])
            expect(attempt).to.throw(ValueError, /^session has a key with a lone surrogate/);
          expect([session[key], key in session]).to.deep.equal([undefined, false]);
          expect(await sessions.of(ctx).takeFlash(key)).to.deep.equal([]);
          expect(await errorOf(() => sessions.of(ctx).update(key, () => 1))).to.be.instanceOf(ValueError);
          expect(delete session[key]).to.equal(true);
        }
        session['\u{1f600}'] = 'a pair is fine';
        expect(Object.keys(session)).to.deep.equal(['\u{1f600}']);
      });
    });
  });

  describe('can be assigned', () => {
    it('an object, which takes the place of the content', () =>
      inRequest((ctx) => {
        ctx.session.old = 1;
        ctx.session = { new: 2, ...JSON.parse('{"__proto__":3}') };
        expect(Object.entries(ctx.session)).to.deep.equal([
          ['new', 2],
          ['__proto__', 3],
        ]);
        ctx.session = Object.assign(Object.create(null), { bare: 1 });
        expect({ ...ctx.session }).to.deep.equal({ bare: 1 });
        ctx.session = {};
        expect({ ...ctx.session }).to.deep.equal({});
      }));

    it('itself, which changes nothing', async () => {
      const store = stubStore();
      await inRequest(
        (ctx) => {
          const { session } = ctx;
          ctx.session = session;
          expect({ ...ctx.session }).to.deep.equal({ n: 1 });
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect([store.update.callCount, store.create.callCount]).to.deep.equal([0, 0]);
    });

    for (const [value, name] of [
      [undefined, 'undefined'],
      [0, 'number'],
      ['', 'string'],
      ['text', 'string'],
      [true, 'boolean'],
      [1n, 'bigint'],
      [Symbol('x'), 'symbol'],
      [() => 1, 'function'],
      [[1], 'an array'],
    ] as const) {
      it(`not ${typeof value} ${inspect(value)}`, () =>
        inRequest((ctx) => {
          ctx.session.old = 1;
          expect(() => void (ctx.session = value as never))
            .to.throw(ValueError, `session can be assigned a plain object, or null to end it, and not ${name}.`)
            .with.property('path', 'session');
          expect({ ...ctx.session }).to.deep.equal({ old: 1 });
        }));
    }
  });

  it('is as it was where an assigned object is refused', () =>
    inRequest((ctx) => {
      ctx.session.old = 1;
      expect(() => void (ctx.session = { a: 1, b: () => 1 })).to.throw(ValueError, 'session.b is a function');
      expect({ ...ctx.session }).to.deep.equal({ old: 1 });
    }));

  for (const [what, property] of [
    ['a symbol', { [Symbol('a')]: 1 }],
    ['a hidden property', Object.defineProperty({}, 'a', { value: 1 })],
  ] as const)
    it(`is not assigned an object with ${what}, which would be lost`, () =>
      inRequest((ctx) => {
        expect(() => void (ctx.session = property)).to.throw(ValueError, /symbols or hidden properties/);
      }));

  it('keeps the entries of the core and its features apart from every key', () =>
    inRequest(async (ctx, sessions) => {
      const { session } = ctx;
      const all = sessions.of(ctx);
      await all.logIn('ada', { label: 'a browser', maxAge: DAY });
      all.flash('x', 'message');
      expect(Reflect.ownKeys(session)).to.deep.equal([]);
      for (const key of ['\0maxAge', '\0owner', '\0label', '\0authenticated', '\0', '\0\0']) {
        expect(session[key], key).to.equal(undefined);
        session[key] = `mine: ${key}`;
      }
      expect(Object.keys(session)).to.have.length(6);
      await session.save();
      expect([all.owner, all.label, session.maxAge]).to.deep.equal(['ada', 'a browser', DAY]);
      expect(session['\0owner']).to.equal('mine: \0owner');
      expect(await all.takeFlash('x')).to.deep.equal(['message']);
      ctx.session = { a: 1 };
      expect([{ ...session }, all.owner, session.maxAge]).to.deep.equal([{ a: 1 }, 'ada', DAY]);
    }));
});

import { Console } from 'node:console';
import { Writable } from 'node:stream';
import { format, inspect } from 'node:util';
import { expect } from 'chai';
import { ReservedError, type Session, ValueError } from 'koa-wsession';
import {
  asStore,
  createSite,
  errorOf,
  inRequest,
  recordOf,
  SOME_COOKIE,
  stubStore,
  tidy,
} from './helpers.js';

const MEMBERS = ['isNew', 'destroy', 'regenerate', 'save', 'update', 'expireIn', 'flash'] as const;

/** Runs with a session that holds a: 1 and b: { c: 2 } in the store. */
async function withSession(body: (session: Session) => unknown): Promise<void> {
  const store = stubStore();
  store.load.callsFake(() => recordOf({ a: '1', b: '{"c":2}' }));
  await inRequest((ctx) => void body(ctx.session), { store: asStore(store), cookie: SOME_COOKIE });
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

    it('without a prototype, so that each key is data', () =>
      withSession((session) => {
        expect(Object.getPrototypeOf(session)).to.equal(null);
        for (const key of ['toString', 'constructor', 'hasOwnProperty', 'then', 'toJSON', '__proto__']) {
          expect([session[key], key in session], key).to.deep.equal([undefined, false]);
          session[key] = 'data';
          expect([session[key], Object.hasOwn(session, key)], key).to.deep.equal(['data', true]);
        }
        expect({}.constructor).to.equal(Object);
        expect(JSON.parse(JSON.stringify(session)).toJSON).to.equal('data');
      }));

    it('that is no string, as any object without a prototype', () =>
      withSession((session) => {
        expect(() => `${session}`).to.throw(TypeError);
        expect(() => Number(session)).to.throw(TypeError);
        expect(Object.prototype.toString.call(session)).to.equal('[object Object]');
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
            'session.e can only be an ordinary property: assign to it.',
          );
        expect('e' in session).to.equal(false);
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

  describe('has members beside the data', () => {
    it('that are there, and are not listed', () =>
      withSession((session) => {
        for (const member of MEMBERS) {
          expect(member in session, member).to.equal(true);
          expect(Object.keys(session)).to.not.include(member);
          expect(Object.prototype.propertyIsEnumerable.call(session, member), member).to.equal(false);
          const property = Object.getOwnPropertyDescriptor(session, member);
          expect([property?.writable, property?.enumerable], member).to.deep.equal([false, false]);
          expect(property?.value, member).to.equal(session[member]);
        }
      }));

    it('whose methods can be taken off, and are the same each time', () =>
      inRequest(async (ctx) => {
        const { save, flash } = ctx.session;
        expect(ctx.session.save).to.equal(save);
        ctx.session.a = 1;
        flash('note', 'x');
        await save();
        expect(ctx.session.isNew).to.equal(false);
      }));

    for (const member of MEMBERS) {
      it(`and ${member} can't be a key`, async () => {
        const property = { value: 1, writable: true, enumerable: true, configurable: true };
        await inRequest(async (ctx) => {
          ctx.session.fine = 1;
          const before = ctx.session[member];
          for (const attempt of [
            () => void ((ctx.session as Record<string, unknown>)[member] = 1),
            () => void delete (ctx.session as Record<string, unknown>)[member],
            () => Object.defineProperty(ctx.session, member, property),
            () => Object.assign(ctx.session, { [member]: 1 }),
            () => void (ctx.session = { other: 1, [member]: 1 }),
            () => ctx.session.update(member, () => 1),
          ]) {
            const error = await errorOf(attempt);
            expect(error).to.be.instanceOf(ReservedError).and.instanceOf(TypeError);
            expect(error.code).to.equal('WSESSION_RESERVED');
            expect(error.name).to.equal('ReservedError');
            expect(error.message).to.include(`session.${member} `);
          }
          expect(ctx.session[member]).to.equal(before);
          expect({ ...ctx.session }).to.deep.equal({ fine: 1 });
        });
      });
    }

    it('whose names are free as flash keys, and inside of values', () =>
      inRequest((ctx) => {
        ctx.session.flash('save', 'x');
        ctx.session.nested = { save: 1, destroy: 2 };
        expect([ctx.session.flash('save'), ctx.session.nested.save]).to.deep.equal(['x', 1]);
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
      await inRequest((ctx) => {
        const { session } = ctx;
        for (const key of ['\ud800', 'a\udc00b', '\udc00\ud800']) {
          for (const attempt of [
            () => void (session[key] = 1),
            () => Object.assign(session, { [key]: 1 }),
            () => session.flash(key, 'x'),
          ])
            expect(attempt).to.throw(ValueError, /^session has a key with a lone surrogate/);
          expect([session[key], key in session, session.flash(key)]).to.deep.equal([
            undefined,
            false,
            undefined,
          ]);
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
            .to.throw(
              ValueError,
              `session can be assigned a plain object, or null to end it, and not ${name}.`,
            )
            .with.property('path', 'session');
          expect({ ...ctx.session }).to.deep.equal({ old: 1 });
        }));
    }
  });

  for (const [what, property] of [
    ['a symbol', { [Symbol('a')]: 1 }],
    ['a hidden property', Object.defineProperty({}, 'a', { value: 1 })],
  ] as const)
    it(`is not assigned an object with ${what}, which would be lost`, () =>
      inRequest((ctx) => {
        expect(() => void (ctx.session = property)).to.throw(ValueError, /symbols or hidden properties/);
      }));

  it('keeps what is its own apart from any key', () =>
    inRequest((ctx) => {
      const { session } = ctx;
      session.flash('x', 'message');
      session.expireIn(5);
      expect(Reflect.ownKeys(session)).to.deep.equal([]);
      expect(session['\0expire']).to.equal(undefined);
      expect(session['\0flash:x']).to.equal(undefined);
      session['\0expire'] = 'mine';
      session['\0flash:x'] = 'mine too';
      session['\0'] = 0;
      expect({ ...session }).to.deep.equal({ '\0expire': 'mine', '\0flash:x': 'mine too', '\0': 0 });
      expect(session.flash('x')).to.equal('message');
      ctx.session = { a: 1 };
      expect({ ...session }).to.deep.equal({ a: 1 });
    }));
});

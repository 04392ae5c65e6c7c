import assert from 'node:assert/strict';
import { createContext, runInContext, runInNewContext } from 'node:vm';
import { expect } from 'chai';
import fc from 'fast-check';
import { ValueError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { spy } from 'sinon';
import type { Client } from 'testkit/http';
import {
  asStore,
  createSite,
  errorOf,
  inRequest,
  recordOf,
  SOME_COOKIE,
  type StubStore,
  stubStore,
  tidy,
} from './helpers.js';

/** A visitor whose session holds one value: to set, to read on another request, and to count what is written. */
async function createHolder() {
  const store = new MemoryStore();
  const writes = { create: spy(store, 'create'), update: spy(store, 'update') };
  let value: unknown;
  const { visitor, errors } = await createSite(
    {
      '/set': (ctx) => void (ctx.session.v = value),
      '/get': (ctx) => void (value = ctx.session.v),
    },
    { store },
  );
  const client: Client = visitor();
  return {
    client,
    errors,
    /** What was given to the store for the value last. */
    get text(): string {
      const changes = writes.update.lastCall?.args[1].set ?? writes.create.lastCall?.args[1].entries;
      return String(changes?.get('v'));
    },
    get writes(): number {
      return writes.create.callCount + writes.update.callCount;
    },
    async set(given: unknown): Promise<void> {
      value = given;
      const { status } = await client.get('/set');
      if (status !== 200) throw errors.at(-1);
    },
    async get(): Promise<unknown> {
      value = undefined;
      await client.get('/get');
      return value;
    },
  };
}

async function roundTrip<T>(value: T): Promise<T> {
  const holder = await createHolder();
  await holder.set(value);
  return (await holder.get()) as T;
}

class Money {
  amount = 1;
}

/** A function that looks built in, is called as Object is, and has a prototype with methods of its own. */
const namedObject = Object.defineProperty((() => {}).bind(null), 'name', { value: 'Object' });
namedObject.prototype = Object.create({ method() {} }, { constructor: { value: namedObject } });

describe('a value', () => {
  afterEach(tidy);

  it('of any type that can be stored is restored exactly, and storing it again is no change', async () => {
    const holder = await createHolder();
    await fc.assert(
      fc.asyncProperty(anyValue(), async (value) => {
        await holder.set(value);
        const back = await holder.get();
        assert.deepStrictEqual(back, value);
        const { writes } = holder;
        await holder.set(back);
        assert.equal(holder.writes, writes, 'no change');
      }),
      { numRuns: 250 },
    );
  });

  it('that shares its parts is restored with shared parts', async () => {
    const part = { n: 1 };
    const bytes = new Uint8Array([1]);
    const date = new Date(5);
    const back = await roundTrip({
      list: [part, part],
      map: new Map<unknown, unknown>([[part, part]]),
      set: new Set([part, bytes]),
      bytes,
      dates: [date, date],
    });
    const [first] = back.list;
    expect(back.list[1]).to.equal(first);
    expect([...back.map][0]).to.satisfy(([key, item]: unknown[]) => key === first && item === first);
    expect(back.set.has(first!)).to.equal(true);
    expect(back.set.has(back.bytes)).to.equal(true);
    expect(back.dates[0]).to.equal(back.dates[1]);
  });

  it('that contains itself is restored with its cycles, through every kind of container', async () => {
    const object: Record<string, unknown> = {};
    object.self = object;
    const array: unknown[] = [];
    array.push(array);
    const map = new Map<unknown, unknown>();
    map.set(map, map);
    const set = new Set<unknown>();
    set.add(set);
    const bare = Object.create(null);
    bare.self = bare;
    const back = await roundTrip({ object, array, map, set, bare });
    expect(back.object.self).to.equal(back.object);
    expect(back.array[0]).to.equal(back.array);
    expect(back.map.get(back.map)).to.equal(back.map);
    expect(back.set.has(back.set)).to.equal(true);
    expect(back.bare.self).to.equal(back.bare);
    expect(Object.getPrototypeOf(back.bare)).to.equal(null);
  });

  it('with an own key __proto__ is restored with it, at any depth, and pollutes nothing', async () => {
    const hostile = () => JSON.parse('{"__proto__":{"polluted":1},"b":{"__proto__":2}}');
    const root: Record<string, unknown> = {};
    const holder = Object.defineProperty({} as Record<string, unknown>, '__proto__', {
      value: root,
      enumerable: true,
      configurable: true,
      writable: true,
    });
    root.holder = holder;
    const bare = Object.assign(Object.create(null), JSON.parse('{"__proto__":3}'));
    for (const value of [
      hostile(),
      [hostile()],
      { rich: new Date(0), hostile: hostile() },
      new Map([[hostile(), hostile()]]),
      bare,
      { bare },
    ]) {
      assert.deepStrictEqual(await roundTrip(value), value);
    }
    const back = (await roundTrip(root)) as typeof root;
    const descriptor = Object.getOwnPropertyDescriptor(back.holder, '__proto__');
    expect(descriptor).to.deep.include({ enumerable: true, writable: true, configurable: true });
    expect(descriptor?.value).to.equal(back);
    expect(({} as Record<string, unknown>).polluted).to.equal(undefined);
  });

  it('that is a view of a shared buffer stores only its own bytes', async () => {
    const secret = Buffer.from('a secret of another visitor'); // from the same pool
    const mine = Buffer.from('mine');
    const view = new Uint8Array(mine.buffer, mine.byteOffset, 0);
    const slice = new Uint8Array(new Uint8Array([1, 2, 3, 4]).buffer, 1, 2);
    expect(mine.buffer).to.equal(secret.buffer);
    const holder = await createHolder();
    await holder.set({ mine, view, slice });
    expect(holder.text.length).to.be.lessThan(150);
    expect(holder.text).to.not.include(secret.toString('base64').slice(2, 20));
    const back = (await holder.get()) as Record<string, Uint8Array>;
    assert.deepStrictEqual(back, { mine: Buffer.from('mine'), view: new Uint8Array(0), slice });
    expect(back.slice).to.not.be.instanceOf(Buffer);
  });

  it('that is an array is restored with its holes and its length', async () => {
    const list: unknown[] = [];
    list[100_000] = 1;
    const ends: unknown[] = [1];
    ends.length = 5;
    const hole = [undefined, 0, null];
    delete hole[1];
    for (const value of [new Array(3), hole, list, ends] as unknown[][]) {
      const back = await roundTrip(value);
      expect(back.length).to.equal(value.length);
      expect(Object.keys(back)).to.deep.equal(Object.keys(value));
    }
  });

  it('that is a Date is restored at its instant, an invalid one too', async () => {
    for (const time of [0, -1, 8.64e15, -8.64e15, Number.NaN]) {
      const back = await roundTrip(new Date(time));
      expect(back).to.be.instanceOf(Date);
      expect(Object.is(back.getTime(), time), String(time)).to.equal(true);
    }
  });

  it('that is a number is restored to the bit', async () => {
    for (const n of [0, -0, Number.NaN, Infinity, -Infinity, Number.MAX_VALUE, 5e-324, 2 ** 53, 0.1, 1e21]) {
      expect(Object.is(await roundTrip(n), n), String(n)).to.equal(true);
      expect(Object.is((await roundTrip([n]))[0], n), `[${n}]`).to.equal(true);
    }
  });

  it('that is a string is restored to the code unit', async () => {
    for (const text of ['', '~', '~[]', '\0', '\u2028', '\ud800', '\udc00x', '</script>', '"\\']) {
      expect(await roundTrip(text)).to.equal(text);
      assert.deepStrictEqual(await roundTrip({ [text]: text, rich: 1n }), { [text]: text, rich: 1n });
    }
  });

  it('may be nested 500 levels deep; one level more is refused with its path', async () => {
    const nest = (levels: number, leaf: unknown) => {
      let value: unknown = leaf;
      for (let i = 0; i < levels; i++) value = { a: value };
      return value;
    };
    for (const leaf of [1, 1n]) assert.deepStrictEqual(await roundTrip(nest(500, leaf)), nest(500, leaf));
    const holder = await createHolder();
    for (const value of [nest(502, 1), nest(50_000, 1)]) {
      const error = await errorOf(() => holder.set(value));
      expect(error).to.be.instanceOf(ValueError);
      expect(error.message).to.match(/^session\.v(\.a){501} is nested over 500 levels deep/);
    }
  });

  describe('that could not be restored is refused with its path:', () => {
    const own = <T extends object>(value: T) => Object.assign(value, { extra: 1 });
    const hidden = Object.defineProperty({}, 'h', { value: 1 });
    const proto = () => JSON.parse('{"__proto__":1}');
    const twice = proto();
    const symbol = Symbol('s');
    class List extends Array {}
    class Dict extends Map {}
    class Bag extends Set {}
    class Day extends Date {}
    class Bytes extends Uint8Array {}

    const refused: Array<[what: string, value: unknown, path: string, problem: string]> = [
      ['a function', () => 1, '', 'is a function'],
      ['a function inside', { f: [() => 1] }, '.f[0]', 'is a function'],
      ['a method of a plain object', { toJSON: () => 1 }, '.toJSON', 'is a function'],
      ['a class', { Money }, '.Money', 'is a function'],
      ['a symbol', symbol, '', 'is a symbol'],
      ['a symbol inside', { a: symbol }, '.a', 'is a symbol'],
      ['an instance', { m: new Money() }, '.m', 'is an instance of Money'],
      ['an instance without a name', new (class {})(), '', 'is an instance of a class'],
      ['an object with a prototype', Object.create({ a: 1 }), '', 'is an instance of Object'],
      ['an Error', { e: new TypeError('x') }, '.e', 'is an instance of TypeError'],
      ['a RegExp', [/x/], '[0]', 'is an instance of RegExp'],
      ['a URL', { u: new URL('http://x.example') }, '.u', 'is an instance of URL'],
      ['URLSearchParams', new URLSearchParams('a=1'), '', 'is an instance of URLSearchParams'],
      ['a promise', { p: Promise.resolve() }, '.p', "is a promise, which can't be stored: await it first"],
      ['a WeakMap', new WeakMap(), '', 'is an instance of WeakMap'],
      ['a boxed string', new String('x'), '', 'is an instance of String'],
      ['a boxed number', { n: new Number(1) }, '.n', 'is an instance of Number'],
      ['an ArrayBuffer', new ArrayBuffer(1), '', 'is an instance of ArrayBuffer'],
      ['a DataView', new DataView(new ArrayBuffer(1)), '', 'is an instance of DataView'],
      ...[Int8Array, Uint16Array, Int32Array, Float32Array, Float64Array, BigInt64Array].map(
        (Type) =>
          [`a ${Type.name}`, { t: new Type(1) }, '.t', `is an instance of ${Type.name}`] as [
            string,
            unknown,
            string,
            string,
          ],
      ),
      ['a Uint8ClampedArray', new Uint8ClampedArray(1), '', 'is an instance of Uint8ClampedArray'],
      ['a kind of Map that is called Map', new { Map: class extends Map {} }.Map(), '', 'is an instance of Map'],
      ['an app’s own class Object', new { Object: class {} }.Object(), '', 'is an instance of Object'],
      ['a kind of Array', new List(), '', 'is an instance of List'],
      ['a kind of Map', new Dict(), '', 'is an instance of Dict'],
      ['a kind of Set', new Bag(), '', 'is an instance of Bag'],
      ['a kind of Date', new Day(), '', 'is an instance of Day'],
      ['a kind of Uint8Array', new Bytes(1), '', 'is an instance of Bytes'],
      ['an instance of another realm', runInNewContext('new (class Far {})()'), '', 'is an instance of Far'],
      ['a generator', (function* () {})(), '', 'is an instance of'],
      ['a match of a regular expression', ['x'.match(/x/)], '[0]', 'has properties of its own besides its content'],
      ['an array with a property', own([1]), '', 'has properties of its own besides its content'],
      ['an array with a hole and a property', own(new Array(1)), '', 'has properties of its own besides its content'],
      [
        'an array with what is no index',
        Object.assign(new Array(5), { '03': 1 }),
        '',
        'has properties of its own besides its content',
      ],
      [
        'an array with a symbol',
        Object.assign([], { [symbol]: 1 }),
        '',
        'has properties of its own besides its content',
      ],
      ['a Map with a property', own(new Map()), '', 'has properties of its own besides its content'],
      ['a Set with a property', { s: own(new Set()) }, '.s', 'has properties of its own besides its content'],
      ['a Date with a property', own(new Date()), '', 'has properties of its own besides its content'],
      ['what only looks like an Object', { x: Object.create(namedObject.prototype) }, '.x', 'is an instance of'],
      ['what only looks like a Map', { x: Object.create(Map.prototype) }, '.x', 'is an instance of Map'],
      ['what only looks like a Set', { x: Object.create(Set.prototype) }, '.x', 'is an instance of Set'],
      ['what only looks like a Date', { x: Object.create(Date.prototype) }, '.x', 'is an instance of Date'],
      ['what only looks like an Array', { x: Object.create(Array.prototype) }, '.x', 'is an instance of Array'],
      ['bytes with a property', { b: own(new Uint8Array(1)) }, '.b', 'has properties of its own besides its content'],
      ['a Buffer with a property', own(Buffer.from('x')), '', 'has properties of its own besides its content'],
      ['a key that is a symbol', { o: { [symbol]: 1 } }, '.o', 'has symbols or hidden properties'],
      ['a key that is hidden', { o: hidden }, '.o', 'has symbols or hidden properties'],
      [
        'arguments',
        (function (..._: unknown[]) {
          // biome-ignore lint/complexity/noArguments: the point
          return arguments;
        })(1),
        '',
        'has symbols or hidden properties',
      ],
      ['a namespace', Math, '', 'has symbols or hidden properties'],
      ['a second reference to an object with __proto__', [twice, twice], '[1]', 'is a second reference to'],
      ['the key of a Map', new Map([[symbol, 1]]), '.keys(symbol)', 'is a symbol'],
      ['an object as a key of a Map', new Map([[new Money(), 1]]), '.keys(object)', 'is an instance of Money'],
      ['what a Map holds', { m: new Map([['a b', [symbol]]]) }, '.m.get("a b")[0]', 'is a symbol'],
      ['what a Map holds by a number', new Map([[7, symbol]]), '.get(7)', 'is a symbol'],
      ['an item of a Set', new Set([1, symbol]), '.values(1)', 'is a symbol'],
      ['a value under an odd key', { 'a-b': { '': symbol } }, '["a-b"][""]', 'is a symbol'],
      ['a value in a bare object', Object.assign(Object.create(null), { x: symbol }), '.x', 'is a symbol'],
    ];

    for (const [what, value, path, problem] of refused) {
      it(`${what}: session.v${path}`, async () => {
        await inRequest(async (ctx) => {
          const error = await errorOf(async () => {
            ctx.session.v = value;
            await ctx.session.save();
          });
          expect(error).to.be.instanceOf(ValueError).and.instanceOf(TypeError);
          expect(error.code).to.equal('WSESSION_VALUE');
          expect((error as ValueError).path).to.equal(`session.v${path}`);
          expect(error.message.startsWith(`session.v${path} ${problem}`), error.message).to.equal(true);
          delete ctx.session.v;
        });
      });
    }

    it('under an odd key of the session', () =>
      inRequest(async (ctx) => {
        ctx.session['a-b'] = { x: new Money() };
        const { message } = await errorOf(() => ctx.session.save());
        expect(message).to.match(/^session\["a-b"\]\.x is an instance of Money/);
        delete ctx.session['a-b'];
      }));

    it('at the assignment, where the value itself is the problem: the stack shows the caller', () =>
      inRequest(function assigning(ctx, sessions) {
        ctx.session.v = 'before';
        expect(() => void (ctx.session.v = () => 1)).to.throw(ValueError, 'session.v is a function');
        expect(() => void (ctx.session.v = symbol)).to.throw(ValueError, 'session.v is a symbol');
        expect(() => void (ctx.session.v = new Money())).to.throw(ValueError, 'session.v is an instance of Money');
        expect(() => void (ctx.session.v = Promise.resolve())).to.throw(ValueError, 'session.v is a promise');
        expect(() => sessions.of(ctx).flash('f', () => 1)).to.throw(ValueError, 'is a function');
        try {
          ctx.session.v = new Money();
        } catch (error) {
          expect((error as Error).stack).to.include('assigning');
        }
        expect(ctx.session.v).to.equal('before');
      }));

    it('with what to store instead', () =>
      inRequest((ctx) => {
        class ObjectId {}
        expect(() => void (ctx.session.user = new ObjectId())).to.throw(
          "session.user is an instance of ObjectId, which can't be restored exactly: store a plain value instead, " +
            'such as String(value) for an id or { ...value } for a row.',
        );
      }));

    it('and nothing of the request is stored', async () => {
      const store = stubStore();
      const { visitor, errors } = await createSite(
        { '/': (ctx) => void Object.assign(ctx.session, { fine: 1, bad: { money: new Money() } }) },
        { store: asStore(store) },
      );
      for (const headers of [{}, { cookie: SOME_COOKIE }]) {
        const { status, setCookie, body } = await visitor().get('/', { headers });
        expect([status, setCookie, body]).to.deep.equal([500, [], 'Internal Server Error']);
        expect(errors.at(-1)).to.be.instanceOf(ValueError);
      }
      expect([store.create.callCount, store.update.callCount]).to.deep.equal([0, 0]);
    });
  });

  describe('of another realm, as in Jest or node:vm,', () => {
    const realm = createContext({});
    const far = (code: string) => runInContext(code, realm);

    for (const [code, here] of [
      ['({ a: 1, b: { c: [2] } })', { a: 1, b: { c: [2] } }],
      ['[1, { a: 2 }, [3]]', [1, { a: 2 }, [3]]],
      ['new Map([["a", { b: 1 }]])', new Map([['a', { b: 1 }]])],
      ['new Set([[1], { a: 1 }])', new Set([[1], { a: 1 }])],
      ['new Date(5)', new Date(5)],
      ['new Uint8Array([1, 2])', new Uint8Array([1, 2])],
      ['({ when: new Date(5), big: 5n, none: undefined })', { when: new Date(5), big: 5n, none: undefined }],
      ['new Array(3)', new Array(3)],
    ] as const)
      it(`counts as what it is: ${code}`, async () => {
        assert.deepStrictEqual(await roundTrip(far(code)), here);
      });

    it('may be what ctx.session is assigned', () =>
      inRequest((ctx) => {
        ctx.session = far('({ user: { name: "ada" } })');
        expect({ ...ctx.session }).to.deep.equal({ user: { name: 'ada' } });
      }));

    it('and copies of structuredClone are restored exactly', async () => {
      const value = { list: [1, new Map([['a', new Date(5)]])], set: new Set([1n]) };
      assert.deepStrictEqual(await roundTrip(structuredClone(value)), value);
    });

    it('is refused where it is an instance, or only looks like a built-in one', () =>
      inRequest((ctx) => {
        for (const code of [
          'new (class Far {})()',
          'new (class List extends Array {})()',
          'new (class Dict extends Map {})()',
          'Object.create({ a: 1 })',
          'Object.create(Map.prototype)',
          'new Error("x")',
          '/x/',
          'new Int8Array(1)',
        ])
          expect(() => void (ctx.session.v = far(code)), code).to.throw(ValueError, 'is an instance of');
        expect(() => void (ctx.session.v = far('() => 1'))).to.throw(ValueError, 'is a function');
      }));
  });

  describe("with classInstances: 'json'", () => {
    class ObjectId {
      #hex: string;
      constructor(hex: string) {
        this.#hex = hex;
      }
      toJSON() {
        return this.#hex;
      }
    }
    class User {
      name = 'ada';
      id = new ObjectId('5f');
      tags = ['a'];
    }

    async function restored(value: unknown): Promise<unknown> {
      const seen: unknown[] = [];
      const { visitor, errors } = await createSite(
        { '/set': (ctx) => void (ctx.session.v = value), '/get': (ctx) => void seen.push(ctx.session.v) },
        { classInstances: 'json' },
      );
      const ada = visitor();
      if ((await ada.get('/set')).status !== 200) throw errors.at(-1);
      await ada.get('/get');
      return seen[0];
    }

    it('instances are stored as JSON.stringify would store them, wherever they are', async () => {
      const user = { name: 'ada', id: '5f', tags: ['a'] };
      expect(await restored(new User())).to.deep.equal(user);
      expect(await restored(new ObjectId('5f'))).to.equal('5f');
      expect(await restored({ user: new User(), url: new URL('http://x.example/') })).to.deep.equal({
        user,
        url: 'http://x.example/',
      });
      expect(await restored([new Map([['a', new User()]]), new Set([new ObjectId('1')])])).to.deep.equal([
        new Map([['a', user]]),
        new Set(['1']),
      ]);
    });

    it('everything else is restored exactly, as without it', async () => {
      const part = { n: 1 };
      const back = (await restored({
        id: new ObjectId('5f'),
        when: new Date(5),
        big: 5n,
        twice: [part, part],
      })) as {
        twice: unknown[];
      };
      assert.deepStrictEqual(back, { id: '5f', when: new Date(5), big: 5n, twice: [part, part] });
      expect(back.twice[0]).to.equal(back.twice[1]);
    });

    it('functions and symbols are refused, as without it', async () => {
      for (const value of [() => 1, Symbol('x'), { user: new User(), f: () => 1 }])
        expect(await errorOf(() => restored(value))).to.be.instanceOf(ValueError);
    });

    it('an instance that JSON.stringify refuses is a ValueError with its path', async () => {
      const loop = Object.assign(new User(), { self: {} });
      loop.self = loop;
      for (const instance of [loop, Object.assign(new User(), { big: 5n })]) {
        const error = await errorOf(() => restored({ user: instance }));
        expect(error).to.be.instanceOf(ValueError);
        expect((error as ValueError).path).to.equal('session.v.user');
      }
    });

    it('storing what was read again is no change', async () => {
      const store = new MemoryStore();
      const update = spy(store, 'update');
      const { visitor } = await createSite(
        {
          '/set': (ctx) => void (ctx.session.v = new User()),
          '/same': (ctx) => void (ctx.session.v = new User()),
        },
        { store, classInstances: 'json' },
      );
      const ada = visitor();
      await ada.get('/set');
      await ada.get('/same');
      expect(update.callCount).to.equal(0);
    });
  });

  it('with an array index that a visitor may choose costs no more than the array holds', async () => {
    const sparse: number[] = [1];
    sparse[40_000_000] = 1;
    const holder = await createHolder();
    const start = performance.now();
    await holder.set(sparse);
    expect(performance.now() - start).to.be.lessThan(5000);
  });

  describe('that the store returns damaged', () => {
    for (const text of ['', '{', '~', '~[', '~{}', '~[["Nope",1]]', '~[["Bytes",9]]', '~-9', 'nothing']) {
      it(`as ${JSON.stringify(text)} makes the visitor an anonymous one`, async () => {
        const store = stubStore();
        store.load.callsFake(() => recordOf({ fine: '1', bad: text }));
        const seen: unknown[] = [];
        const { status, setCookie } = await inRequest(
          (ctx) => {
            const { session } = ctx;
            seen.push(session.isNew, session.fine, session.bad, session.isNew, session.fine, { ...session });
            session.fresh = 1;
          },
          { store: asStore(store), cookie: SOME_COOKIE },
        );
        expect(seen).to.deep.equal([false, 1, undefined, true, undefined, {}]);
        expect([status, setCookie.length]).to.deep.equal([200, 1]);
        expect(createdEntries(store)).to.deep.equal([['fresh', '1']]);
        expect(store.update.callCount).to.equal(0);
      });
    }

    it('does no harm to a request that reads other keys', async () => {
      const store = stubStore();
      store.load.callsFake(() => recordOf({ fine: '1', bad: '{' }));
      await inRequest((ctx) => void (ctx.session.fine += 1), { store: asStore(store), cookie: SOME_COOKIE });
      expect([...store.update.firstCall.args[1].set]).to.deep.equal([['fine', '2']]);
    });

    it('as a value that is no text, likewise', async () => {
      const store = stubStore();
      store.load.callsFake(() => recordOf({ bad: Buffer.from('1') as never }));
      const { body } = await inRequest((ctx) => ctx.session.bad ?? 'none', {
        store: asStore(store),
        cookie: SOME_COOKIE,
      });
      expect(body).to.equal('"none"');
    });
  });
});

function createdEntries(store: StubStore): Array<[string, string]> {
  return [...store.create.firstCall.args[1].entries];
}

/** Whatever can be stored: text of any code units, every type, in any nesting. */
function anyValue(): fc.Arbitrary<unknown> {
  const text = fc.string({
    unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
  });
  const bytes = fc.uint8Array({ maxLength: 20 });
  const leaf = fc.oneof(
    text,
    fc.double(),
    fc.integer(),
    fc.boolean(),
    fc.constantFrom(null, undefined, -0, Number.NaN, Infinity, -Infinity, '__proto__', '~', ''),
    fc.bigInt(),
    fc.date({ noInvalidDate: true }), // to Node 20, two invalid ones are never deeply equal
    bytes,
    bytes.map((it) => Buffer.from(it)),
  );
  return fc.anything({
    key: fc.oneof(text, fc.constantFrom('__proto__', 'constructor', 'toString', 'then', 'length', '0')),
    values: [leaf],
    maxDepth: 4,
    maxKeys: 6,
    withMap: true,
    withSet: true,
    withNullPrototype: true,
    withSparseArray: true,
  });
}

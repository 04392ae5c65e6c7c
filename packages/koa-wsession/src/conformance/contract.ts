import assert from 'node:assert/strict';
import type { Call, Changes, SessionRecord, Store } from '../store.js';
import { addressOf, newId } from '../token.js';
import { Clock } from './clock.js';
import type { Subject, TestRunner } from './index.js';

const HOUR = 3_600_000;

/** What a store may meet in keys and values; a value is opaque, whatever it looks like. */
const UNUSUAL = [
  '',
  ' ',
  '\0',
  '\0\0',
  '__proto__',
  'constructor',
  'toString',
  '0',
  '-1',
  'a:b',
  'a,b',
  'a\nb',
  '"',
  '{}',
  "'; --",
  '../..',
  'é',
  '\u2028',
  '😀',
  '𝕏'.repeat(50),
];

/** Keys that lead nowhere, and must lead nowhere else. */
const HOSTILE = [
  '',
  '.',
  '..',
  '../../etc/passwd',
  '..\\x',
  '/etc/passwd',
  'a/b',
  'a\0b',
  '\0',
  '__proto__',
  'constructor',
  '*',
  '%2e%2e',
  '😀',
  'A'.repeat(10_000),
  addressOf('conformance', newId()),
];

/** The contract of store.ts, call by call. */
export function describeContract({ describe, it, afterEach }: TestRunner, subject: Subject): void {
  const { seals, merges, revokes } = subject.capabilities;
  const clock = new Clock();
  const open: Store[] = [];

  const make = async (): Promise<Store> => {
    const store = await subject.create({ expire: 3600 });
    open.push(store);
    return store;
  };
  afterEach(async () => {
    clock.restore();
    for (const store of open.splice(0)) await store.close?.();
  });

  it('declares what it can do, and its options', async () => {
    const store = await subject.create({ expire: 77, secure: true, domain: 'example.com' });
    open.push(store);
    assert.deepEqual(store.capabilities, subject.capabilities);
    assert.deepEqual([store.expire, store.secure, store.domain], [77, true, 'example.com']);
  });

  it('refuses options that can not be meant', async () => {
    for (const options of [
      { expire: 0 },
      { expire: '1h' },
      { secure: 'yes' },
      { domain: 'a;b' },
      { expires: 3600 },
    ]) {
      await assert.rejects(
        async () => void (await subject.create(options as object)),
        (error: { code?: string }) => error instanceof TypeError && error.code === 'WSESSION_OPTION',
        JSON.stringify(options),
      );
    }
  });

  describe('load', () => {
    it('answers undefined for what was never there, whatever the key', async () => {
      const store = await make();
      for (const key of HOSTILE)
        assert.equal(await loaded(store, key), undefined, JSON.stringify(key.slice(0, 40)));
    });

    it('answers what create was given', async () => {
      const store = await make();
      const record = recordOf({ a: '1', b: '"two"' });
      assertSame(await loaded(store, await put(store, record)), record);
    });

    it('answers what is there at that moment: a record that was answered never changes', async () => {
      const store = await make();
      const before = recordOf({ keep: '1', change: '2', drop: '3' });
      const key = await put(store, before);
      const answered = await loaded(store, key);
      const next = await change(store, key, { set: { change: '4', add: '5' }, delete: ['drop'] });
      assertSame(answered, before);
      await store.destroy(next, call());
      assertSame(answered, before);
    });

    it('answers the same to another store on the same storage', async () => {
      const [one, other] = [await make(), subject.separate ? undefined : await make()];
      const record = recordOf({ a: '1' });
      const key = await put(one, record);
      if (other) assertSame(await loaded(other, key), record);
    });

    it('brings back unusual keys and values', async () => {
      const store = await make();
      const record = recordOf(
        UNUSUAL.map((key, i): [string, string] => [key, UNUSUAL[UNUSUAL.length - 1 - i] as string]),
      );
      const back = await loaded(store, await put(store, record));
      // A token larger than any cookie needn't open.
      if (back || !seals) assertSame(back, record);
    });

    it('brings back a record without entries', async () => {
      const store = await make();
      assertSame(await loaded(store, await put(store, recordOf({}))), recordOf({}));
    });

    if (seals) {
      it('answers at once', async () => {
        const store = await make();
        const key = await put(store, recordOf({ a: '1' }));
        assert.ok(!(store.load(key, call()) instanceof Promise));
      });

      it('opens a token only under the name that it was sealed for', async () => {
        const store = await make();
        const key = await put(store, recordOf({ a: '1' }));
        assert.equal(await loaded(store, key, { ...call(), name: 'other' }), undefined);
      });
    } else {
      it('brings back 1,000 keys, and a value of 5 MB', async () => {
        const store = await make();
        const record = recordOf([
          ...Array.from({ length: 1000 }, (_, i): [string, string] => [`key ${i}`, String(i)]),
          ['large', 'ä'.repeat(2_500_000)],
        ]);
        assertSame(await loaded(store, await put(store, record)), record);
      });
    }
  });

  describe('create', () => {
    if (seals) {
      it('seals two records of the same content into different tokens', async () => {
        const store = await make();
        assert.notEqual(await put(store, recordOf({ a: '1' })), await put(store, recordOf({ a: '1' })));
      });
    } else {
      it('answers exists where a record is, and changes nothing', async () => {
        const store = await make();
        const key = await put(store, recordOf({ a: '1' }));
        assert.deepEqual(await store.create(key, recordOf({ b: '2' }), call()), { outcome: 'exists' });
        assertSame(await loaded(store, key), recordOf({ a: '1' }));
      });

      it('lets one of many win', async () => {
        const stores = [await make(), subject.separate ? (open[0] as Store) : await make()];
        const key = addressOf('conformance', newId());
        const answers = await Promise.all(
          Array.from({ length: 20 }, (_, i) =>
            (stores[i % 2] as Store).create(key, recordOf({ winner: String(i) }), call()),
          ),
        );
        const winners = answers.flatMap((answer, i) => (answer.outcome === 'created' ? [i] : []));
        assert.equal(winners.length, 1);
        assertSame(await loaded(stores[1] as Store, key), recordOf({ winner: String(winners[0]) }));
      });

      it('replaces what is expired', async () => {
        const store = await make();
        const key = await put(store, recordOf({ a: '1' }));
        clock.advance(HOUR + 1);
        const record = { ...recordOf({ b: '2' }), expiresAt: NOW() + 3 * HOUR };
        assert.equal((await store.create(key, record, call())).outcome, 'created');
        assertSame(await loaded(store, key), record);
      });
    }

    it('keeps nothing of what it was given that can change afterwards', async () => {
      const store = await make();
      const entries = new Map([['a', '1']]);
      const key = await put(store, { ...recordOf({}), entries });
      entries.set('a', '2');
      assertSame(await loaded(store, key), recordOf({ a: '1' }));
    });
  });

  describe('update', () => {
    it('sets and deletes the keys that it names, and no other', async () => {
      const store = await make();
      let key = await put(store, recordOf({ keep: '1', change: '2', drop: '3' }));
      key = await change(store, key, { set: { change: '4', add: '5' }, delete: ['drop', 'never there'] });
      assertSame(await loaded(store, key), recordOf({ keep: '1', change: '4', add: '5' }));
    });

    it('sets the expiry, later and earlier', async () => {
      const store = await make();
      const key = await put(store, recordOf({ a: '1' }));
      const later = await change(store, key, { expiresAt: NOW() + 10 * HOUR });
      assertSame(await loaded(store, later), { ...recordOf({ a: '1' }), expiresAt: NOW() + 10 * HOUR });
      const earlier = await change(store, later, { expiresAt: NOW() + HOUR / 2 });
      clock.advance(HOUR / 2 + 1);
      assert.equal(await loaded(store, earlier), undefined);
    });

    it('answers gone, and brings nothing back, where there is no record', async () => {
      const store = await make();
      for (const key of HOSTILE) {
        assert.deepEqual(await store.update(key, changesOf({ set: { a: '1' } }), call()), {
          outcome: 'gone',
        });
        assert.equal(await loaded(store, key), undefined);
      }
    });

    it('answers gone where the record is expired or destroyed', async () => {
      const store = await make();
      const ended = await put(store, recordOf({ a: '1' }));
      await store.destroy(ended, call());
      assert.deepEqual(await store.update(ended, changesOf({ set: { b: '2' } }), call()), {
        outcome: 'gone',
      });
      assert.equal(await loaded(store, ended), undefined);

      const expired = await put(store, recordOf({ a: '1' }));
      clock.advance(HOUR + 1);
      const later = changesOf({ set: { b: '2' }, expiresAt: Date.now() + HOUR });
      assert.deepEqual(await store.update(expired, later, call()), { outcome: 'gone' });
      assert.equal(await loaded(store, expired), undefined);
    });

    it('with expect, changes the key only from the value that is expected', async () => {
      const store = await make();
      let key = await put(store, recordOf({ n: '1', other: 'x' }));
      const attempt = (value: string | undefined) =>
        store.update(key, changesOf({ set: { n: '9', other: 'y' }, expect: { key: 'n', value } }), call());
      for (const wrong of ['2', '01', '', undefined]) {
        assert.deepEqual(await attempt(wrong), { outcome: 'conflict', actual: '1' });
      }
      assertSame(await loaded(store, key), recordOf({ n: '1', other: 'x' }));
      key = tokenOf(await attempt('1'), key);
      assertSame(await loaded(store, key), recordOf({ n: '9', other: 'y' }));
    });

    it('with expect undefined, sets the key only where it is not', async () => {
      const store = await make();
      let key = await put(store, recordOf({}));
      const attempt = () =>
        store.update(key, changesOf({ set: { n: '' }, expect: { key: 'n', value: undefined } }), call());
      key = tokenOf(await attempt(), key);
      assert.deepEqual(await attempt(), { outcome: 'conflict', actual: '' });
    });

    if (merges) {
      it('merges into what is there now: 100 parallel changes of different keys', async () => {
        const stores = [await make(), subject.separate ? (open[0] as Store) : await make()];
        const key = await put(stores[0] as Store, recordOf({}));
        const keys = Array.from({ length: 100 }, (_, i) => `k${i}`);
        await Promise.all(
          keys.map((name, i) => change(stores[i % 2] as Store, key, { set: { [name]: String(i) } })),
        );
        assertSame(
          await loaded(stores[0] as Store, key),
          recordOf(keys.map((name, i): [string, string] => [name, String(i)])),
        );
      });

      it('loses none of 100 parallel increments with expect', async () => {
        const stores = [await make(), subject.separate ? (open[0] as Store) : await make()];
        const key = await put(stores[0] as Store, recordOf({ n: '0' }));
        const increment = async (store: Store) => {
          let value = '0';
          for (;;) {
            const request = changesOf({ set: { n: String(Number(value) + 1) }, expect: { key: 'n', value } });
            const answer = await store.update(key, request, call());
            if (answer.outcome !== 'conflict') return assert.equal(answer.outcome, 'updated');
            value = answer.actual ?? '0';
          }
        };
        await Promise.all(Array.from({ length: 100 }, (_, i) => increment(stores[i % 2] as Store)));
        assertSame(await loaded(stores[1] as Store, key), recordOf({ n: '100' }));
      });
    } else {
      it('can not merge: of two changes to one token, each knows only itself', async () => {
        const store = await make();
        const key = await put(store, recordOf({}));
        const [one, other] = [
          await change(store, key, { set: { a: '1' } }),
          await change(store, key, { set: { b: '2' } }),
        ];
        assertSame(await loaded(store, one), recordOf({ a: '1' }));
        assertSame(await loaded(store, other), recordOf({ b: '2' }));
      });
    }
  });

  describe('destroy', () => {
    it('answers the record as it was, and undefined the second time', async () => {
      const store = await make();
      let key = await put(store, recordOf({ a: '1' }));
      key = await change(store, key, { set: { b: '2' } });
      assertSame(await store.destroy(key, call()), recordOf({ a: '1', b: '2' }));
      assert.equal(await loaded(store, key), undefined);
      assert.equal(await store.destroy(key, call()), undefined);
    });

    it('answers undefined for what is not there, whatever the key', async () => {
      const store = await make();
      for (const key of HOSTILE) assert.equal(await store.destroy(key, call()), undefined);
    });

    it('answers undefined for what is expired', async () => {
      const store = await make();
      const key = await put(store, recordOf({ a: '1' }));
      clock.advance(HOUR + 1);
      assert.equal(await store.destroy(key, call()), undefined);
    });

    it('ends what other changes of the same session led to', async () => {
      const store = await make();
      const key = await put(store, recordOf({ a: '1' }));
      const other = await change(store, key, { set: { b: '2' }, expiresAt: NOW() + 5 * HOUR });
      await store.destroy(key, call());
      assert.equal(await loaded(store, other), undefined);
      clock.advance(2 * HOUR); // the destroyed token is expired by now, the other isn't
      assert.equal(await loaded(store, other), undefined);
    });

    it('answers one of many, and lets no parallel update through', async () => {
      const store = await make();
      for (let round = 0; round < 10; round++) {
        const key = await put(store, recordOf({ a: '1' }));
        const updates = Array.from({ length: 5 }, (_, i) =>
          store.update(key, changesOf({ set: { [`k${i}`]: '1' } }), call()),
        );
        const ends = Array.from({ length: 5 }, () => store.destroy(key, call()));
        const more = Array.from({ length: 5 }, (_, i) =>
          store.update(key, changesOf({ set: { [`l${i}`]: '1' } }), call()),
        );
        const answers = await Promise.all([...updates, ...more]);
        const ended = (await Promise.all(ends)).filter((record) => record !== undefined);
        assert.equal(ended.length, 1);
        for (const answer of answers)
          if (answer.outcome === 'updated')
            assert.equal(await loaded(store, tokenOf(answer, key)), undefined);
        assert.equal(await loaded(store, key), undefined);
        if (merges) {
          const stored = answers.filter((answer) => answer.outcome === 'updated').length;
          assert.equal(
            ended[0]?.entries.size,
            1 + stored,
            'what was acknowledged before is in what was destroyed',
          );
        }
      }
    });

    if (!subject.separate) {
      it(
        revokes
          ? 'holds for every store on the same storage'
          : 'can not hold for another store with the same secret',
        async () => {
          const [one, other] = [await make(), await make()];
          const key = await put(one, recordOf({ a: '1' }));
          await one.destroy(key, call());
          assert.equal((await loaded(other, key)) === undefined, revokes);
          assert.equal(
            (await other.update(key, changesOf({ set: { b: '2' } }), call())).outcome,
            revokes ? 'gone' : 'updated',
          );
        },
      );
    }
  });

  describe('expiry', () => {
    it('is the instant that was given, to the millisecond', async () => {
      const store = await make();
      const now = clock.freeze();
      const key = await put(store, { entries: new Map(), createdAt: now, expiresAt: now + 1000 });
      clock.advance(999);
      assert.notEqual(await loaded(store, key), undefined);
      clock.advance(1);
      assert.equal(await loaded(store, key), undefined);
    });
  });

  describe('owners', () => {
    const owner = (): string => addressOf('conformance', newId());

    it('are indexed, or not at all', async () => {
      const { owners } = await make();
      assert.equal(
        owners === undefined,
        seals,
        'a store that keeps sessions on the server lists them by owner',
      );
    });

    if (seals) return;

    it('have the sessions that were added and not removed, each once', async () => {
      const [{ owners }, ada, bob] = [await make(), owner(), owner()];
      assert.ok(owners);
      assert.deepEqual(await owners.keys(ada, call()), []);
      const keys = Array.from({ length: 20 }, () => addressOf('conformance', newId())).sort();
      await Promise.all(keys.map((key) => owners.add(ada, key, NOW() + HOUR, call())));
      await Promise.all([...keys].map((key) => owners.add(ada, key, NOW() + 2 * HOUR, call())));
      assert.deepEqual([...(await owners.keys(ada, call()))].sort(), keys);
      assert.deepEqual(await owners.keys(bob, call()), []);
      const [removed = '', ...others] = keys;
      await owners.remove(ada, removed, call());
      await owners.remove(ada, removed, call());
      await owners.remove(bob, removed, call());
      assert.deepEqual([...(await owners.keys(ada, call()))].sort(), others);
    });

    it('have a session until the latest instant that was given', async () => {
      const [{ owners }, ada, key] = [await make(), owner(), addressOf('conformance', newId())];
      assert.ok(owners);
      await owners.add(ada, key, NOW() + 2 * HOUR, call());
      await owners.add(ada, key, NOW() + HOUR, call());
      clock.advance(HOUR + HOUR / 2);
      assert.deepEqual(await owners.keys(ada, call()), [key]);
      clock.advance(HOUR);
      assert.deepEqual(await owners.keys(ada, call()), []);
    });

    it('lose nothing while sessions come and go at the same time', async () => {
      const stores = [await make(), subject.separate ? (open[0] as Store) : await make()];
      const ada = owner();
      const stay = Array.from({ length: 50 }, () => addressOf('conformance', newId())).sort();
      await Promise.all(
        stay.map(async (key, i) => {
          const [one, other] = [stores[i % 2]?.owners, stores[(i + 1) % 2]?.owners];
          assert.ok(one && other);
          const passing = addressOf('conformance', newId());
          await one.add(ada, passing, NOW() + HOUR, call());
          await Promise.all([one.add(ada, key, NOW() + HOUR, call()), other.remove(ada, passing, call())]);
        }),
      );
      assert.deepEqual([...((await stores[0]?.owners?.keys(ada, call())) ?? [])].sort(), stay);
    });
  });

  if (subject.corrupt) {
    const { corrupt } = subject;
    describe('a corrupt record', () => {
      it('is not there', async () => {
        const store = await make();
        const key = await put(store, recordOf({ a: '1' }));
        await corrupt.call(subject, key);
        assert.equal(await loaded(store, key), undefined);
        assert.deepEqual(await store.update(key, changesOf({ set: { b: '2' } }), call()), {
          outcome: 'gone',
        });
        assert.equal(await store.destroy(key, call()), undefined);
      });

      it('can be replaced', async () => {
        const store = await make();
        const key = await put(store, recordOf({ a: '1' }));
        await corrupt.call(subject, key);
        assert.equal((await store.create(key, recordOf({ b: '2' }), call())).outcome, 'created');
        assertSame(await loaded(store, key), recordOf({ b: '2' }));
      });
    });
  }

  if (subject.breakIt && subject.mendIt) {
    const { breakIt, mendIt } = subject;
    describe('a storage that fails', () => {
      it('is an error or no answer, never "not there"; and nothing is lost once it works again', async () => {
        const store = await make();
        const key = await put(store, recordOf({ a: '1' }));
        await breakIt.call(subject);
        try {
          const brief = (): Call => ({ ...call(), deadline: performance.now() + 500 });
          await assertNoAnswer(() => store.load(key, brief()), 'load');
          await assertNoAnswer(
            () => store.create(addressOf('conformance', newId()), recordOf({}), brief()),
            'create',
          );
          await assertNoAnswer(() => store.update(key, changesOf({ set: { a: '2' } }), brief()), 'update');
        } finally {
          await mendIt.call(subject);
        }
        const record = await loaded(store, key);
        assert.ok(record?.entries.has('a'));
      });
    });
  }
}

/** The instant on which the records of a test agree; whole seconds, so that the tests of one second compare equal. */
const START = Date.now();
const NOW = (): number => START;

function call(): Call {
  return { name: 'conformance', deadline: performance.now() + 10_000 };
}

type Content = Record<string, string> | Array<[key: string, value: string]>;

function recordOf(content: Content): SessionRecord {
  const entries = new Map(Array.isArray(content) ? content : Object.entries(content));
  return { entries, createdAt: NOW(), expiresAt: NOW() + HOUR };
}

function changesOf({ set = {}, delete: removed = [], expiresAt = NOW() + HOUR, expect }: ChangesOf): Changes {
  const changes = { set: new Map(Object.entries(set)), delete: removed, expiresAt };
  return expect ? { ...changes, expect } : changes;
}

interface ChangesOf {
  set?: Record<string, string>;
  delete?: string[];
  expiresAt?: number;
  expect?: { key: string; value: string | undefined };
}

/** Creates a record under a fresh address; answers the key that leads to it from now on. */
async function put(store: Store, record: SessionRecord): Promise<string> {
  const address = addressOf('conformance', newId());
  return tokenOf(await store.create(address, record, call()), address);
}

/** Updates; answers the key that leads there from now on. */
async function change(store: Store, key: string, changes: ChangesOf): Promise<string> {
  return tokenOf(await store.update(key, changesOf(changes), call()), key);
}

function tokenOf(answer: { outcome: string; token?: string }, key: string): string {
  assert.ok(['created', 'updated'].includes(answer.outcome), `${answer.outcome} is not what was to be`);
  return answer.token ?? key;
}

/** The record, or `undefined` for whatever says that there is none. */
async function loaded(store: Store, key: string, at: Call = call()): Promise<SessionRecord | undefined> {
  const answer = await store.load(key, at);
  if (typeof answer === 'object') return answer;
  assert.ok([undefined, 'expired', 'corrupt', 'seal'].includes(answer), `load answered ${answer}`);
  return undefined;
}

/** Equal, whatever the order of the entries. */
function assertSame(actual: SessionRecord | undefined, expected: SessionRecord): void {
  assert.ok(actual, 'there is a record');
  assert.equal(actual.createdAt, expected.createdAt);
  assert.equal(actual.expiresAt, expected.expiresAt);
  assert.deepEqual(new Map([...actual.entries].sort(byKey)), new Map([...expected.entries].sort(byKey)));
}

function byKey([a]: [string, string], [b]: [string, string]): number {
  return a < b ? -1 : 1;
}

async function assertNoAnswer(ask: () => unknown, what: string): Promise<void> {
  const silence = new Promise((resolve) => setTimeout(resolve, 1000, 'silence'));
  const outcome = await Promise.race([(async () => ask())().catch(() => 'error'), silence]);
  assert.ok(outcome === 'error' || outcome === 'silence', `${what} answered`);
}

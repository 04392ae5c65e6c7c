import assert from 'node:assert/strict';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  applyChanges,
  type Changes,
  findConflict,
  isRecord,
  isReplacement,
  noneToDestroy,
  openRecord,
  packRecord,
  type SessionRecord,
  unpackRecord,
} from 'koa-wsession/store';

const text = fc.string({ unit: 'binary', maxLength: 12 });

const instant = fc.nat({ max: 8.64e15 });

const anyRecord: fc.Arbitrary<SessionRecord> = fc.record(
  {
    entries: fc
      .array(fc.tuple(fc.oneof(text, fc.constantFrom('__proto__', '', '\0', ',', '\n', '3,')), text), {
        maxLength: 6,
      })
      .map((pairs) => new Map(pairs)),
    createdAt: instant,
    updatedAt: instant,
    expiresAt: instant,
    revision: instant,
  },
  { noNullPrototype: true },
);

const NUMBERS = { createdAt: 1, updatedAt: 2, expiresAt: 3, revision: 4 };

const sample = packRecord('address', {
  entries: new Map([
    ['a', '1'],
    ['long key', '{"x":[1,2,3]}'],
    ['', ''],
  ]),
  createdAt: 1_700_000_000_000,
  updatedAt: 1_700_000_000_005,
  expiresAt: 1_700_003_600_000,
  revision: 40,
});

describe('packRecord, openRecord and unpackRecord', () => {
  it('return any record of any address', () => {
    fc.assert(
      fc.property(text, anyRecord, (address, record) => {
        const packed = packRecord(address, record);
        assert.deepStrictEqual(openRecord(packed), { address, record });
        assert.deepStrictEqual(unpackRecord(address, packed), record);
        assert.deepStrictEqual([...(unpackRecord(address, packed)?.entries ?? [])], [...record.entries]);
      }),
    );
  });

  it('return a record for its own address only', () => {
    fc.assert(
      fc.property(text, text, anyRecord, (address, other, record) => {
        fc.pre(address !== other);
        assert.equal(unpackRecord(other, packRecord(address, record)), undefined);
      }),
    );
  });

  it('open no record that was cut off, or added to', () => {
    for (let end = 0; end < sample.length; end++) {
      expect(openRecord(sample.slice(0, end)), String(end)).to.equal(undefined);
      expect(openRecord(sample.slice(end + 1)), String(end)).to.equal(undefined);
    }
    for (const more of ['\n', ' ', '0', sample]) expect(openRecord(sample + more)).to.equal(undefined);
  });

  it('open a record with one character changed as one of the same address, or not at all, and never throw', () => {
    let opened = 0;
    for (let at = 0; at < sample.length; at++) {
      for (const letter of ['0', '1', 'z', 'A', ',', '\n', '-', '.', ' ', '\0', 'é', '\ud800']) {
        for (const damaged of [
          sample.slice(0, at) + letter + sample.slice(at + 1),
          sample.slice(0, at) + letter + sample.slice(at),
          sample.slice(0, at) + sample.slice(at + 1),
        ]) {
          const record = unpackRecord('address', damaged);
          if (!record) continue;
          opened++;
          expect(record.entries).to.be.instanceOf(Map);
          for (const [key, value] of record.entries)
            expect([typeof key, typeof value]).to.deep.equal(['string', 'string']);
          const { createdAt, updatedAt, expiresAt, revision } = record;
          for (const number of [createdAt, updatedAt, expiresAt, revision])
            expect(Number.isInteger(number)).to.equal(true);
        }
      }
    }
    expect(opened).to.be.greaterThan(0);
  });

  it('open nothing of any other text, and never throw', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.string().map((junk) => `3,${junk}\n${junk}`),
        ),
        (junk) => {
          const opened = openRecord(junk);
          assert.ok(opened === undefined || opened.record.entries instanceof Map);
        },
      ),
    );
    for (const junk of [
      '',
      '3',
      '3,',
      '\n',
      '3,\n',
      '3,1\n',
      '3,1,1,1,1\n',
      '2,1,1,1,1,0\n',
      '3,-1,1,1,1,0\n',
      '3,1,1,1,-1,0\n',
      '3,1,1,1,1,-1\n',
      '3,1,1,1,1,-1,0,1\n',
      '3,1,--1,1,1,0\n',
      '3,1,-,1,1,0\n',
      '3,1,1,1,1,2,-1,0\nx',
      '3,1.1,1,4,0\n',
      '3,1,1,1,1,1.5\nxx',
      '3,1,1,1,1,0,0\n',
      '3,1,1,1,1,0,z\n',
      '3,1,1,1,1,,\n',
      '3,1,1,1,1,0\nx',
    ]) {
      expect(openRecord(junk), JSON.stringify(junk)).to.equal(undefined);
    }
    expect(openRecord('3,1,1,1,4,0\n')).to.deep.equal({
      address: '',
      record: { entries: new Map(), ...NUMBERS },
    });
  });

  it('take no time that grows faster than the text', () => {
    const many = new Map(Array.from({ length: 50_000 }, (_, i) => [`key ${i}`, 'x'.repeat(20)]));
    const start = performance.now();
    const packed = packRecord('o', { entries: many, ...NUMBERS });
    expect(openRecord(packed)?.record.entries.size).to.equal(50_000);
    expect(performance.now() - start).to.be.lessThan(10_000);
  });
});

describe('applyChanges and findConflict', () => {
  const record: SessionRecord = {
    entries: new Map([
      ['a', '1'],
      ['b', '2'],
    ]),
    ...NUMBERS,
  };
  const changesOf = (changes: Partial<Changes>): Changes => ({
    set: new Map(),
    delete: [],
    updatedAt: 8,
    expiresAt: 9,
    ...changes,
  });

  it('make a new record of the former one and the changes, with the next revision', () => {
    const former = { ...record, entries: new Map([...record.entries, ['kept', '']]) };
    const before = structuredClone(former);
    const set = new Map([
      ['b', '3'],
      ['c', '4'],
    ]);
    expect(applyChanges(former, changesOf({ set, delete: ['a', 'never'] }))).to.deep.equal({
      entries: new Map([...set, ['kept', '']]),
      createdAt: 1,
      updatedAt: 8,
      expiresAt: 9,
      revision: 5,
    });
    expect(former).to.deep.equal(before);
  });

  it('keep the expiry where expiresAt is undefined', () => {
    expect(applyChanges(record, changesOf({ expiresAt: undefined })).expiresAt).to.equal(3);
  });

  it('find no conflict where every key holds what is expected, or nothing is expected', () => {
    for (const expected of [undefined, {}, { a: '1' }, { a: '1', b: '2', c: undefined }]) {
      const expect_ = expected && { expect: new Map<string, string | undefined>(Object.entries(expected)) };
      expect(findConflict(record, changesOf({ ...expect_ }))).to.equal(undefined);
    }
  });

  it('find a conflict where one key holds something else, with the actual values of all', () => {
    for (const [expected, actual] of [
      [{ a: '2' }, { a: '1' }],
      [{ a: undefined }, { a: '1' }],
      [{ c: '' }, { c: undefined }],
      [
        { a: '1', b: '3', c: undefined },
        { a: '1', b: '2', c: undefined },
      ],
    ]) {
      const changes = changesOf({ expect: new Map(Object.entries(expected as object)) });
      expect(findConflict(record, changes)).to.deep.equal({
        outcome: 'conflict',
        actual: new Map(Object.entries(actual as object)),
      });
    }
  });
});

describe('isRecord, isReplacement and noneToDestroy', () => {
  const record: SessionRecord = { entries: new Map(), ...NUMBERS };
  const mark = { by: '', until: 5 };

  it('tell records, marks and absence apart', () => {
    for (const loaded of [record, mark, undefined, 'expired', 'corrupt', 'seal'] as const) {
      expect([isRecord(loaded), isReplacement(loaded)]).to.deep.equal([loaded === record, loaded === mark]);
    }
  });

  it('are not misled by a library that adds to Object.prototype', () => {
    Object.defineProperty(Object.prototype, 'by', { value: 'x', configurable: true });
    try {
      expect([isRecord(record), isReplacement(record)]).to.deep.equal([true, false]);
    } finally {
      Reflect.deleteProperty(Object.prototype, 'by');
    }
  });

  it('say what destroy returns where no record is', () => {
    expect(noneToDestroy({ by: 'next', until: 5 })).to.deep.equal({ outcome: 'replaced', by: 'next' });
    for (const absent of [undefined, 'expired', 'corrupt', 'seal'] as const)
      expect(noneToDestroy(absent)).to.deep.equal({ outcome: 'none' });
  });
});

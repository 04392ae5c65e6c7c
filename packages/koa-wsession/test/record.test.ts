import assert from 'node:assert/strict';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  applyChanges,
  type Changes,
  findConflict,
  openRecord,
  packRecord,
  type SessionRecord,
  unpackRecord,
} from 'koa-wsession';

const text = fc.string({ unit: 'binary', maxLength: 12 });

const anyRecord: fc.Arbitrary<SessionRecord> = fc.record(
  {
    entries: fc
      .array(fc.tuple(fc.oneof(text, fc.constantFrom('__proto__', '', '\0', ',', '\n', '1,')), text), {
        maxLength: 6,
      })
      .map((pairs) => new Map(pairs)),
    createdAt: fc.nat({ max: 8.64e15 }),
    expiresAt: fc.nat({ max: 8.64e15 }),
  },
  { noNullPrototype: true },
);

const sample = packRecord('owner', {
  entries: new Map([
    ['a', '1'],
    ['long key', '{"x":[1,2,3]}'],
    ['', ''],
  ]),
  createdAt: 1_700_000_000_000,
  expiresAt: 1_700_003_600_000,
});

describe('packRecord, openRecord and unpackRecord', () => {
  it('bring back any record of any owner', () => {
    fc.assert(
      fc.property(text, anyRecord, (owner, record) => {
        const packed = packRecord(owner, record);
        assert.deepStrictEqual(openRecord(packed), { owner, record });
        assert.deepStrictEqual(unpackRecord(owner, packed), record);
        assert.deepStrictEqual([...(unpackRecord(owner, packed)?.entries ?? [])], [...record.entries]);
      }),
    );
  });

  it('give a record to its owner alone', () => {
    fc.assert(
      fc.property(text, text, anyRecord, (owner, other, record) => {
        fc.pre(owner !== other);
        assert.equal(unpackRecord(other, packRecord(owner, record)), undefined);
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

  it('open a record with one character changed as one of the same owner, or not at all, and never throw', () => {
    let opened = 0;
    for (let at = 0; at < sample.length; at++) {
      for (const letter of ['0', '1', 'z', 'A', ',', '\n', '-', '.', ' ', '\0', 'é', '\ud800']) {
        for (const damaged of [
          sample.slice(0, at) + letter + sample.slice(at + 1),
          sample.slice(0, at) + letter + sample.slice(at),
          sample.slice(0, at) + sample.slice(at + 1),
        ]) {
          const record = unpackRecord('owner', damaged);
          if (!record) continue;
          opened++;
          expect(record.entries).to.be.instanceOf(Map);
          for (const [key, value] of record.entries)
            expect([typeof key, typeof value]).to.deep.equal(['string', 'string']);
          expect([typeof record.createdAt, typeof record.expiresAt]).to.deep.equal(['number', 'number']);
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
          fc.string().map((it) => `1,${it}\n${it}`),
        ),
        (junk) => {
          const opened = openRecord(junk);
          assert.ok(opened === undefined || opened.record.entries instanceof Map);
        },
      ),
    );
    for (const junk of [
      '',
      '1',
      '1,',
      '\n',
      '1,\n',
      '1,1\n',
      '1,1,1\n',
      '2,1,1,0\n',
      '1,1,1,-1\n',
      '1,1,1,1.5\nxx',
      '1,1,1,0,0\n',
      '1,1,1,0,z\n',
      '1,1,1,,\n',
    ]) {
      expect(openRecord(junk), JSON.stringify(junk)).to.equal(undefined);
    }
    expect(openRecord('1,1,2,0\n')).to.deep.equal({
      owner: '',
      record: { entries: new Map(), createdAt: 1, expiresAt: 2 },
    });
  });

  it('take no time that grows faster than the text', () => {
    const many = new Map(Array.from({ length: 50_000 }, (_, i) => [`key ${i}`, 'x'.repeat(20)]));
    const start = performance.now();
    const packed = packRecord('o', { entries: many, createdAt: 1, expiresAt: 2 });
    expect(openRecord(packed)?.record.entries.size).to.equal(50_000);
    expect(performance.now() - start).to.be.lessThan(2000);
  });
});

describe('applyChanges and findConflict', () => {
  const record: SessionRecord = {
    entries: new Map([
      ['a', '1'],
      ['b', '2'],
    ]),
    createdAt: 1,
    expiresAt: 2,
  };
  const changes = (it: Partial<Changes>): Changes => ({ set: new Map(), delete: [], expiresAt: 9, ...it });

  it('make a new record of the old one and the changes', () => {
    const changed = applyChanges(
      record,
      changes({
        set: new Map([
          ['b', '3'],
          ['c', '4'],
        ]),
        delete: ['a', 'never'],
      }),
    );
    expect(changed).to.deep.equal({
      entries: new Map([
        ['b', '3'],
        ['c', '4'],
      ]),
      createdAt: 1,
      expiresAt: 9,
    });
    expect(record).to.deep.equal({
      entries: new Map([
        ['a', '1'],
        ['b', '2'],
      ]),
      createdAt: 1,
      expiresAt: 2,
    });
  });

  it('find the conflict with what is expected', () => {
    for (const [key, value, expected] of [
      ['a', '1', undefined],
      ['a', '2', { outcome: 'conflict', actual: '1' }],
      ['a', undefined, { outcome: 'conflict', actual: '1' }],
      ['c', undefined, undefined],
      ['c', '', { outcome: 'conflict', actual: undefined }],
    ] as const) {
      expect(findConflict(record, changes({ expect: { key, value } }))).to.deep.equal(expected);
    }
    expect(findConflict(record, changes({}))).to.equal(undefined);
  });
});

import { inspect } from 'node:util';
import { PostgresStore } from '@koa-wsession/store-postgres';
import { expect } from 'chai';
import { address, call, changesOf, recordOf, rejection } from 'testkit/records';

describe('An error of PostgresStore', () => {
  const SECRET = 'a secret of the session';
  const KEY = address();
  let error: unknown;
  /** Stands in for `postgres`: fails as it was told, with all that it was given. */
  const unsafe = (text: string, parameters: unknown[] = []) => ({
    raw: () =>
      Promise.reject(error instanceof Error ? Object.assign(error, { text, parameters, detail: SECRET }) : error),
  });
  const store = new PostgresStore(
    Object.assign(() => {}, { unsafe, end: async () => {} }),
    { sweepInterval: false },
  );

  const calls: Record<string, () => Promise<unknown>> = {
    load: () => store.load(KEY, call()),
    create: () => store.create(KEY, recordOf({ a: SECRET }), call()),
    update: () => store.update(KEY, changesOf({ a: SECRET }), call()),
    'update with expect': () => store.update(KEY, changesOf({}, { expect: new Map([['a', SECRET]]) }), call()),
    destroy: () => store.destroy(KEY, call()),
    scan: async () => {
      for await (const _ of store.scan(call));
    },
    'index.add': async () => store.index.add(KEY, KEY, 1, call()),
    'index.remove': async () => store.index.remove(KEY, KEY, call()),
    'index.keys': async () => store.index.keys(KEY, call()),
    migrate: () => store.migrate(),
    sweep: () => store.sweep(),
  };

  for (const [name, make] of Object.entries(calls)) {
    it(`has the message, and nothing that was sent: ${name}`, async () => {
      error = Object.assign(new Error('cannot execute UPDATE in a read-only transaction'), { code: '25006' });
      const thrown = await rejection(make());
      expect(thrown.message).to.equal('Postgres: cannot execute UPDATE in a read-only transaction');
      expect(inspect(thrown, { depth: 10, showHidden: true }))
        .not.to.contain(SECRET)
        .and.not.to.contain(KEY);
      expect(Reflect.ownKeys(thrown)).to.have.members(['stack', 'message']);
    });
  }

  it('is one, never absence, whatever the code', async () => {
    for (const code of ['25006', '57014', '53100', '53300', '57P01', '28P01', '08006', 'ECONNREFUSED', undefined]) {
      error = Object.assign(new Error('for some reason'), { code });
      for (const make of Object.values(calls))
        expect((await rejection(make())).message).to.equal('Postgres: for some reason');
    }
  });

  it('names the code where there is no message, and says so where a client rejects with no error', async () => {
    error = Object.assign(new Error(''), { code: 'ECONNREFUSED' });
    expect((await rejection(store.load(KEY, call()))).message).to.equal('Postgres: ECONNREFUSED');
    for (const value of [SECRET, undefined, null]) {
      error = value;
      expect((await rejection(store.load(KEY, call()))).message).to.equal(`Postgres: rejected with a ${typeof value}`);
    }
  });

  it('says what to do where the table or a column is missing', async () => {
    for (const code of ['42P01', '42703']) {
      error = Object.assign(new Error('relation "wsession" does not exist'), { code });
      expect((await rejection(store.load(KEY, call()))).message).to.match(
        /does not exist\. Create or upgrade the table: await store\.migrate\(\), or run the SQL in the README/,
      );
    }
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { address, call, changesOf, HOUR, recordOf } from 'testkit/records';
import { clients, NAMES, query, type TestClient } from './support.js';

for (const name of NAMES) {
  describeWith(needsPostgres, `A record in Postgres, with ${name}`, () => {
    let server: PostgresServer;
    let client: TestClient;
    before(async () => {
      server = await startPostgres();
      client = clients[name]({ port: server.port });
      await client.store().migrate();
    });
    after(async () => {
      await client.end();
      await server.stop();
    });

    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.string({ unit: fc.constantFrom('\0', '␀', '0', '1', '\\', '"', 'u'), maxLength: 8 }),
    );

    it('has every key and value as it was given: NUL, its escape, whatever there is', async () => {
      const store = client.store({ sweepInterval: false });
      await fc.assert(
        fc.asyncProperty(fc.array(fc.tuple(text, text)), fc.array(fc.tuple(text, text)), async (first, second) => {
          const key = address();
          const record = { ...recordOf(), entries: new Map(first) };
          await store.create(key, record, call());
          expect(await store.load(key, call())).to.deep.equal(record);
          const expected = new Map([...record.entries, ...second.map(([one]) => [one, undefined] as const)]);
          const changes = { ...changesOf({}), set: new Map(second), delete: first.map(([one]) => one) };
          const answer = await store.update(key, { ...changes, expect: expected }, call());
          const isThere = second.some(([one]) => record.entries.has(one));
          expect(answer.outcome).to.equal(isThere ? 'conflict' : 'updated');
          if (!isThere)
            expect(await store.load(key, call()))
              .to.have.property('entries')
              .that.deep.equals(new Map(second));
        }),
        { numRuns: process.env.SOAK === '1' ? 2000 : 100 },
      );
    });

    it('has its instants to the fraction of a millisecond', async () => {
      const store = client.store({ sweepInterval: false });
      for (const fraction of [0.1, 1 / 3, 0.000244140625]) {
        const now = Date.now() + fraction;
        const record = { ...recordOf(), createdAt: now - HOUR, updatedAt: now, expiresAt: now + HOUR };
        const key = address();
        await store.create(key, record, call());
        expect(await store.load(key, call())).to.deep.equal(record);
      }
    });

    for (const entries of [
      '[]',
      '"a"',
      'null',
      '{"a": 1}',
      '{"a": {"b": "c"}}',
      '{"a": null}',
      '{"b": "1", "a": ["1"]}',
    ]) {
      it(`is none where it isn't an object of strings: ${entries}`, async () => {
        const store = client.store({ sweepInterval: false });
        const key = address();
        await store.create(key, recordOf({ a: '1' }), call());
        await query(server.port, 'UPDATE wsession SET entries = $2 WHERE key = $1', [key, entries]);
        expect(await store.load(key, call())).to.equal('corrupt');
        expect(await store.update(key, changesOf({ b: '2' }), call())).to.deep.equal({ outcome: 'gone' });
        expect(await store.destroy(key, call())).to.deep.equal({ outcome: 'none' });
        expect(await store.create(key, recordOf({ c: '3' }), call())).to.deep.equal({ outcome: 'created' });
      });
    }
  });
}

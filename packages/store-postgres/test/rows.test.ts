import { expect } from 'chai';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { address, call, HOUR, recordOf } from 'testkit/records';
import { clients, query, type TestClient } from './support.js';

describeWith(needsPostgres, 'PostgresStore', () => {
  let server: PostgresServer;
  let client: TestClient;
  before(async () => {
    server = await startPostgres();
    client = clients.pg({ port: server.port });
    await client.store().migrate();
  });
  after(async () => {
    await client.end();
    await server.stop();
  });

  it('scan() returns each live session once, in batches, and no mark, no group and nothing expired', async () => {
    const store = client.store({ sweepInterval: false });
    const rows = `INSERT INTO wsession (key, entries, revision, created_at, updated_at, expires_at)
      SELECT 'session-' || i, '{}', 1, 0, 0, $2 FROM generate_series(1, $1) AS i`;
    await query(server.port, rows, [2500, Date.now() + HOUR]);
    await query(server.port, rows.replace('session-', 'expired-'), [10, Date.now() - 1]);
    await store.index.add(address(), address(), Date.now() + HOUR, call());
    const replaced = address();
    await store.create(replaced, recordOf({ a: '1' }), call());
    await store.destroy(replaced, { ...call(), replaced: { by: address(), until: Date.now() + HOUR } });
    const batches: Array<readonly string[]> = [];
    for await (const keys of store.scan(call)) batches.push(keys);
    const expected = Array.from({ length: 2500 }, (_, i) => `session-${i + 1}`);
    expect(batches.flat().sort()).to.deep.equal(expected.sort());
    expect(batches).to.have.length(3);
  });

  it('adds no session to a group with a limit of 0', async () => {
    const store = client.store({ sweepInterval: false });
    const group = address();
    expect(await store.index.add(group, address(), Date.now() + HOUR, { ...call(), limit: 0 })).to.equal(false);
    expect(await store.index.keys(group, call())).to.deep.equal([]);
  });

  it('leaves nothing of a session in its mark', async () => {
    const store = client.store({ sweepInterval: false });
    const key = address();
    await store.create(key, recordOf({ secret: 'value' }), call());
    await store.destroy(key, { ...call(), replaced: { by: 'other', until: Date.now() + HOUR } });
    const [row] = await query(server.port, 'SELECT * FROM wsession WHERE key = $1', [key]);
    expect([row.entries, row.replaced_by]).to.deep.equal([null, 'other']);
  });
});

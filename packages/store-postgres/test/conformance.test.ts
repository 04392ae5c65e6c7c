import { conformance } from 'koa-wsession/conformance';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { clients, NAMES, query, type TestClient } from './support.js';

for (const name of NAMES) {
  for (const prepare of [false, true]) {
    describeWith(needsPostgres, `PostgresStore with ${name}${prepare ? ', prepared' : ''}`, () => {
      let server: PostgresServer;
      let client: TestClient;
      before(async () => {
        server = await startPostgres();
        client = clients[name]({ port: server.port });
        await client.store({ sweepInterval: false }).migrate();
      });
      after(async () => {
        await client.end();
        await server.stop();
      });

      conformance(
        { describe, it, afterEach },
        {
          name: 'PostgresStore',
          create: (options) => client.store({ prepare, ...options }),
          capabilities: { seals: false, merges: true, revokes: true },
          corrupt: (key) => query(server.port, `UPDATE wsession SET entries = '[1]' WHERE key = $1`, [key]),
          fail: () => server.kill('SIGSTOP'),
          restore: () => server.kill('SIGCONT'),
        },
      );
    });
  }
}

import { restore, useFakeTimers } from 'sinon';
import { tryTheft } from 'testkit/bound-site';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { TRUSTED_BROWSER, Trust } from 'testkit/trusted-browser';
import { clients, type TestClient } from './support.js';

describeWith([...TRUSTED_BROWSER, ...needsPostgres], 'a device-bound session in Postgres, in Chromium', function () {
  this.timeout(120_000);

  let server: PostgresServer;
  let client: TestClient;
  let trust: Trust;

  before(async () => {
    server = await startPostgres();
    client = clients.pg({ port: server.port });
    await client.store().migrate();
    trust = new Trust();
  });
  after(async () => {
    restore();
    trust?.remove();
    await client?.end();
    await server?.stop();
  });

  it('is worthless to a thief once the bound cookie has expired, while the browser goes on', async () => {
    const clock = useFakeTimers({ now: Date.now(), toFake: ['Date'] });
    await tryTheft(trust, client.store({ secure: true }), (milliseconds) => clock.tick(milliseconds));
  });
});

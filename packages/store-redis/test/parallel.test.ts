import { describeWith } from 'testkit/programs';
import { type RedisServer, startRedis } from 'testkit/redis';
import { describeSessionRaces } from 'testkit/session-races';
import { describeTwoProcesses } from 'testkit/two-processes';

describeWith(['redis-server'], 'RedisStore', () => {
  let server: RedisServer;
  before(async () => {
    server = await startRedis();
  });
  after(() => server.stop());

  describeTwoProcesses(new URL('./worker.js', import.meta.url), () => [String(server.port)]);
  describeSessionRaces(new URL('./worker.js', import.meta.url), () => [String(server.port)]);
});

import { expect } from 'chai';
import { run } from 'cluster-app';
import { describeWith } from 'testkit/programs';

describeWith(['redis-server'], 'four servers behind a proxy, with a Redis Cluster', function () {
  this.timeout(60_000);

  it('are restarted one by one, and one is killed: no visitor loses anything', async () => {
    const { servers, killed } = await run(8, { failover: false });
    const { 200: fine = 0, 502: cut = 0, ...others } = servers.answers;
    expect(others, 'unexpected statuses').to.deep.equal({});
    expect(cut).to.equal(servers.cut[killed] ?? 0, 'requests that were cut, all by kill -9');
    expect(fine + cut).to.equal(servers.requests);
    expect(servers.retried, 'by the proxy').to.be.above(0);
    expect(servers.updates).to.be.above(8 * 6 * 6);
    expect(servers).to.include({ sessions: 8, sessionsLost: 0, updatesLost: 0 });
  });
});

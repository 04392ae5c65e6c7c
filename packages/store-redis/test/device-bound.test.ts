import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import { expect } from 'chai';
import { BoundSite, expireIn, LIFETIME } from 'testkit/bound-site';
import { describeWith } from 'testkit/programs';
import { type RedisServer, startRedis } from 'testkit/redis';
import { TRUSTED_BROWSER, Trust } from 'testkit/trusted-browser';
import { startProcesses } from 'testkit/two-processes';

describeWith([...TRUSTED_BROWSER, 'redis-server'], 'a device-bound session of two processes, in Chromium', function () {
  this.timeout(120_000);

  let redis: RedisServer;
  let trust: Trust;
  let processes: ChildProcess[];
  let urls: string[];
  let stop: () => Promise<void>;
  let site: BoundSite;
  /** Which process has the next request. */
  let turn = 0;
  /** Which processes were asked for a renewal. */
  const asked: number[] = [];

  before(async () => {
    redis = await startRedis();
    ({ processes, urls, stop } = await startProcesses(new URL('./device-worker.js', import.meta.url), [
      String(redis.port),
    ]));
    trust = new Trust();
    site = new BoundSite(await trust.serve(passOn));
  });
  after(async () => {
    await trust?.closeBrowsers();
    await site?.server.close();
    trust?.remove();
    await stop?.();
    await redis?.stop();
  });

  /** A proxy that ends TLS, and passes each request to the other process than the last. */
  function passOn(incoming: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '', headers } = incoming;
    if (url === '/favicon.ico') return void response.writeHead(404).end();
    const process = turn++ % 2;
    if (url === '/device-bound/wsession/refresh') asked.push(process);
    const outgoing = request(
      new URL(url, urls[process]),
      { method, headers: { ...headers, 'x-forwarded-proto': 'https' } },
      (reply) => {
        response.writeHead(reply.statusCode as number, reply.headers);
        reply.pipe(response);
      },
    );
    outgoing.once('error', () => response.destroy());
    incoming.pipe(outgoing);
  }

  async function tick(milliseconds: number): Promise<void> {
    const ticked = processes.map((one) => once(one, 'message'));
    for (const one of processes) one.send(milliseconds);
    await Promise.all(ticked);
  }

  it('is registered with one, and each takes the proofs and the cookies that the other asked for', async () => {
    const browser = await trust.launch();
    const { page } = await site.logIn(browser);
    const tabs = [page, await browser.newPage(), await browser.newPage()];
    // The first challenge has to be asked for; each answer brings the next one, which goes to the other process.
    for (turn of [0, 0, 1]) {
      await tick(LIFETIME);
      await expireIn(browser);
      const seen = await Promise.all(tabs.map((tab) => site.visit(tab, '/who')));
      expect(seen).to.deep.equal(['ada bound 0', 'ada bound 0', 'ada bound 0']);
    }
    expect(asked).to.deep.equal([0, 1, 0, 1]);
  });
});

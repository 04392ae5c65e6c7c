import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Client, itWith, startRedis } from 'testkit';

const APP = fileURLToPath(new URL('./traced-app.js', import.meta.url));

interface Span {
  readonly name: string;
  readonly attributes: Record<string, unknown>;
  readonly status: { code: number; message?: string };
  readonly id: string;
  readonly parent?: string;
}

const UNSET = 0;
const ERROR = 2;

describe('the guide to tracing', () => {
  const endings: Array<() => unknown> = [];
  afterEach(async () => {
    for (const end of endings.splice(0).reverse()) await end();
  });

  async function start(
    store: string,
    place = '',
  ): Promise<{ ada: Client; spans(): Promise<Span[]>; metrics(): Promise<string[]> }> {
    const app = spawn(process.execPath, [APP, store, place], { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(app, 'exit');
    endings.push(() => {
      app.kill('SIGKILL');
      return exited;
    });
    const { value: port } = await createInterface(app.stdout)[Symbol.asyncIterator]().next();
    const url = `http://127.0.0.1:${port}`;
    return {
      ada: new Client(url),
      spans: async () => (await new Client(url).get('/spans')).json(),
      metrics: async () =>
        (await new Client(url).get('/metrics')).body.split('\n').filter((line) => line.startsWith('sessions_total')),
    };
  }

  async function place(store: string): Promise<string> {
    if (store === 'fs') {
      const folder = mkdtempSync(join(tmpdir(), 'guides-'));
      endings.push(() => rmSync(folder, { recursive: true }));
      return folder;
    }
    if (store !== 'redis') return '';
    const redis = await startRedis();
    endings.push(() => redis.stop());
    return redis.url;
  }

  for (const store of ['memory', 'cookie', 'fs', 'redis']) {
    const programs = store === 'redis' ? ['redis-server'] : [];
    itWith(programs, `makes a span of each load, save and destroy, inside the request's (${store})`, async () => {
      const { ada, spans } = await start(store, await place(store));
      for (const [path, calls] of [
        ['/write', ['save']],
        ['/', ['load']],
        ['/write?again', ['load']],
        ['/logout', ['load', 'destroy']],
      ] as const) {
        const token = ada.cookie.slice('wsession='.length);
        expect((await ada.get(path)).status).to.equal(200);
        const seen = await spans();
        const [request, ...others] = seen.filter(({ name }) => name.startsWith('GET'));
        expect(others).to.deep.equal([]);
        const ours = seen.filter(({ name }) => name.startsWith('session '));
        expect(
          ours.map(({ name }) => name),
          path,
        ).to.deep.equal(calls.map((call) => `session ${call}`));
        for (const { parent, status, attributes } of ours) {
          expect(parent).to.equal(request?.id);
          expect(status.code).to.equal(UNSET);
          expect(attributes).to.have.all.keys('wsession.name', 'wsession.ref');
        }
        const all = JSON.stringify(seen);
        expect(all).not.to.contain('a value to hide');
        if (token) expect(all).not.to.contain(token);
      }
    });
  }

  itWith(['redis-server'], 'gives the span of a call that failed the status of an error', async () => {
    const redis = await startRedis();
    endings.push(() => redis.stop());
    const { ada, spans } = await start('redis', redis.url);
    await ada.get('/write');
    await spans();
    await redis.kill();
    expect((await ada.get('/write')).status).to.equal(503);
    const [load] = (await spans()).filter(({ name }) => name.startsWith('session '));
    expect([load?.name, load?.status.code]).to.deep.equal(['session load', ERROR]);
    expect(load?.status.message).to.match(/session store/);
    expect(JSON.stringify(load)).not.to.contain(ada.cookie.slice('wsession='.length));
  });

  it('counts what happens to sessions, by event and reason', async () => {
    const { ada, metrics } = await start('memory');
    for (const path of ['/write', '/regenerate', '/', '/logout']) await ada.get(path);
    await ada.get('/', { headers: { cookie: 'wsession=forged' } });
    await ada.get('/', { headers: { cookie: `wsession=${'A'.repeat(32)}` } });
    await ada.get('/', { headers: { cookie: `wsession=${'A'.repeat(32)}` } });
    expect(await metrics()).to.have.members([
      'sessions_total{name="wsession",event="created",reason=""} 1',
      'sessions_total{name="wsession",event="regenerated",reason=""} 1',
      'sessions_total{name="wsession",event="destroyed",reason=""} 1',
      'sessions_total{name="wsession",event="rejected",reason="malformed"} 1',
      'sessions_total{name="wsession",event="rejected",reason="unknown"} 2',
    ]);
  });
});

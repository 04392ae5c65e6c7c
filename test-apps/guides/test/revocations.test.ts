import { expect } from 'chai';
import { Client, type RedisServer, startRedis } from 'testkit';
import { describeWith } from 'testkit/programs';
import { startProcesses } from 'testkit/two-processes';

const ROUNDS = process.env.SOAK === '1' ? 100 : 5;

describeWith(['redis-server'], 'Two processes with cookies, and revocations in Redis', () => {
  let redis: RedisServer;
  let site: Awaited<ReturnType<typeof startProcesses>>;
  before(async () => {
    redis = await startRedis();
    site = await startProcesses(new URL('./revocations-worker.js', import.meta.url), [String(redis.port)]);
  });
  after(async () => {
    await site.stop();
    await redis.stop();
  });

  const ask = (process: number, path: string, cookie: string) =>
    new Client(site.urls[process % 2] as string).get(path, { headers: { cookie } });

  /** A visitor that is logged in, and keeps every cookie that it ever had. */
  async function logIn(process: number, owner: string) {
    const visitor = new Client(site.urls[process % 2] as string);
    await visitor.get(`/login/${owner}`);
    const cookies = [visitor.cookie];
    return {
      cookies,
      async send(to: number, path: string): Promise<number> {
        const { status, setCookie } = await ask(to, path, cookies.at(-1) as string);
        for (const line of setCookie) if (!line.includes('Max-Age=0')) cookies.push(line.split(';')[0] as string);
        return status;
      },
    };
  }

  const ownersOf = (cookies: readonly string[]): Promise<Array<string | undefined>> =>
    Promise.all(cookies.map(async (cookie, i) => (await ask(i, '/', cookie)).json().owner));

  for (const end of ['revoke', 'revoke-all', 'logout'] as const) {
    it(`leave none alive that ${end} ended, by none of its cookies, while requests write (${ROUNDS} rounds)`, async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const owner = `ada-${end}-${round}`;
        const visitors = await Promise.all(Array.from({ length: 6 }, (_, i) => logIn(i, owner)));
        // With a new id there are two sessions for a moment, and a logout ends one of them.
        const other = end === 'logout' ? '/set/key-2' : '/regenerate';
        const writes = visitors.flatMap((one, i) => [one.send(i, '/set/key-1'), one.send(i + 1, other)]);
        const ends =
          end === 'logout'
            ? visitors.map((one, i) => one.send(i + round, '/logout'))
            : [ask(round, `/${end}/${owner}`, '').then(({ status }) => status)];
        const statuses = await Promise.all([...writes, ...ends]);
        expect(statuses.filter((status) => ![200, 409].includes(status))).to.deep.equal([]);
        const cookies = visitors.flatMap((one) => one.cookies);
        const alive = (await ownersOf([...cookies, ...cookies.slice(1)])).filter(Boolean);
        expect(alive, `round ${round}`).to.deep.equal([]);
        const after = await logIn(round, owner);
        expect(await ownersOf(after.cookies)).to.deep.equal([owner]);
      }
    }).timeout(ROUNDS * 3000);
  }
});

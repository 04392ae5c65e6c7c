import { expect } from 'chai';
import { Client } from './http.js';
import { startProcesses } from './two-processes.js';

/* Logins, new ids and ends at the same time in two processes: how many sessions may be there afterwards. */

const ROUNDS = process.env.SOAK === '1' ? 100 : 5;

const LIMIT = 3;

/** `worker` is a module that calls `serveAsWorker`; `args` are for it. */
export function describeSessionRaces(worker: URL, args: () => readonly string[]): void {
  for (const mode of ['end-oldest', 'refuse'] as const) {
    describe(`Two processes, ${LIMIT} sessions an owner, ${mode}`, () => {
      // biome-ignore lint/suspicious/noThenProperty: the option's name
      const { enter, either, later } = describeSite(worker, args, { maxSessions: { limit: LIMIT, then: mode } });

      it(`let exactly ${LIMIT} of 8 parallel logins be there in the end (${ROUNDS} rounds)`, async () => {
        for (let round = 0; round < ROUNDS; round++) {
          const owner = `${mode}-${round}`;
          const replies = await Promise.all(Array.from({ length: 8 }, (_, i) => enter(i % 2, `/login/${owner}`)));
          const refused = replies.filter(({ status }) => status === 403).length;
          const alive = await countAlive(replies, owner, either);
          expect([alive, refused], `round ${round}`).to.deep.equal([LIMIT, mode === 'refuse' ? 5 : 0]);
          expect((await later(`/list/${owner}`)).json().length).to.equal(LIMIT);
        }
      }).timeout(ROUNDS * 3000);

      it(`let sessions that get new ids meanwhile stay, within the limit (${ROUNDS} rounds)`, async () => {
        for (let round = 0; round < ROUNDS; round++) {
          const owner = `ids-${mode}-${round}`;
          const before = [await enter(0, `/login/${owner}`), await enter(1, `/login/${owner}`)];
          const [late] = await Promise.all([
            enter(round % 2, `/login/${owner}`),
            ...before.map(({ visitor }, i) => visitor.get(i === round % 2 ? '/regenerate' : `/login/${owner}`)),
          ]);
          const visitors = [...before, late];
          expect(await countAlive(visitors, owner, either), `round ${round}`).to.equal(3);
          expect((await later(`/list/${owner}`)).json().length).to.equal(3);
        }
      }).timeout(ROUNDS * 3000);
    });
  }

  describe('Two processes, and the end of all sessions', () => {
    const { enter, either, later } = describeSite(worker, args, {});

    it(`leave none alive that is older than the call, and lose none that is younger (${ROUNDS} rounds)`, async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const owner = `all-${round}`;
        const before = await Promise.all(Array.from({ length: 8 }, (_, i) => enter(i % 2, `/login/${owner}`)));
        const [ended, ...meanwhile] = await Promise.all([
          later('/revoke-all'),
          ...[0, 1].map((one) => enter(one, `/login/${owner}`)),
          ...before.map(({ visitor }, i) => visitor.get(['/regenerate', '/update', '/'][i % 3])),
        ]);
        expect(ended.status).to.equal(200);
        expect(await countAlive(before, owner, either), `round ${round}`).to.equal(0);
        const entered = meanwhile.slice(0, 2) as Array<Awaited<ReturnType<typeof enter>>>;
        // A login during the call may survive it or not, but is listed if and only if it does.
        const alive = await countAlive(entered, owner, either);
        expect((await later(`/list/${owner}`)).json().length, `round ${round}`).to.equal(alive);
        const after = await enter(either(), `/login/${owner}`);
        expect(await countAlive([after], owner, either)).to.equal(1);
      }
    }).timeout(ROUNDS * 3000);
  });
}

interface Entered {
  readonly visitor: Client;
  readonly status: number;
}

/** Two processes while the group's tests run. */
function describeSite(worker: URL, args: () => readonly string[], options: Parameters<typeof startProcesses>[2]) {
  let site: Awaited<ReturnType<typeof startProcesses>>;
  before(async () => {
    site = await startProcesses(worker, args(), options);
  });
  after(() => site.stop());
  let turn = 0;
  const either = (): number => turn++ % 2;
  const visitorOf = (process: number): Client => new Client(site.urls[process] as string);
  return {
    either,
    later: (path: string) => visitorOf(either()).get(path),
    async enter(process: number, path: string): Promise<Entered> {
      const visitor = visitorOf(process);
      const { status } = await visitor.get(path);
      return { visitor, status };
    },
  };
}

/** How many of these visitors are logged in. */
async function countAlive(entered: readonly Entered[], owner: string, either: () => number): Promise<number> {
  either();
  const owners = await Promise.all(entered.map(async ({ visitor }) => (await visitor.get('/')).json().owner));
  return owners.filter((one) => one === owner).length;
}

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import { Client, type ClientResponse } from 'testkit/http';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { clients, query } from './support.js';

describeWith(needsPostgres, 'Two processes on one table, one with pg, the other with postgres', () => {
  let server: PostgresServer;
  let processes: ChildProcess[];
  let urls: string[];

  before(async () => {
    server = await startPostgres();
    const client = clients.pg({ port: server.port });
    await client.store().migrate();
    await client.end();
    const worker = new URL('./worker.js', import.meta.url);
    processes = ['pg', 'postgres'].map((name) => fork(worker, [name, String(server.port)]));
    const ports = await Promise.all(processes.map(async (one) => (await once(one, 'message'))[0]));
    urls = ports.map((port) => `http://127.0.0.1:${port}`);
  });
  after(async () => {
    const ends = processes.map((one) => once(one, 'exit'));
    for (const one of processes) one.disconnect();
    await Promise.all(ends);
    await server.stop();
  });

  /** A request to one of the processes with this visitor's cookie. */
  const ask = (visitor: Client, process: number, path: string): Promise<ClientResponse> =>
    new Client(urls[process] as string).get(path, { headers: { cookie: visitor.cookie } });

  const enter = async (path: string): Promise<Client> => {
    const visitor = new Client(urls[0] as string);
    expect((await visitor.get(path)).status).to.equal(200);
    return visitor;
  };

  const statusesOf = (responses: ClientResponse[]): number[] => [...new Set(responses.map(({ status }) => status))];

  it('lose none of 100 parallel writes of 100 keys', async () => {
    const ada = await enter('/set/key-0');
    const keys = Array.from({ length: 100 }, (_, i) => `key-${i}`);
    expect(statusesOf(await Promise.all(keys.map((key, i) => ask(ada, i % 2, `/set/${key}`))))).to.deep.equal([200]);
    expect((await ask(ada, 1, '/')).json()).to.have.all.keys(keys);
  });

  it('lose none of 100 parallel update() of one key', async () => {
    const ada = await enter('/set/key-0');
    const responses = await Promise.all(Array.from({ length: 100 }, (_, i) => ask(ada, i % 2, '/update')));
    expect(statusesOf(responses)).to.deep.equal([200]);
    expect((await ask(ada, 1, '/')).json().counter).to.equal(100);
  });

  it('let a logout in one end the session during a request in the other: 409, and nothing comes back', async () => {
    const ada = await enter('/set/key-0');
    const held = once(processes[0] as ChildProcess, 'message');
    const late = ask(ada, 0, '/hold');
    await held;
    expect((await ask(ada, 1, '/logout')).status).to.equal(200);
    processes[0]?.send('go on');
    const { status, setCookie } = await late;
    expect([status, setCookie]).to.deep.equal([409, []]);
    for (const process of [0, 1]) expect((await ask(ada, process, '/')).json()).to.deep.equal({});
  });

  it("list and revoke an owner's sessions", async () => {
    const visitors = await Promise.all(Array.from({ length: 8 }, () => enter('/login/ada')));
    for (const process of [0, 1])
      expect((await ask(visitors[0] as Client, process, '/list/ada')).json()).to.have.length(8);
    expect((await ask(visitors[0] as Client, 1, '/revoke/ada')).json()).to.equal(8);
    for (const visitor of visitors) expect((await ask(visitor, 0, '/count')).json()).to.deep.equal({ counter: 1 });
  });

  it('hold one row for a session, whose key is a hash: no part of the id is in the table', async () => {
    const ada = await enter('/count');
    const id = /=([\w-]{32})/.exec(ada.cookie)?.[1] as string;
    const rows = await query(server.port, 'SELECT t.*::text AS row, key FROM wsession AS t');
    expect(rows.map(({ row }) => row).join('\n')).not.to.contain(id.slice(0, 12));
    expect(rows.every(({ key }) => /^(group:)?[\w-]{43}$/.test(key))).to.equal(true);
  });
});

import { readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'testkit/http';
import { TYPES } from './handlers.js';

const PATIENCE = 10_000;
const SILENCE = `no answer in ${PATIENCE / 1000} s`;
const PARALLEL = 100;
const ROUNDS = 20;
const LARGE = 6000;

/**
 * A browser: it drops a cookie whose name and value are over 4096 bytes (RFC 6265bis, 5.6). When a request times out,
 * its status is a text that says so.
 */
class Browser extends Client {
  async request(method, path, init) {
    const signal = AbortSignal.timeout(PATIENCE);
    const response = await super
      .request(method, path, { signal, ...init })
      .catch(() => ({ status: signal.aborted ? SILENCE : 'cut off', body: '', setCookie: [] }));
    for (const [name, value] of this.jar) if (name.length + value.length > 4096) this.jar.delete(name);
    return response;
  }
}

/**
 * @typedef {object} Trial one system, running
 * @property {import('../systems.js').System} system
 * @property {string} url
 * @property {string} directory for its files, if it keeps some
 * @property {import('../servers.js').DatabaseServer & { client?: import('ioredis').Redis } | undefined} database its server, if it needs one
 */

/**
 * @typedef {object} Scenario
 * @property {string} title
 * @property {string} about what is done, and what the results mean
 * @property {string[]} columns
 * @property {(trial: Trial) => Promise<string[]>} run a cell for each column
 */

/** @type {Scenario[]} In this order: the last one breaks the store. */
export const SCENARIOS = [
  {
    title: 'Parallel requests',
    about: `${PARALLEL} requests of one visitor at the same time, each of which sets another key and takes 100 ms: how many of
the keys are lost.`,
    columns: ['lost'],
    async run({ url }) {
      const ada = await login(url);
      await Promise.all(Array.from({ length: PARALLEL }, (_, i) => ada.get(`/set-slowly/${i}`)));
      const kept = Number((await ada.get('/keys')).body);
      return [`${PARALLEL - kept} of ${PARALLEL}`];
    },
  },
  {
    title: 'Logout',
    about: `A request changes the session; while it is in progress, the same visitor logs out; then the request ends. *Came
back*: how often the browser is logged in again after that, in ${ROUNDS} rounds. *Copy*: whether a copy of the cookie, made before
a logout with no request in progress, is logged in after it.`,
    columns: ['came back', 'copy'],
    async run({ url }) {
      let cameBack = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const ada = await login(url);
        const inProgress = ada.get(`/hold/${round}`);
        await new Browser(url).get('/begun');
        await ada.get('/logout');
        await new Browser(url).get('/release');
        await inProgress;
        if ((await ada.get('/me')).body === 'ada') cameBack++;
      }
      const ada = await login(url);
      const { cookie } = ada;
      await ada.get('/logout');
      const { body } = await new Browser(url).get('/me', { headers: { cookie } });
      return [`${cameBack} of ${ROUNDS}`, body === 'ada' ? 'logged in' : 'nobody'];
    },
  },
  {
    title: 'An error after a change',
    about: `A handler changes the session and then throws an error with status 401. Whether the change is there at the next
request, for a visitor who had no session yet, and for one who had.`,
    columns: ['new visitor', 'known visitor'],
    async run({ url }) {
      const outcome = async (visitor) => {
        const { status } = await visitor.get('/fail/changed');
        const { body } = await visitor.get('/me');
        return `${status}, ${body === 'changed' ? 'kept' : 'lost'}`;
      };
      return [await outcome(new Browser(url)), await outcome(await login(url))];
    },
  },
  {
    title: 'More than a cookie can hold',
    about: `A visitor who is logged in stores ${LARGE} random characters. The response's status, and what the session has at the
next request: the new value, the old one (\`stale\`), or nothing (\`logged out\`). Browsers drop a cookie of over 4096 bytes.`,
    columns: ['answer'],
    async run({ url }) {
      const ada = await login(url);
      const { status } = await ada.get(`/fill/${LARGE}`);
      const { body } = await ada.get('/me');
      const found = body === 'ada' ? 'stale' : body.length === LARGE ? 'kept' : 'logged out';
      return [`${status}, ${found}`];
    },
  },
  {
    title: 'A page that does not touch the session',
    about: 'The cookie is sent, the handler leaves the session alone: what is written nevertheless.',
    columns: ['writes'],
    async run({ url, directory, database }) {
      const ada = await login(url);
      const written = await database?.watchWrites();
      const before = await filesIn(directory);
      const { setCookie } = await ada.get('/untouched');
      const writes = (await written?.()) ?? [];
      if ((await filesIn(directory)) !== before) writes.push('the file');
      if (setCookie.length > 0) writes.push('Set-Cookie');
      return [writes.join(', ') || 'nothing'];
    },
  },
  {
    title: 'Values',
    about: "What a value is at the next request, or the status where it can't be stored or read.",
    columns: TYPES,
    run({ url }) {
      return Promise.all(
        TYPES.map(async (type) => {
          const visitor = new Browser(url);
          const { status } = await visitor.get(`/keep/${type}`);
          if (status !== 200) return String(status);
          const next = await visitor.get(`/kept/${type}`);
          return next.status === 200 ? next.body : `${next.status} when read`;
        }),
      );
    },
  },
  {
    title: 'Hostile cookies',
    about: `For how many kinds of broken and forged cookies a page that reads or changes the session responds with a 5xx, or
not at all.`,
    columns: ['errors'],
    async run({ url }) {
      const ada = await login(url);
      const kinds = hostileCookies([...ada.jar]);
      let errors = 0;
      for (const cookie of kinds) {
        const answers = ['/me', '/login'].map((path) => statusWith(url, cookie, path));
        if ((await Promise.all(answers)).some((status) => !(status < 500))) errors++;
      }
      return [`${errors} of ${kinds.length}`];
    },
  },
  {
    title: 'The store is down',
    about: `The server is killed, or the folder of the files replaced by a file. The status of a page that doesn't touch the session,
and of one that changes it, both with a cookie. Afterwards: the status of the latter once the store is back (Redis is empty then).`,
    columns: ['untouched', 'changed', 'afterwards'],
    async run({ url, system, directory, database }) {
      if (!database && system.kind !== 'file') return ['-', '-', '-'];
      const ada = await login(url);
      const { cookie } = ada;
      const ask = async (path) => String(await statusWith(url, cookie, path));
      const away = `${directory}.away`;
      if (database) await database.server.kill();
      else {
        await rename(directory, away);
        await writeFile(directory, '');
      }
      const down = await Promise.all([ask('/untouched'), ask('/fill/10')]);
      if (database) await database.server.restart();
      else {
        await rm(directory);
        await rename(away, directory);
      }
      return [...down, await ask('/fill/10')];
    },
  },
];

/** The status of a request with this Cookie header. */
async function statusWith(url, cookie, path) {
  return (await new Browser(url).get(path, { headers: { cookie } })).status;
}

async function login(url) {
  const ada = new Browser(url);
  await ada.get('/login');
  if ((await ada.get('/me')).body !== 'ada') throw new Error('The login was lost.');
  return ada;
}

/** The files of a folder and when they changed, as one text. */
async function filesIn(directory) {
  const names = await readdir(directory);
  const lines = names.sort().map(async (name) => {
    const { mtimeMs, ino } = await stat(join(directory, name));
    return `${name} ${ino} ${mtimeMs}`;
  });
  return (await Promise.all(lines)).join('\n');
}

/** Cookie headers made from the valid cookies of a visitor (the first holds the session). */
function hostileCookies([[name, value], ...others]) {
  const rest = others.map(([other, its]) => `; ${other}=${its}`).join('');
  const swap = (at) => value.slice(0, at) + (value[at] === 'A' ? 'B' : 'A') + value.slice(at + 1);
  const base64 = (text) => Buffer.from(text).toString('base64');
  const values = [
    '',
    '%',
    '%E0%A4%A',
    '%00',
    'null',
    '{}',
    '__proto__',
    '../../../../etc/passwd',
    '..%2F..%2Fetc%2Fpasswd',
    's:',
    's%3Aabc.def',
    'j:{"user":"ada"}',
    base64('{"user":"ada"}'),
    base64('not JSON'),
    'A'.repeat(8000),
    '\xff\xfe\xfd',
    value.slice(0, -1),
    `${value}A`,
    swap(0),
    swap(Math.floor(value.length / 2)),
  ];
  return [
    ...values.map((forged) => `${name}=${forged}${rest}`),
    `${name}=${value}`, // without the signature that some keep in another cookie
    `${name}=x; ${name}=${value}; ${name}=y${rest}`,
    `${name}${rest}`,
    `${Array.from({ length: 200 }, (_, i) => `c${i}=x`).join('; ')}; ${name}=x`,
  ];
}

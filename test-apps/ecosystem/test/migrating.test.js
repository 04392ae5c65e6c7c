import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { has } from 'testkit/programs';
import { FOLDER } from './setup.js';

const PAGES = ['koa-session', 'koa-generic-session', 'express-session', 'iron-session', 'cookie-session'];
const OTHERS = ['koa-session, in its cookie, as koa:sess'];
const CONTENT = { user: 'ada', cart: ['book'], passport: { user: 'ada' } };
const AsyncFunction = (async () => undefined).constructor;

/** Sessions of the real packages, and the code of docs/migrating/ for them. */
describe('Migrating', () => {
  let modules;
  let trial;
  let systems;

  before(async () => {
    // Here, and not at the top: the packages aren't installed before.
    const [old, runtime, { Trial }] = await Promise.all([
      import('../src/old-apps.js'),
      import('../src/systems.js'),
      import('../src/trial.js'),
    ]);
    modules = { ...old, ...runtime, Trial };
    const ids = ['files', 'cookies', ...(has('redis-server') ? ['redis'] : [])];
    systems = await Promise.all(ids.map(modules.openSystem));
  });
  after(() => Promise.all(systems?.map((system) => system.close()) ?? []));
  afterEach(() => trial?.close());

  for (const name of [...PAGES, ...OTHERS])
    it(`from ${name}: a visitor stays logged in, on each store`, async () => {
      for (const system of systems) {
        const { after } = await move(name, system);
        expect(after.jar.has('wsession')).to.equal(false);
        for (const expected of [CONTENT, CONTENT]) {
          expect(await after.json('/')).to.deep.equal(expected);
          expect([...after.jar.keys()], 'the cookies').to.deep.equal(['wsession']);
        }
        await trial.close();
      }
    });

  for (const page of PAGES)
    it(`shows code that does the same as before: docs/migrating/${page}.md`, async () => {
      const rows = rowsOf(await readFile(`${FOLDER}../../docs/migrating/${page}.md`, 'utf8'));
      expect(rows.length).to.be.greaterThan(3);
      for (const [old, now] of rows) {
        const { before: visitor, after } = await move(page, systems[0]);
        const [was, is] = [await visitor.json(pathOf(old)), await after.json(pathOf(now))];
        expect(is, `${old} → ${now}`).to.deep.equal(was);
        expect(await after.json('/'), `the session after ${old} → ${now}`).to.deep.equal(await visitor.json('/'));
        expect(trial.errors).to.deep.equal([]);
        await trial.close();
      }
    });

  /** A visitor of the old app, and another one that has moved on to the new one, with the cookies of the old one. */
  async function move(name, system) {
    trial = new modules.Trial(system);
    const { listener, migrate } = modules.OLD_APPS[name](respond);
    const server = await trial.serve(listener);
    const [before, mover] = [trial.visitor(server), trial.visitor(server)];
    for (const visitor of [before, mover]) {
      await visitor.get('/?fill');
      expect(await visitor.json('/'), 'in the old app').to.deep.equal(CONTENT);
    }

    const app = trial.bareApp();
    app.keys = ['a new key', modules.SECRET];
    const sessions = trial.session(app, { migrate });
    app.use(sessions);
    app.use(async (ctx) => {
      ctx.body = await respond({ ctx, sessions });
    });
    const after = trial.visitor(await trial.serve(app));
    for (const [cookie, value] of mover.jar) after.jar.set(cookie, value);
    return { before, after };
  }
});

const pathOf = (code) => `/?code=${encodeURIComponent(code)}`;

/** Runs the code of the request's query with the names that it may use, fills the session, or returns its content. */
async function respond(names) {
  const { ctx, req = ctx.req } = names;
  const session = names.session ?? req.session ?? ctx.session;
  const query = new URL(req.url, 'http://localhost').searchParams;
  if (query.has('fill')) {
    Object.assign(session, structuredClone(CONTENT));
    return session.save?.(() => undefined);
  }
  if (query.has('code')) {
    const code = query.get('code');
    const run = new AsyncFunction(...Object.keys(names), code.includes(';') ? code : `return (${code})`);
    return { value: await run(...Object.values(names)) };
  }
  const { cookie, ...content } = JSON.parse(JSON.stringify(session)); // `cookie`: its options
  return content;
}

/** The first two columns of the table below "In the code", which are code. */
function rowsOf(page) {
  const [, section = ''] = /^## In the code\n(.*?)(?=^## |$(?![\s\S]))/ms.exec(page) ?? [];
  return Array.from(section.matchAll(/^\| `([^`]+)` \| `([^`]+)` \|/gm), ([, old, now]) => [old, now]);
}

import { expect } from 'chai';
import { MemoryStore } from 'koa-wsession/memory';
import type { SessionRecord } from 'koa-wsession/store';
import { spy, stub } from 'sinon';
import { DeviceBrowser } from './device-browser.js';
import { ANONYMOUS, BOUND, beforeNextUpdate, LOGIN, MINUTE, start, startClock, whoIs } from './device-site.js';
import { tidy } from './helpers.js';

describe('the proof of a device', () => {
  afterEach(tidy);

  it('asks for a proof, and gives a new cookie for it', async () => {
    const clock = startClock();
    const { browser } = await start();
    await browser.bind();
    clock.tick(9 * MINUTE);
    const asked = await browser.ask();
    expect([asked.status, asked.setCookie]).to.deep.equal([403, []]);
    expect(asked.headers['secure-session-challenge']).to.match(new RegExp(`^"[\\w.-]{65}";id="${browser.id}"$`));
    const before = browser.client.jar.get('wsession_bound');
    const proven = await browser.prove();
    expect(proven.status).to.equal(200);
    expect(proven.json()).to.deep.equal(browser.instructions);
    expect(browser.client.jar.get('wsession_bound')).to.not.equal(before);
    clock.tick(9 * MINUTE);
    expect(await whoIs(browser)).to.deep.equal(BOUND);
    clock.tick(2 * MINUTE);
    expect(await whoIs(browser)).to.deep.equal(ANONYMOUS);
  });

  it('takes the challenge that came with the last one', async () => {
    const { browser } = await start();
    await browser.bind();
    await browser.ask();
    expect((await browser.prove()).status).to.equal(200);
    expect((await browser.prove()).status).to.equal(200);
  });

  it('takes each challenge once, also those that came before the last', async () => {
    const { browser } = await start();
    await browser.bind();
    const jwts: string[] = [];
    for (let i = 0; i < 3; i++) {
      await browser.ask();
      jwts.push(browser.proof(browser.challenge as string));
    }
    for (const jwt of jwts) expect((await browser.prove(jwt)).status).to.equal(200);
    for (const jwt of jwts) expect((await browser.prove(jwt)).status).to.equal(403);
  });

  it('takes none that is older than the last eight that were answered', async () => {
    const clock = startClock();
    const store = new MemoryStore();
    const { site, browser } = await start({ store });
    await browser.bind();
    await browser.ask();
    const old = browser.proof(browser.challenge as string);
    const answered: string[] = [];
    for (let i = 0; i < 9; i++) {
      clock.tick(1);
      await browser.ask();
      answered.push(browser.proof(browser.challenge as string));
      expect((await browser.prove(answered[i])).status).to.equal(200);
    }
    for (const jwt of [old, ...answered]) expect((await browser.prove(jwt)).status).to.equal(403);
    const [{ ref } = { ref: '' }] = await site.sessions.list('ada');
    const { entries } = store.load(ref) as SessionRecord;
    expect(JSON.parse(entries.get('\0device') ?? '').answered).to.have.length(8);
    expect((await browser.prove()).status).to.equal(200);
  });

  it('is taken again once a clock that was ahead is set back, however often it proved itself meanwhile', async () => {
    const clock = startClock(LOGIN + 1440 * MINUTE);
    const { browser } = await start();
    await browser.bind();
    await browser.ask();
    for (let i = 0; i < 9; i++, clock.tick(1000)) expect((await browser.prove()).status, `proof ${i}`).to.equal(200);
    clock.setSystemTime(LOGIN);
    await browser.ask();
    expect((await browser.prove()).status).to.equal(200);
    expect(await whoIs(browser)).to.deep.equal(BOUND);
  });

  it('isn’t kept from a challenge by other clients that ask, nor by wrong proofs: neither stores anything', async () => {
    const store = new MemoryStore();
    const { browser } = await start({ store });
    await browser.bind();
    await browser.ask();
    const jwt = browser.proof(browser.challenge as string);
    const thief = browser.stolen();
    const writes = [spy(store, 'update'), spy(store, 'create')];
    for (let i = 0; i < 20; i++) await thief.ask();
    expect((await thief.prove()).status).to.equal(403);
    expect(writes.map(({ callCount }) => callCount)).to.deep.equal([0, 0]);
    expect((await browser.prove(jwt)).status).to.equal(200);
  });

  it('takes no bound cookie for a challenge, and no challenge for a bound cookie', async () => {
    const clock = startClock();
    const { browser } = await start();
    await browser.bind();
    const bound = browser.client.jar.get('wsession_bound') as string;
    expect((await browser.prove(browser.proof(bound))).status).to.equal(403);
    clock.tick(MINUTE);
    await browser.ask();
    const cookie = `wsession=${browser.client.jar.get('wsession')}; wsession_bound=${browser.challenge}`;
    expect(await whoIs(browser, { cookie })).to.deep.equal(ANONYMOUS);
  });

  it('takes a challenge once of several at once', async () => {
    const { browser } = await start();
    await browser.bind();
    await browser.ask();
    const jwt = browser.proof(browser.challenge as string);
    const replies = await Promise.all(Array.from({ length: 4 }, () => browser.prove(jwt)));
    expect(replies.map(({ status }) => status).sort()).to.deep.equal([200, 403, 403, 403]);
  });

  it('is taken also where another one, or a new id, comes at the same moment', async () => {
    const store = new MemoryStore();
    const { browser } = await start({ store });
    await browser.bind();
    const challenges: string[] = [];
    for (let i = 0; i < 3; i++) {
      await browser.ask();
      challenges.push(browser.challenge as string);
    }
    const [first, second, third] = challenges.map((challenge) => browser.proof(challenge)) as [string, string, string];
    beforeNextUpdate(store, () => browser.prove(first));
    expect((await browser.prove(second)).status).to.equal(200);
    expect((await browser.prove(first)).status).to.equal(403);
    beforeNextUpdate(store, () => browser.get('/regenerate'));
    expect((await browser.prove(third)).status).to.equal(200);
    expect((await browser.prove(third)).status).to.equal(403);
    expect(await whoIs(browser)).to.deep.equal(BOUND);
  });

  it('is asked for again where the session doesn’t come to rest', async () => {
    const store = new MemoryStore();
    const { browser } = await start({ store });
    await browser.bind();
    await browser.ask();
    const update = stub(store, 'update').returns({ outcome: 'conflict', actual: new Map() });
    expect((await browser.prove()).status).to.equal(403);
    update.restore();
    expect((await browser.prove()).status).to.equal(200);
  });

  it('takes a challenge for longer than the cookie lives, and not for ever', async () => {
    const clock = startClock();
    const { browser } = await start({ store: new MemoryStore({ expire: 86_400 }) });
    await browser.bind();
    await browser.ask();
    clock.tick(20 * MINUTE - 1);
    expect((await browser.prove()).status).to.equal(200);
    clock.tick(20 * MINUTE);
    expect((await browser.prove()).status).to.equal(403);
    expect((await browser.prove()).status).to.equal(200);
  });

  it('leaves the session’s expiry, so that it ends when it would have', async () => {
    const clock = startClock();
    const { browser } = await start({ store: new MemoryStore({ expire: 1000 }), rolling: true });
    await browser.bind();
    clock.tick(900_000);
    await browser.ask();
    expect((await browser.prove()).status).to.equal(200);
    clock.tick(100_000);
    expect(await whoIs(browser)).to.deep.equal(ANONYMOUS);
  });

  it('refuses another key, and the session goes on', async () => {
    const { browser } = await start();
    await browser.bind();
    await browser.ask();
    const thief = browser.stolen();
    const reply = await thief.prove(thief.proof(browser.challenge as string));
    expect([reply.status, reply.setCookie]).to.deep.equal([403, []]);
    expect((await browser.prove()).status).to.equal(200);
    expect(await whoIs(browser)).to.deep.equal(BOUND);
  });

  it('ends the browser’s session where it is another one than the cookie’s, and touches no cookie', async () => {
    const { browser } = await start();
    await browser.bind();
    const former = browser.id;
    await browser.bind();
    expect(browser.id).to.not.equal(former);
    for (const reply of [await browser.ask(former), await browser.prove(browser.proof('x'), former)]) {
      expect([reply.status, reply.json(), reply.setCookie]).to.deep.equal([
        200,
        { session_identifier: former, continue: false },
        [],
      ]);
    }
    const unknown = await browser.request('POST', '/device-bound/wsession/refresh', {
      headers: { cookie: `wsession=${'x'.repeat(32)}`, 'sec-secure-session-id': `"${browser.id}"` },
    });
    expect(unknown.json()).to.deep.equal({ session_identifier: browser.id, continue: false });
    expect(await whoIs(browser)).to.deep.equal(BOUND);
  });

  for (const path of ['/logout', '/revoke'])
    it(`ends the browser’s session after ${path.slice(1)}`, async () => {
      const { browser } = await start();
      await browser.bind();
      await browser.get(path);
      expect((await browser.ask()).json()).to.deep.equal({ session_identifier: browser.id, continue: false });
    });

  it('follows the session under a new id, also with the former cookie', async () => {
    const clock = startClock();
    const { browser } = await start();
    await browser.bind();
    const { cookie } = browser.client;
    for (let i = 0; i < 3; i++) await browser.get('/regenerate');
    const { id } = browser;
    const late = await browser.request('POST', '/device-bound/wsession/refresh', {
      headers: { cookie, 'sec-secure-session-id': id },
    });
    expect(late.status).to.equal(403);
    await browser.ask();
    expect((await browser.prove()).status).to.equal(200);
    clock.tick(9 * MINUTE);
    expect(await whoIs(browser)).to.deep.equal(BOUND);
  });

  it('finds the session without its cookie, also under a later id, until it has ended', async () => {
    const { site, browser } = await start();
    await browser.bind();
    const { id, keys } = browser;
    const cookieless = Object.assign(new DeviceBrowser(site), { id, keys });
    for (const path of ['/who', '/regenerate', '/regenerate']) {
      await browser.get(path);
      await cookieless.ask();
      cookieless.client.jar.clear();
      expect((await cookieless.prove()).status).to.equal(200);
      cookieless.client.jar.clear();
    }
    await browser.get('/logout');
    expect((await cookieless.ask()).json()).to.deep.equal({ session_identifier: id, continue: false });
  });

  it('finds it by its cookie where the index has lost it', async () => {
    const store = new MemoryStore();
    const { browser } = await start({ store });
    await browser.bind();
    stub(store.index, 'keys').returns([]);
    await browser.ask();
    expect((await browser.prove()).json()).to.have.property('refresh_url');
  });

  it('finds it also where a process that binds no sessions gave it a new id', async () => {
    const clock = startClock();
    const store = new MemoryStore();
    const { browser } = await start({ store });
    const { site: other } = await start({ store, deviceBound: false });
    await browser.bind();
    const elsewhere = other.visitor();
    elsewhere.jar.set('wsession', String(browser.client.jar.get('wsession')));
    await elsewhere.get('/regenerate');
    clock.tick(2 * MINUTE); // the mark under the former id has expired
    browser.client.jar.clear();
    expect((await browser.ask()).status).to.equal(403);
    expect((await browser.prove()).json()).to.have.property('refresh_url');
  });

  it('finds it as long as the session lives, also where its lifetime changed meanwhile', async () => {
    const clock = startClock();
    const { site, browser } = await start({ store: new MemoryStore({ expire: 300 }) });
    await browser.bind();
    const { id, keys } = browser;
    const cookieless = Object.assign(new DeviceBrowser(site), { id, keys });
    for (const [path, minutes] of [
      ['/change', 4],
      ['/change', 4],
      ['/remember', 40_000],
    ] as const) {
      await browser.get(path);
      clock.tick(minutes * MINUTE);
      await cookieless.ask();
      expect((await cookieless.prove()).status).to.equal(200);
      const cookie = `wsession=${browser.client.jar.get('wsession')}; ${cookieless.client.cookie}`;
      expect(await whoIs(browser, { cookie })).to.deep.equal(BOUND);
      cookieless.client.jar.clear();
    }
  });

  it('looks for it under one id, however often that changed', async () => {
    const store = new MemoryStore();
    const { site, browser } = await start({ store });
    await browser.bind();
    const { id, keys } = browser;
    for (let i = 0; i < 5; i++) await browser.get('/regenerate');
    const load = spy(store, 'load');
    await Object.assign(new DeviceBrowser(site), { id, keys }).ask();
    expect(load.callCount).to.equal(1);
  });

  it('responds with 503 while the store is down, and goes on afterwards', async () => {
    const store = new MemoryStore();
    const { browser } = await start({ store });
    await browser.bind();
    await browser.ask();
    for (const method of ['load', 'update'] as const) {
      const failing = stub(store, method).throws(new Error('down'));
      expect((await browser.prove()).status).to.equal(503);
      if (method === 'load') expect((await browser.ask()).status).to.equal(503);
      failing.restore();
    }
    await browser.ask();
    expect((await browser.prove()).status).to.equal(200);
  });

  it('works in several processes', async () => {
    const store = new MemoryStore();
    const { browser } = await start({ store });
    const { site: other } = await start({ store });
    other.app.proxy = true;
    await browser.bind();
    await browser.ask();
    const elsewhere = Object.assign(new DeviceBrowser(other), {
      id: browser.id,
      keys: browser.keys,
      challenge: browser.challenge,
    });
    for (const [name, value] of browser.client.jar) elsewhere.client.jar.set(name, value);
    expect((await elsewhere.prove()).status).to.equal(200);
    expect(await whoIs(browser)).to.deep.equal(BOUND);
    expect(await whoIs(elsewhere)).to.deep.equal(BOUND);
  });
});

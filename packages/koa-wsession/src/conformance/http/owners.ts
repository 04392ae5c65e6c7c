import assert from 'node:assert/strict';
import type { Suite } from '../suite.js';
import { count, logIn, logOut, openSite } from './site.js';

export function describeOwners(suite: Suite): void {
  const { capabilities, index } = suite.fixture;
  if (capabilities.seals || index === false) describeUnsupported(suite);
  else {
    describeList(suite);
    describeRevoke(suite);
  }
}

function describeUnsupported(suite: Suite): void {
  suite.it("can't list their sessions, or end some of them: an error says so", async () => {
    const { sessions } = await openSite(suite, {});
    const { seals, revokes } = suite.fixture.capabilities;
    const attempts = [() => sessions.list('ada'), () => sessions.revoke('ada', { only: 'one' })];
    if (!seals || !revokes) attempts.push(() => sessions.revoke('ada'));
    for (const attempt of attempts) {
      await assert.rejects(async () => attempt(), { code: 'WSESSION_UNSUPPORTED' });
    }
  });
}

function describeList(suite: Suite): void {
  const { it, clock } = suite;

  it('list their live sessions, and no others', async () => {
    const [ada, bob] = [`ada ${Math.random()}`, `bob ${Math.random()}`];
    const { visitor, sessions } = await openSite(suite, { '/login': logIn, '/logout': logOut, '/': count });
    const labels = async (owner: string) => (await sessions.list(owner)).map(({ label }) => label).sort();
    const [phone, desk, other] = [visitor(), visitor(), visitor()];
    await phone.get(`/login?label=phone&owner=${ada}`);
    await desk.get(`/login?label=desk&owner=${ada}`);
    await other.get(`/login?label=other&owner=${bob}`);
    assert.deepEqual(await labels(ada), ['desk', 'phone']);
    await desk.get('/logout');
    for (let hour = 0; hour < 3; hour++) {
      clock.advance(3_500_000);
      await phone.get('/');
    }
    assert.deepEqual([await labels(ada), await labels(bob)], [['phone'], []]);
  });
}

function describeRevoke(suite: Suite): void {
  const { it } = suite;

  it('revoke all their sessions, one, or all but one; a revoked browser gets a new session at once', async () => {
    const ada = `ada ${Math.random()}`;
    const { visitor, sessions } = await openSite(suite, {
      '/login': logIn,
      '/others': (ctx) => sessions.revoke(ada, { except: ctx as never }),
      '/': count,
      '/get': (_, { owner }) => owner ?? null,
    });
    const browsers = [visitor(), visitor(), visitor()] as const;
    for (const [i, browser] of browsers.entries()) await browser.get(`/login?label=${i}&owner=${ada}`);
    const states = async () =>
      Promise.all(browsers.map(async (browser) => JSON.parse((await browser.get('/get')).text) === ada));
    const ref = (await sessions.list(ada)).find(({ label }) => label === '2')?.ref;
    await sessions.revoke(ada, { only: ref as string });
    assert.deepEqual(await states(), [true, true, false]);
    await browsers[1].get('/others');
    assert.deepEqual(await states(), [false, true, false]);
    await sessions.revoke(ada);
    assert.deepEqual(await states(), [false, false, false]);
    for (const browser of browsers) {
      const { status, text, setCookie } = await browser.get('/');
      assert.deepEqual([status, text, setCookie !== undefined], [200, '1', true]);
    }
    assert.deepEqual(await sessions.list(ada), []);
  });
}

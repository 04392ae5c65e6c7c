import { CookieStore } from '@koa-wsession/store-cookie';
import { itOn, SERVER_STORES } from 'app-kit/with-store';
import { expect } from 'chai';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import { createLogin, TIMEOUTS } from 'login';
import sinon from 'sinon';
import { Client, type ClientResponse, type Served, serve } from 'testkit';

const ADA = { name: 'ada', password: 'analytical engine' };

/** A browser that sends Sec-Fetch-Site. */
class Visitor extends Client {
  send(path: string, fields: Record<string, string> = {}, site = 'same-origin'): Promise<ClientResponse> {
    return this.post(path, {
      headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': site },
      body: new URLSearchParams(fields).toString(),
    });
  }

  see(path: string): Promise<ClientResponse> {
    return this.get(path, { headers: { 'sec-fetch-site': 'none', 'user-agent': 'Firefox (Linux)' } });
  }
}

describe('the login app', () => {
  let server: Served;
  afterEach(() => server?.close());

  async function open(store: Store): Promise<() => Visitor> {
    server = await serve(await createLogin(store, 'here'));
    return () => new Visitor(server);
  }

  /** From the login to the logout, on a store that keeps sessions on the server. */
  async function walkThrough(store: Store): Promise<void> {
    const newVisitor = await open(store);
    const [ada, phone, grace] = [newVisitor(), newVisitor(), newVisitor()];
    expect((await ada.see('/devices')).headers.location).to.equal('/login');

    await ada.send('/login', ADA);
    const before = ada.cookie;
    await ada.send('/login', ADA);
    expect(ada.cookie).not.to.equal(before);
    const thief = newVisitor();
    thief.jar.set(...(before.split('=') as [string, string]));
    expect((await thief.see('/')).headers.location).to.equal('/login');
    expect((await ada.see('/')).body).to.contain('Welcome, Ada Lovelace.');
    expect((await ada.see('/')).body)
      .to.contain('Ada Lovelace')
      .and.not.to.contain('Welcome');

    await phone.send('/login', { ...ADA, remember: 'on' });
    await grace.send('/login', { name: 'grace', password: 'nanoseconds of wire' });
    const devices = (await ada.see('/devices')).body;
    expect(devices.match(/<li>/g)).to.have.length(2);

    const [, ref = ''] = /name="ref" value="([^"]+)"/.exec(devices) ?? [];
    await grace.send('/devices/revoke', { ref });
    expect((await phone.see('/')).status).to.equal(200);
    await ada.send('/devices/revoke', { ref });
    expect((await phone.see('/')).headers.location).to.equal('/login');

    await phone.send('/login', ADA);
    await ada.send('/devices/revoke-others');
    expect((await ada.see('/devices')).body).to.contain('one other device');
    expect((await phone.see('/')).headers.location).to.equal('/login');
    expect((await grace.see('/')).status).to.equal(200);

    await ada.send('/logout');
    expect((await ada.see('/login')).body).to.contain('You are logged out.');
    expect((await ada.see('/')).headers.location).to.equal('/login');
  }

  for (const name of SERVER_STORES) itOn(name, 'logs in and out, lists devices and logs them out', walkThrough);

  it('explains with the cookie store why there is no list of devices', async () => {
    const ada = (await open(new CookieStore('a secret of at least thirty-two bytes')))();
    await ada.send('/login', ADA);
    const page = await ada.see('/devices');
    expect(page.status).to.equal(200);
    expect(page.body).to.contain('There is no list here').and.not.to.contain('<li>');
  });

  it('refuses a wrong password, keeps the name in the form, and creates no session', async () => {
    const ada = (await open(new MemoryStore()))();
    const nameAfter = async (fields: Record<string, string>) => {
      const { status, body } = await ada.send('/login', fields);
      expect(status).to.equal(401);
      expect(body).to.contain('Wrong name or password');
      return /id="name".* value="([^"]*)"/.exec(body)?.[1];
    };
    expect(await nameAfter({ ...ADA, password: 'x' })).to.equal('ada');
    expect(await nameAfter({ name: '"><b>', password: 'x' })).to.equal('&#34;&#62;&#60;b&#62;');
    expect(await nameAfter({})).to.equal('');
    expect(ada.jar.size).to.equal(0);
  });

  it('refuses the forms of other sites, and those of old browsers without the token', async () => {
    const newVisitor = await open(new MemoryStore());
    expect((await newVisitor().send('/login', ADA, 'cross-site')).status).to.equal(403);
    expect((await newVisitor().send('/login', ADA, 'same-site')).status).to.equal(403);

    const old = newVisitor();
    const [, token = ''] = /name="csrf" value="([^"]+)"/.exec((await old.get('/login')).body) ?? [];
    expect(token).to.have.length(32);
    for (const csrf of ['', 'x'.repeat(32), `${token}x`])
      expect((await old.send('/login', { ...ADA, csrf }, '')).status).to.equal(403);
    expect((await old.send('/login', { ...ADA, csrf: token }, '')).status).to.equal(302);
  });

  it('sets no cookie for looking at the login', async () => {
    const visitor = (await open(new MemoryStore()))();
    expect((await visitor.see('/login')).setCookie).to.deep.equal([]);
  });

  it('keeps a session with "remember me" for two weeks', async () => {
    const ada = (await open(new MemoryStore({ expire: 900 })))();
    const maxAge = async (fields: Record<string, string>) =>
      /max-age=(\d+)/i.exec((await ada.send('/login', fields)).setCookie.join())?.[1];
    expect(await maxAge(ADA)).to.equal('900');
    expect(await maxAge({ ...ADA, remember: 'on' })).to.equal('1209600');
    expect(await maxAge(ADA)).to.equal('900');
  });

  describe('as time goes by', () => {
    const DAY = 24 * 3600 * 1000;
    let clock: sinon.SinonFakeTimers;
    beforeEach(() => {
      clock = sinon.useFakeTimers({ now: Date.now(), toFake: ['Date'] });
    });
    afterEach(() => clock.restore());

    const logIn = async (fields: Record<string, string>) => {
      const ada = (await open(new MemoryStore({ expire: TIMEOUTS.idle })))();
      await ada.send('/login', fields);
      return async (wait: number, path = '/') => {
        clock.tick(wait);
        const answer = path === '/stay' ? await ada.send(path) : await ada.see(path);
        return answer.headers.location ?? answer.status;
      };
    };

    it('keeps a visitor logged in who clicks, and logs out one without a click for 15 minutes', async () => {
      const after = await logIn(ADA);
      const almost = (TIMEOUTS.idle - 1) * 1000;
      expect([await after(almost), await after(almost, '/stay'), await after(almost)]).to.deep.equal([200, 204, 200]);
      expect(await after(TIMEOUTS.idle * 1000)).to.equal('/login');
    });

    it('logs out after 30 days, even with "remember me" and clicks', async () => {
      const after = await logIn({ ...ADA, remember: 'on' });
      expect([await after(10 * DAY), await after(10 * DAY), await after(9.9 * DAY)]).to.deep.equal([200, 200, 200]);
      expect(await after(0.1 * DAY)).to.equal('/login');
    });
  });
});

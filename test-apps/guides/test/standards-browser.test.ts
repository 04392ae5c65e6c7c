import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import Koa from 'koa';
import { type SessionOptions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { BROWSER, newVisitor, type SecureServed, serveSecurely, startBrowser, startWithProfile } from 'testkit/browser';
import { describeWith } from 'testkit/programs';

describeWith(BROWSER, 'In Chromium, over TLS', function () {
  this.timeout(60_000);

  const open: SecureServed[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((served) => served.close()));
  });

  async function serve(handle: (ctx: Koa.Context) => unknown, ...before: Koa.Middleware[]): Promise<string> {
    const app = new Koa();
    for (const middleware of before) app.use(middleware);
    app.use(async (ctx) => {
      ctx.body = '';
      await handle(ctx);
    });
    const served = await serveSecurely(app.callback());
    open.push(served);
    return `https://shop.test:${served.port}`;
  }

  async function withBrowser(work: (visitor: Awaited<ReturnType<typeof newVisitor>>) => Promise<void>): Promise<void> {
    const browser = await startBrowser();
    try {
      await work(await newVisitor(browser));
    } finally {
      await browser.close();
    }
  }

  it('cookies that break the rules of their prefix are dropped, and are refused by us when the app starts', async () => {
    const prefixes = ['__Secure-', '__Host-', '__Http-', '__Host-Http-', '__host-', '__HTTP-', '__host-http-'];
    const ways: Array<Omit<SessionOptions, 'name'> & { secure?: boolean; domain?: string }> = [
      { secure: true },
      {},
      { secure: true, path: '/shop' },
      { secure: true, domain: 'shop.test' },
      { secure: true, httpOnly: false },
    ];
    const cases = prefixes.flatMap((prefix) => ways.map((way, i) => ({ name: `${prefix}${i}`, ...way })));
    const lines = cases.map(({ name, path = '/', secure, domain, httpOnly = true }) =>
      [`${name}=x; Path=${path}`, domain && `Domain=${domain}`, secure && 'Secure', httpOnly && 'HttpOnly']
        .filter(Boolean)
        .join('; '),
    );
    const isRefused = ({ secure, domain, ...options }: (typeof cases)[number]): boolean => {
      try {
        session(new MemoryStore({ ...(secure && { secure }), ...(domain && { domain }) }), options);
        return false;
      } catch {
        return true;
      }
    };
    const origin = await serve((ctx) => ctx.set('Set-Cookie', lines));
    await withBrowser(async (visitor) => {
      await (await visitor.newPage()).goto(`${origin}/shop/`);
      const kept = (await visitor.cookies(`${origin}/shop/`)).map(({ name }) => name);
      const accepted = cases.filter((one) => !isRefused(one)).map(({ name }) => name);
      expect(accepted.sort()).to.deep.equal(kept.sort());
      expect(kept.length).to.be.within(10, cases.length - 10);
    });
  });

  it('a cookie of persistent: false, or of maxAge "session", is gone after a restart, and one with a maxAge is not', async () => {
    const store = new MemoryStore({ secure: true });
    const all = [
      session(store, { name: 'closes', persistent: false }),
      session(store, { name: 'stays' }),
      session(store, { name: 'remembers', persistent: false }),
      session(store, { name: 'forgets' }),
    ];
    const origin = await serve(
      async (ctx) => {
        for (const [i, sessions] of all.entries()) {
          const { maxAge } = { maxAge: [undefined, undefined, 86_400_000, 'session' as const][i] };
          if (ctx.path === '/login') await sessions.of(ctx).logIn('ada', { maxAge });
        }
        ctx.body = all.map((sessions) => sessions.of(ctx).owner ?? '-').join();
      },
      ...all,
    );
    const profile = mkdtempSync(join(tmpdir(), 'wsession-profile-'));
    const visit = async (path: string): Promise<string | null> => {
      const visitor = await startWithProfile(profile);
      try {
        const page = await visitor.newPage();
        await page.goto(origin + path);
        if (path === '/login') await page.goto(origin);
        return await page.textContent('body');
      } finally {
        await visitor.close();
      }
    };
    try {
      expect(await visit('/login')).to.equal('ada,ada,ada,ada');
      expect(await visit('/')).to.equal('-,ada,ada,-');
    } finally {
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    }
  });

  it('nothing that is left after logOut() opens a session, not even with what a thief has copied', async () => {
    const sessions = session(new MemoryStore({ secure: true }), { name: '__Host-sid' });
    const origin = await serve(async (ctx) => {
      if (ctx.path === '/login') await sessions.of(ctx).logIn('ada');
      if (ctx.path === '/logout') await sessions.of(ctx).logOut();
      ctx.body = sessions.of(ctx).owner ?? 'nobody';
    }, sessions);
    await withBrowser(async (visitor) => {
      const page = await visitor.newPage();
      await page.goto(`${origin}/login`);
      const copied = await visitor.cookies();
      await page.goto(`${origin}/account`);
      await page.goto(`${origin}/logout`);
      expect(await visitor.cookies()).to.deep.equal([]);
      await page.goBack();
      expect(await page.textContent('body'), 'the back button').to.equal('nobody');
      await visitor.addCookies(copied);
      await page.goto(origin);
      expect(await page.textContent('body')).to.equal('nobody');
    });
  });

  it('clearSiteData deletes storage and all cookies, those that the same response sets included', async () => {
    const sessions = session(new MemoryStore({ secure: true }), { name: '__Host-sid' });
    const origin = await serve(async (ctx) => {
      ctx.set('Set-Cookie', `seen-${ctx.path.slice(1)}=1; Path=/; Secure`);
      if (ctx.path === '/login') await sessions.of(ctx).logIn('ada');
      if (ctx.path === '/storage') await sessions.of(ctx).logOut({ clearSiteData: ['storage'] });
      if (ctx.path === '/all') await sessions.of(ctx).logOut({ clearSiteData: true });
      ctx.type = 'html';
    }, sessions);
    await withBrowser(async (visitor) => {
      const page = await visitor.newPage();
      const left = async (path: string) => {
        await page.goto(`${origin}/login`);
        await page.evaluate('localStorage.setItem("draft", "1")');
        await page.goto(origin + path);
        const cookies = await visitor.cookies();
        const names = cookies.map(({ name }) => name).filter((name) => name !== 'seen-favicon.ico');
        return { names: names.sort(), draft: await page.evaluate('localStorage.getItem("draft")') };
      };
      expect(await left('/logout')).to.deep.equal({ names: ['__Host-sid', 'seen-login', 'seen-logout'], draft: '1' });
      const { names, draft } = await left('/storage');
      expect([names.includes('__Host-sid'), names.includes('seen-storage'), draft]).to.deep.equal([false, true, null]);
      expect(await left('/all')).to.deep.equal({ names: [], draft: null });
    });
  });
});

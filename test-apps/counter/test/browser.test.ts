import { csrf } from 'app-kit/csrf';
import { expect } from 'chai';
import Koa from 'koa';
import { type SessionOptions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Browser, Page } from 'playwright-core';
import { BROWSER, newVisitor, serveSecurely, startBrowser } from 'testkit/browser';
import { describeWith } from 'testkit/programs';

declare module 'koa-wsession' {
  interface SessionData {
    counter?: number;
  }
}

const NAME = '__Host-wsession';

/** Counts on `/`; `/form` and `/frame` are pages of the other site. `seen` records what arrives at /transfer, and what it did. */
function createApp(options: SessionOptions, seen: string[]): Koa {
  const app = new Koa();
  app.use(session(new MemoryStore({ secure: true }), { name: NAME, ...options }));
  app.use((ctx, next) => {
    if (ctx.path === '/transfer') seen.push(ctx.get('cookie').includes(NAME) ? 'cookie' : 'no cookie');
    return next();
  });
  app.use(csrf());
  app.use((ctx) => {
    ctx.type = 'html';
    if (ctx.path === '/form') ctx.body = `<form method="post" action="${ctx.query.to}"><button>Win</button></form>`;
    else if (ctx.path === '/frame') ctx.body = `<iframe src="${ctx.query.to}"></iframe>`;
    else if (ctx.path === '/transfer') seen.push('transferred');
    else if (ctx.path === '/') {
      ctx.session.counter = (ctx.session.counter ?? 0) + 1;
      ctx.body = `<output>${ctx.session.counter}</output><form method="post" action="/transfer"><button>Send</button></form>`;
    }
  });
  return app;
}

describeWith(BROWSER, 'the session cookie in Chromium over TLS', () => {
  let browser: Browser;
  before(async () => {
    browser = await startBrowser();
  });
  after(() => browser.close());

  /** A visitor with a session at https://shop.test; the other site is https://evil.test. */
  async function visit(
    options: SessionOptions,
    test: (page: Page, sites: { shop: string; evil: string }, seen: string[]) => Promise<void>,
  ): Promise<void> {
    const seen: string[] = [];
    const server = await serveSecurely(createApp(options, seen).callback());
    const visitor = await newVisitor(browser);
    try {
      const page = await visitor.newPage();
      const shop = `https://shop.test:${server.port}`;
      await page.goto(`${shop}/`);
      await test(page, { shop, evil: `https://evil.test:${server.port}` }, seen);
    } finally {
      await visitor.close();
      await server.close();
    }
  }

  it('is taken with the prefix __Host-, comes back, and is hidden from scripts', () =>
    visit({}, async (page) => {
      const [cookie] = await page.context().cookies();
      expect(cookie).to.include({ name: NAME, secure: true, httpOnly: true, path: '/', sameSite: 'Lax' });
      await page.reload();
      expect(await page.textContent('output')).to.equal('2');
      expect(await page.evaluate('document.cookie')).to.equal('');
    }));

  it("comes with the site's own form", () =>
    visit({}, async (page, _, seen) => {
      await Promise.all([page.waitForResponse('**/transfer'), page.click('button')]);
      expect(seen).to.deep.equal(['cookie', 'transferred']);
    }));

  for (const [sameSite, brought] of [
    ['lax', 'no cookie'],
    ['none', 'cookie'],
  ] as const) {
    it(`brings ${brought} with another site's form when SameSite is ${sameSite}, and that form is refused`, () =>
      visit({ sameSite }, async (page, { shop, evil }, seen) => {
        await page.goto(`${evil}/form?to=${encodeURIComponent(`${shop}/transfer`)}`);
        const [response] = await Promise.all([page.waitForResponse('**/transfer'), page.click('button')]);
        expect(response.status()).to.equal(403);
        expect(seen).to.deep.equal([brought]);
      }));
  }

  it('gets its own jar in the frame of another site when it is Partitioned', () =>
    visit({ sameSite: 'none', partitioned: true }, async (page, { shop, evil }) => {
      const framed = async () => {
        await page.goto(`${evil}/frame?to=${encodeURIComponent(`${shop}/`)}`);
        return page.frameLocator('iframe').locator('output').textContent();
      };
      expect([await framed(), await framed()]).to.deep.equal(['1', '2']);
      await page.goto(`${shop}/`);
      expect(await page.textContent('output')).to.equal('2');
    }));
});

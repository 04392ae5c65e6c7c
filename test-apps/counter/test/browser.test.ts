import { expect } from 'chai';
import Koa from 'koa';
import { session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Browser, Page } from 'playwright-core';
import { missingForBrowser, type SecureServed, serveSecurely, startBrowser } from 'testkit/browser';

const NAME = '__Host-wsession';

/** Counts on /, and says which cookie a request brought. */
function createApp(sameSite: 'lax' | 'none', seen: string[]): Koa {
  const app = new Koa();
  app.use(session(new MemoryStore({ secure: true }), { name: NAME, sameSite }));
  app.use((ctx) => {
    ctx.type = 'html';
    if (ctx.path === '/form')
      ctx.body = `<form method="post" action="${ctx.query.to}"><button>Win</button></form>`;
    else if (ctx.path === '/transfer') {
      seen.push(ctx.get('cookie').includes(NAME) ? 'cookie' : 'no cookie', ctx.get('sec-fetch-site'));
      ctx.body = 'transferred';
    } else if (ctx.path === '/') {
      ctx.session.counter = (ctx.session.counter ?? 0) + 1;
      ctx.body = `<output>${ctx.session.counter}</output>`;
    }
  });
  return app;
}

describe('the session cookie in Chromium over TLS', () => {
  let browser: Browser;
  before(async function () {
    const missing = missingForBrowser();
    if (missing !== undefined) {
      console.log(`    skipped: ${missing}`);
      this.skip();
    }
    browser = await startBrowser();
  });
  after(() => browser?.close());

  async function visit(
    sameSite: 'lax' | 'none',
    test: (page: Page, port: number, seen: string[]) => Promise<void>,
  ): Promise<void> {
    const seen: string[] = [];
    const server: SecureServed = await serveSecurely(createApp(sameSite, seen).callback());
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    try {
      const page = await context.newPage();
      await page.goto(`https://shop.test:${server.port}/`);
      await test(page, server.port, seen);
    } finally {
      await context.close();
      await server.close();
    }
  }

  it('is taken with the prefix __Host-, comes back, and is hidden from scripts', () =>
    visit('lax', async (page) => {
      const [cookie] = await page.context().cookies();
      expect(cookie).to.include({ name: NAME, secure: true, httpOnly: true, path: '/', sameSite: 'Lax' });
      await page.reload();
      expect(await page.textContent('output')).to.equal('2');
      expect(await page.evaluate('document.cookie')).to.equal('');
    }));

  for (const [sameSite, brought] of [
    ['lax', 'no cookie'],
    ['none', 'cookie'],
  ] as const) {
    it(`brings ${brought} with another site's form when SameSite is ${sameSite}`, () =>
      visit(sameSite, async (page, port, seen) => {
        const to = encodeURIComponent(`https://shop.test:${port}/transfer`);
        await page.goto(`https://evil.test:${port}/form?to=${to}`);
        await page.click('button');
        await page.waitForURL('**/transfer');
        expect(seen).to.deep.equal([brought, 'cross-site']);
      }));
  }
});

import { CookieStore } from '@koa-wsession/store-cookie';
import { itOn, SERVER_STORES } from 'app-kit/with-store';
import { createCart } from 'cart';
import { expect } from 'chai';
import type { Store } from 'koa-wsession/store';
import type { Browser } from 'playwright-core';
import { Client, serve } from 'testkit';
import { BROWSER, newVisitor, serveSecurely, startBrowser } from 'testkit/browser';
import { describeWith } from 'testkit/programs';

const countIn = (page: string): number => Number(/<output[^>]*>(\d+)</.exec(page)?.[1]);

/** The number in the cart after twenty clicks at the same time. */
async function countOfTwenty(store: Store): Promise<{ count: number; page: string }> {
  const server = await serve(createCart(store, 'here'));
  try {
    const ada = new Client(server);
    const headers = { 'sec-fetch-site': 'same-origin', 'content-type': 'application/x-www-form-urlencoded' };
    await ada.get('/', { headers });
    await Promise.all(Array.from({ length: 20 }, () => ada.post('/add', { headers, body: 'product=lamp' })));
    const { body: page } = await ada.get('/', { headers });
    expect((await ada.post('/add', { headers, body: 'product=__proto__' })).status).to.equal(400);
    await ada.post('/empty', { headers });
    expect(countIn((await ada.get('/', { headers })).body)).to.equal(0);
    return { count: countIn(page), page };
  } finally {
    await server.close();
  }
}

describe('the cart app', () => {
  for (const name of SERVER_STORES) {
    itOn(name, 'loses none of twenty clicks at the same time', async (store) => {
      expect((await countOfTwenty(store)).count).to.equal(20);
    });
  }

  it('keeps one of twenty with the cookie store, and says so on the page', async () => {
    const { count, page } = await countOfTwenty(new CookieStore('a secret of at least thirty-two bytes'));
    expect(count).to.equal(1);
    expect(page).to.contain('one is lost here');
  });
});

describeWith(BROWSER, 'the cart app in Chromium over TLS', () => {
  let browser: Browser;
  before(async () => {
    browser = await startBrowser();
  });
  after(() => browser.close());

  /** Two tabs of one browser, which add 20 lamps each at the same time. */
  async function addFromTwoTabs(store: Store): Promise<void> {
    const server = await serveSecurely(createCart(store, 'here').callback());
    const visitor = await newVisitor(browser);
    try {
      const tabs = [await visitor.newPage(), await visitor.newPage()];
      for (const tab of tabs) await tab.goto(`https://shop.test:${server.port}/`);
      await Promise.all(
        tabs.map((tab) =>
          tab.evaluate(async () => {
            const add = () => fetch('/add', { method: 'POST', body: new URLSearchParams({ product: 'lamp' }) });
            await Promise.all(Array.from({ length: 20 }, add));
          }),
        ),
      );
      for (const tab of tabs) {
        await tab.reload();
        expect(await tab.textContent('output')).to.equal('40');
      }
    } finally {
      await visitor.close();
      await server.close();
    }
  }

  for (const name of ['FsStore', 'RedisStore', 'PostgresStore'] as const) {
    itOn(name, 'has all 40 when two tabs add 20 each at the same time', addFromTwoTabs);
  }
});

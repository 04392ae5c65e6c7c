import { CookieStore } from '@koa-wsession/store-cookie';
import { itOn, SERVER_STORES } from 'app-kit/with-store';
import { createCart } from 'cart';
import { expect } from 'chai';
import { MemoryStore } from 'koa-wsession/memory';
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

  it('takes one piece at a time out of the cart, and none of what is not there', async () => {
    const server = await serve(createCart(new MemoryStore(), 'here'));
    try {
      const ada = new Client(server);
      const headers = { 'sec-fetch-site': 'same-origin', 'content-type': 'application/x-www-form-urlencoded' };
      const post = (path: string, product: string) => ada.post(path, { headers, body: `product=${product}` });
      const page = async () => (await ada.get('/', { headers })).body;
      for (const product of ['lamp', 'lamp', 'pencil']) await post('/add', product);
      await post('/remove', 'lamp');
      expect(countIn(await page())).to.equal(2);
      expect(await page()).to.contain('€ 40.20');
      for (const product of ['lamp', 'lamp', 'pencil']) await post('/remove', product);
      expect(countIn(await page())).to.equal(0);
      expect(await page())
        .to.contain('Your cart is empty.')
        .and.not.to.contain('Remove');
      expect((await post('/remove', 'toString')).status).to.equal(400);
    } finally {
      await server.close();
    }
  });

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

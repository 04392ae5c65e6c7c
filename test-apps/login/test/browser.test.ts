import { expect } from 'chai';
import { MemoryStore } from 'koa-wsession/memory';
import { createLogin, TIMEOUTS } from 'login';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { BROWSER, newVisitor, type SecureServed, serveSecurely, startBrowser } from 'testkit/browser';
import { describeWith } from 'testkit/programs';

describeWith(BROWSER, 'the login app in Chromium over TLS', () => {
  let browser: Browser;
  before(async () => {
    browser = await startBrowser();
  });
  after(() => browser.close());

  let server: SecureServed;
  let visitors: BrowserContext[];
  beforeEach(async () => {
    const app = await createLogin(new MemoryStore({ secure: true, expire: TIMEOUTS.idle }), 'here');
    server = await serveSecurely(app.callback());
    visitors = [];
  });
  afterEach(async () => {
    for (const visitor of visitors) await visitor.close();
    await server.close();
  });

  const at = (path: string) => `https://login.test:${server.port}${path}`;

  async function newPage(): Promise<Page> {
    const visitor = await newVisitor(browser);
    visitors.push(visitor);
    return visitor.newPage();
  }

  async function logIn(page: Page): Promise<void> {
    await page.goto(at('/login'));
    await page.getByLabel('Name').fill('ada');
    await page.getByLabel('Password').fill('analytical engine');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.waitForURL(at('/'));
  }

  it('logs the other devices out', async () => {
    const [desk, phone] = [await newPage(), await newPage()];
    await logIn(phone);
    await logIn(desk);
    await desk.getByRole('link', { name: 'Devices' }).click();
    await desk.getByText('Chrome on Linux').nth(1).waitFor();
    await desk.getByRole('button', { name: 'Log out the others' }).click();
    await desk.getByText('Logged out one other device.').waitFor();
    await phone.reload();
    expect(phone.url()).to.equal(at('/login'));
    await desk.reload();
    expect(desk.url()).to.equal(at('/devices'));
  });

  it('warns a minute before the time is up; a click keeps the visitor logged in, none shows the login', async () => {
    const page = await newPage();
    await page.clock.install();
    await logIn(page);
    const warning = page.locator('#expiry');
    const stay = page.getByRole('button', { name: 'Stay logged in' });

    await page.clock.fastForward((TIMEOUTS.idle - 70) * 1000);
    expect(await warning.isVisible()).to.equal(false);
    await page.clock.fastForward(15_000);
    expect(await warning.textContent()).to.match(/You will be logged out in 5\d seconds\./);

    await Promise.all([page.waitForResponse('**/stay'), stay.click()]);
    await warning.waitFor({ state: 'hidden' });

    await page.clock.fastForward(TIMEOUTS.idle * 1000);
    await page.getByText('your time was up').waitFor();
  });
});

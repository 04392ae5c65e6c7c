import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CookieStore } from '@koa-wsession/store-cookie';
import { createCart } from 'cart';
import { createChat } from 'chat';
import { createApp as createCounter } from 'counter';
import { createFront } from 'demo/front';
import type Koa from 'koa';
import { MemoryStore } from 'koa-wsession/memory';
import { createLogin, TIMEOUTS } from 'login';
import type { Browser, Page } from 'playwright-core';
import { type Look, newVisitor } from 'testkit/browser';

/** What is done with each page, once it is as it should be. */
type Show = (page: Page, name: string) => Promise<void>;

const PLACE = 'the memory of this process';
const SECRET = 'a secret of at least thirty-two bytes';

/** The pages of each app in each of their states. The first argument shows the state that the callback gets by name. */
export const APPS: Record<string, (at: (path: string) => string, page: Page, show: Show) => Promise<void>> = {
  async front(at, page, show) {
    await page.goto(at('/'));
    await show(page, 'front');
  },

  async counter(at, page, show) {
    await page.goto(at('/'));
    await show(page, 'counter');
    await page.getByRole('button', { name: 'New session id' }).click();
    await page.getByText('has a new id').waitFor();
    await show(page, 'counter-notice');
  },

  async login(at, page, show) {
    await page.clock.install();
    await page.goto(at('/login'));
    await show(page, 'login');
    await page.goto(at('/login?expired'));
    await show(page, 'login-expired');
    await logIn(page, 'guessed');
    await page.getByText('Wrong name or password').waitFor();
    await show(page, 'login-wrong');
    await logIn(page, 'analytical engine');
    await page.getByText('Welcome').waitFor();
    await show(page, 'account');
    await page.clock.fastForward((TIMEOUTS.idle - 42) * 1000);
    await page.getByText('Stay logged in').waitFor();
    await show(page, 'account-warning');
    await page.goto(at('/devices'));
    await show(page, 'devices');
    const other = await newVisitor(page.context().browser() as Browser);
    const second = await other.newPage();
    await second.goto(at('/login'));
    await logIn(second, 'analytical engine');
    await second.getByText('Welcome').waitFor();
    await other.close();
    await page.reload();
    await page.getByRole('button', { name: 'Log out the others' }).waitFor();
    await show(page, 'devices-two');
  },

  async 'login with sessions in cookies'(at, page, show) {
    await page.goto(at('/login'));
    await logIn(page, 'analytical engine');
    await page.getByText('Welcome').waitFor();
    await page.goto(at('/devices'));
    await show(page, 'devices-cookie');
  },

  async cart(at, page, show) {
    await page.goto(at('/'));
    await show(page, 'cart-empty');
    for (const name of ['Add Pencil', 'Add Pencil', 'Add Desk lamp']) await page.getByRole('button', { name }).click();
    await page.getByText('€ 41.40').waitFor();
    await show(page, 'cart');
    await page.getByRole('button', { name: 'Empty the cart' }).click();
    await page.getByText('Everything is out').waitFor();
    await show(page, 'cart-emptied');
  },

  async chat(at, page, show) {
    await page.goto(at('/'));
    await show(page, 'chat-login');
    await page.getByLabel('Your name').fill('ada');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('Connected.').waitFor();
    await show(page, 'chat-empty');
    for (const text of ['Hello!', `A longer message: ${'word '.repeat(30)}`]) {
      await page.getByLabel('Message', { exact: true }).fill(text);
      await page.getByRole('button', { name: 'Send' }).click();
      await page.getByText(text.trim()).waitFor();
    }
    await show(page, 'chat');
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByText('You are logged out.').waitFor();
    await show(page, 'chat-logged-out');
  },
};

async function logIn(page: Page, password: string): Promise<void> {
  await page.getByLabel('Name').fill('ada');
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
}

const CREATE: Record<string, () => Koa | Server | Promise<Koa>> = {
  front: () =>
    createFront(
      [
        { title: 'Counter', about: 'counts your visits', port: 3001 },
        { title: 'Login', about: 'accounts, “remember me”, a list of devices', port: 3002 },
        { title: 'Cart', about: 'one cart in two tabs', port: 3003 },
        { title: 'Chat', about: '', missing: 'needs a store on the server' },
      ],
      PLACE,
    ),
  counter: () => createCounter(new MemoryStore(), PLACE),
  login: () => createLogin(new MemoryStore({ expire: TIMEOUTS.idle }), PLACE),
  'login with sessions in cookies': () => createLogin(new CookieStore(SECRET, { expire: TIMEOUTS.idle }), 'sealed'),
  cart: () => createCart(new MemoryStore(), PLACE),
  chat: () => createChat(new MemoryStore(), PLACE),
};

/** Opens every page of an app in a browser of its own. */
export async function openPages(app: string, browser: Browser, screen: Look, show: Show): Promise<void> {
  const server = (await (CREATE[app] as () => Koa | Promise<Koa>)()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const visitor = await newVisitor(browser, screen);
  try {
    await APPS[app]?.((path) => `http://127.0.0.1:${port}${path}`, await visitor.newPage(), show);
  } finally {
    await visitor.close();
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }
}

import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CookieStore } from '@koa-wsession/store-cookie';
import { expect } from 'chai';
import { createChat } from 'chat';
import { MemoryStore } from 'koa-wsession/memory';
import type { Browser } from 'playwright-core';
import { Client, describeWith } from 'testkit';
import { BROWSER, newVisitor, startBrowser } from 'testkit/browser';
import { WebSocket } from 'ws';
import { Talker } from './talker.js';

describe('the chat app', () => {
  let server: Server;
  let origin: string;
  beforeEach(async () => {
    server = createChat(new MemoryStore(), 'here');
    await once(server.listen(0, '127.0.0.1'), 'listening');
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.terminate();
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });

  const sockets: WebSocket[] = [];
  const connect = (talker: Talker, from?: string): WebSocket => {
    const socket = talker.connect(from);
    sockets.push(socket);
    return socket;
  };

  it('counts what a session sends, by page and by socket at the same time', async () => {
    const ada = await Talker.logIn(origin, 'ada');
    const socket = connect(ada);
    await once(socket, 'open');
    const heard: string[] = [];
    const all = new Promise<void>((resolve) => {
      socket.on('message', (data) => {
        heard.push(JSON.parse(String(data)).text);
        if (heard.length === 20) resolve();
      });
    });
    const texts = Array.from({ length: 20 }, (_, i) => String(i));
    await Promise.all(texts.map((text, i) => (i % 2 ? ada.send('/say', { text }) : socket.send(text))));
    await all;
    expect(heard).to.have.members(texts);
    expect((await ada.get('/me')).json()).to.deep.equal({ user: 'ada', messages: 20 });
  });

  it('closes the socket of a session that logs out, and no other', async () => {
    const [ada, bob] = [await Talker.logIn(origin, 'ada'), await Talker.logIn(origin, 'bob')];
    const [hers, his] = [connect(ada), connect(bob)];
    await Promise.all([hers, his].map((socket) => once(socket, 'open')));
    const closed = once(hers, 'close');
    expect((await ada.send('/logout')).headers.location).to.equal('/?out');
    expect((await closed)[0]).to.equal(4001);
    expect(his.readyState).to.equal(WebSocket.OPEN);
  });

  it('refuses the upgrade of an anonymous visitor, and of a page of another site', async () => {
    const refusal = async (socket: WebSocket) => ((await once(socket, 'error'))[0] as Error).message;
    expect(await refusal(connect(new Talker(origin)))).to.match(/401/);
    const ada = await Talker.logIn(origin, 'ada');
    expect(await refusal(connect(ada, 'http://evil.example'))).to.match(/403/);
    expect(await refusal(connect(ada, 'null'))).to.match(/403/);
  });

  it('shows the login, not an error, to an anonymous visitor, who gets no cookie', async () => {
    const visitor = new Client(origin);
    const { status, body, setCookie } = await visitor.get('/?out', { headers: { 'sec-fetch-site': 'none' } });
    expect([status, setCookie]).to.deep.equal([200, []]);
    expect(body).to.contain('You are logged out.').and.to.contain('action="/login"').and.not.to.contain('/say');
    expect((await visitor.get('/me')).json()).to.deep.equal({ user: null, messages: 0 });
    expect((await new Talker(origin).send('/say', { text: 'hello' })).headers.location).to.equal('/?out');
  });

  it('takes the name from the body of the request, with 1 to 40 characters', async () => {
    const answers = ['', ' ', 'x'.repeat(41), 'é'.repeat(40)].map((name) =>
      new Talker(origin).send('/login', { name }),
    );
    expect((await Promise.all(answers)).map(({ status }) => status)).to.deep.equal([400, 400, 400, 302]);
    expect((await new Talker(origin).send('/login?name=ada')).status).to.equal(400);
  });

  it('refuses the cookie store at the start, since a WebSocket can send no new cookie', () => {
    const store = new CookieStore('a secret of at least thirty-two bytes');
    expect(() => createChat(store, 'here')).to.throw('needs a store on the server');
  });

  describeWith(BROWSER, 'in Chromium', () => {
    let browser: Browser;
    before(async () => {
      browser = await startBrowser();
    });
    after(() => browser.close());

    it('logs in, talks and logs out by keyboard alone, in every tab', async () => {
      const visitor = await newVisitor(browser);
      try {
        const page = await visitor.newPage();
        await page.goto(origin);
        await page.waitForSelector('[name=name]:focus');
        await page.keyboard.type('<b>ada');
        await page.keyboard.press('Enter');
        await page.getByText('Connected.').waitFor();
        expect(await page.getByLabel('Your name').count()).to.equal(0);
        expect(page.url()).to.equal(`${origin}/`);

        const other = await visitor.newPage();
        await other.goto(origin);
        await other.getByText('Connected.').waitFor();
        await page.bringToFront();
        await page.waitForSelector('[name=text]:focus');
        await page.keyboard.type('hello');
        await page.keyboard.press('Enter');
        for (const tab of [page, other]) {
          await tab.getByText('<b>ada: hello').waitFor();
          expect(await tab.textContent('#count')).to.equal('1');
        }

        for (const key of ['Tab', 'Tab', 'Enter']) await page.keyboard.press(key);
        for (const tab of [page, other]) {
          await tab.getByText('You are logged out.').waitFor();
          expect(await tab.getByLabel('Your name').count()).to.equal(1);
        }
      } finally {
        await visitor.close();
      }
    });
  });
});

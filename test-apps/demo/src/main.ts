import { type Create, createWithStore, listen, PORT } from 'app-kit/start';
import { createCart } from 'cart';
import { createChat } from 'chat';
import { createApp as createCounter } from 'counter';
import type { StoreOptions } from 'koa-wsession/store';
import { createLogin, TIMEOUTS } from 'login';
import { createFront, type Linked } from './front.js';

interface App {
  readonly title: string;
  readonly about: string;
  readonly create: Create;
  readonly options?: StoreOptions;
}

const APPS: readonly App[] = [
  { title: 'Counter', about: 'counts your visits', create: createCounter },
  {
    title: 'Login',
    about: 'accounts, “remember me”, a list of devices, a warning before the time is up',
    create: createLogin,
    options: { expire: TIMEOUTS.idle },
  },
  { title: 'Cart', about: 'one cart in two tabs, in which parallel clicks count', create: createCart },
  { title: 'Chat', about: 'one session in a page and a WebSocket', create: createChat },
];

// The front page is on PORT, and each app on one of the ports after that.
let place = '';
const linked: Linked[] = [];
for (const [index, { title, about, create, options }] of APPS.entries()) {
  if (process.env.STORE === 'cookie' && create === createChat) {
    linked.push({ title, about, missing: 'needs a store on the server: a WebSocket can send no new cookie' });
    continue;
  }
  const created = await createWithStore(create, options);
  place = created.place;
  linked.push({ title, about, port: await listen(created.app, PORT === 0 ? 0 : PORT + 1 + index) });
}
const port = await listen(createFront(linked, place), PORT);
console.log(`Four apps are at http://localhost:${port} (sessions: ${place}).`);

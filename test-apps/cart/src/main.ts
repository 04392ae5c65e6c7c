import { listen } from 'app-kit/listen';
import { chooseStore } from 'app-kit/stores';
import { createCart } from './app.js';

// Behind a proxy that ends TLS: SECURE=1.
const secure = process.env.SECURE === '1';
const { store, place } = chooseStore(process.env.STORE ?? 'fs', { secure });
const app = createCart(store, place);
app.proxy = secure;

listen(app, 'cart', place);

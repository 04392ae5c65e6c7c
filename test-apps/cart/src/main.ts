import { start } from 'app-kit/start';
import { createCart } from './app.js';

await start('cart', createCart);

import { bodyParser } from '@koa/bodyparser';
import Router from '@koa/router';
import { csrf, csrfField } from 'app-kit/csrf';
import { pages } from 'app-kit/page';
import Koa from 'koa';
import { type Store, session } from 'koa-wsession';
import { type Cart, PRODUCTS, renderShop } from './page.js';

declare module 'koa-wsession' {
  interface SessionData {
    cart?: Cart;
  }
}

/** A shop in which tabs can add to the cart at the same time. `place` says where the sessions are. */
export function createCart(store: Store, place: string): Koa {
  const app = new Koa();
  const router = new Router();

  router.get('/', (ctx) => {
    // Made here, so that two tabs whose first clicks come at once have one session already, not one each.
    ctx.session.cart ??= {};
    ctx.type = 'html';
    ctx.body = renderShop({
      place,
      cart: ctx.session.cart,
      csrf: csrfField(ctx),
      notice: ctx.session.flash('notice') as string | undefined,
      merges: store.capabilities.merges,
    });
  });

  router.post('/add', async (ctx) => {
    const product = PRODUCTS.find(({ id }) => id === (ctx.request.body as Record<string, unknown>).product);
    if (!product) return ctx.throw(400, 'There is no such product.');
    await ctx.session.update('cart', (cart = {}) => ({ ...cart, [product.id]: (cart[product.id] ?? 0) + 1 }));
    ctx.redirect('/');
  });

  router.post('/empty', (ctx) => {
    ctx.session.cart = {};
    ctx.session.flash('notice', 'Your cart is empty.');
    ctx.redirect('/');
  });

  app.use(pages());
  app.use(session(store, { name: store.secure ? '__Host-cart' : 'cart' }));
  app.use(bodyParser({ enableTypes: ['form'] }));
  app.use(csrf());
  app.use(router.routes());
  return app;
}

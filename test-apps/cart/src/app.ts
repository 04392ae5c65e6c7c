import { bodyParser } from '@koa/bodyparser';
import Router from '@koa/router';
import { csrf, csrfField } from 'app-kit/csrf';
import { pages } from 'app-kit/page';
import Koa from 'koa';
import { session } from 'koa-wsession';
import type { Store } from 'koa-wsession/store';
import { type Cart, PRODUCTS, renderShop } from './page.js';

declare module 'koa-wsession' {
  interface SessionData {
    cart?: Cart;
  }
}

/** A shop in which tabs can add to the cart at the same time. `place` says where the sessions are. */
export function createCart(store: Store, place: string): Koa {
  const app = new Koa({ proxy: store.secure }); // a proxy ends TLS
  const router = new Router();
  const sessions = session(store, { name: store.secure ? '__Host-cart' : 'cart' });

  router.get('/', async (ctx) => {
    // Created by the page: otherwise the first clicks of two tabs at once would create a session each.
    ctx.session.cart ??= {};
    ctx.type = 'html';
    ctx.body = renderShop({
      place,
      cart: ctx.session.cart,
      csrf: csrfField(ctx),
      notices: await sessions.of(ctx).takeFlash('notice'),
      merges: store.capabilities.merges,
    });
  });

  router.post('/add', (ctx) => change(ctx, 1));

  router.post('/remove', (ctx) => change(ctx, -1));

  router.post('/empty', (ctx) => {
    ctx.session.cart = {};
    sessions.of(ctx).flash('notice', 'Everything is out of your cart.');
    ctx.redirect('/');
  });

  async function change(ctx: Koa.Context, pieces: number): Promise<void> {
    const product = PRODUCTS.find(({ id }) => id === (ctx.request.body as Record<string, unknown>).product);
    if (!product) return ctx.throw(400, 'Unknown product.');
    await sessions.of(ctx).update('cart', (cart) => withPieces(cart, product.id, pieces));
    ctx.redirect('/');
  }

  app.use(pages());
  app.use(sessions);
  app.use(bodyParser({ enableTypes: ['form'] }));
  app.use(csrf());
  app.use(router.routes());
  return app;
}

/** The cart with so many more pieces of a product: none are left of what another tab has removed already. */
function withPieces(cart: Cart = {}, id: string, pieces: number): Cart {
  return { ...cart, [id]: Math.max((cart[id] ?? 0) + pieces, 0) };
}

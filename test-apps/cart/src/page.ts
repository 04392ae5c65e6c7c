import { type Html, html, renderPage } from 'app-kit/page';

/** The number of pieces by product id. */
export type Cart = Record<string, number>;

interface Product {
  readonly id: string;
  readonly name: string;
  readonly cents: number;
}

export const PRODUCTS: readonly Product[] = [
  { id: 'pencil', name: 'Pencil', cents: 120 },
  { id: 'notebook', name: 'Notebook', cents: 450 },
  { id: 'lamp', name: 'Desk lamp', cents: 3900 },
];

export interface Shop {
  readonly place: string;
  readonly cart: Cart;
  readonly csrf: Html;
  readonly notices: readonly string[];
  /** Whether the store merges parallel writes. */
  readonly merges: boolean;
}

export function renderShop({ place, cart, csrf, notices, merges }: Shop): string {
  const countOf = ({ id }: Product) => cart[id] ?? 0;
  const count = PRODUCTS.reduce((sum, product) => sum + countOf(product), 0);
  const cents = PRODUCTS.reduce((sum, product) => sum + countOf(product) * product.cents, 0);
  return renderPage({
    title: 'Stationery',
    place,
    notices,
    nav: html`<span>In your cart: <output class="number">${count}</output></span>`,
    main: html`
<p class="quiet">Open this page in <a href="/" target="_blank">a second tab</a> and add from both.${
      merges
        ? ' Nothing is lost.'
        : ' Of two clicks at the very same time one is lost here: each response carries the whole session in a cookie, and the last cookie stays.'
    }</p>
<ul class="list">${PRODUCTS.map(
      (product) => html`<li>
  <div>
    <p><strong>${product.name}</strong></p>
    <p class="quiet">${price(product.cents)}${countOf(product) === 0 ? undefined : ` · ${countOf(product)} in your cart`}</p>
  </div>
  ${countOf(product) === 0 ? undefined : renderButton('Remove', product, csrf)}
  ${renderButton('Add', product, csrf)}
</li>`,
    )}</ul>
${
  count === 0
    ? html`<p>Your cart is empty.</p>`
    : html`<p>Total <strong class="number">${price(cents)}</strong></p>
<div class="actions"><form method="post" action="/empty">${csrf}<button>Empty the cart</button></form></div>`
}`,
  });
}

/** Adds or removes one piece. */
function renderButton(label: 'Add' | 'Remove', { id, name }: Product, csrf: Html): Html {
  return html`<form method="post" action="/${label.toLowerCase()}">${csrf}<input type="hidden" name="product" value="${id}"><button aria-label="${label} ${name}">${label}</button></form>`;
}

function price(cents: number): string {
  return `€ ${(cents / 100).toFixed(2)}`;
}

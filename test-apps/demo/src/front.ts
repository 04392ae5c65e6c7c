import { html, pages, renderPage } from 'app-kit/page';
import Koa from 'koa';

/** An app that the front page links: at a port, or not at all on this store. */
export interface Linked {
  readonly title: string;
  readonly about: string;
  readonly port?: number;
  /** Why the app doesn't run on this store. */
  readonly missing?: string;
}

/** The front page: a link to each app, on the host that the visitor came to. */
export function createFront(apps: readonly Linked[], place: string): Koa {
  const front = new Koa();
  front.use(pages());
  front.use((ctx) => {
    if (ctx.path !== '/') return;
    ctx.type = 'html';
    ctx.body = renderPage({
      title: 'Four apps, one kind of session',
      place,
      main: html`
<p>Each app calls <code>session(store)</code>. <code>STORE</code> chooses the store, and nothing else in the apps changes.</p>
<ul class="list">${apps.map((app) => renderApp(app, ctx.hostname))}</ul>`,
    });
  });
  return front;
}

function renderApp({ title, about, port, missing }: Linked, host: string) {
  return html`<li>
  <div>
    <p><strong>${port === undefined ? title : html`<a href="http://${host}:${port}/">${title}</a>`}</strong></p>
    <p class="quiet">${missing ?? about}</p>
  </div>
</li>`;
}

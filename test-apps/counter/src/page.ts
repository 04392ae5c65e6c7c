import { html, renderPage } from 'app-kit/page';

/** The page: the count, where it is kept, and what can be done with a session. */
export function renderCounter(count: number, place: string, notices: readonly string[]): string {
  return renderPage({
    title: 'Your visits',
    place,
    notices,
    main: html`
<output class="number huge">${count}</output>
<div class="actions">
  <a class="button" href="/">Visit again</a>
  <form method="post" action="/regenerate"><button>New session id</button></form>
  <form method="post" action="/logout"><button>Log out</button></form>
</div>`,
  });
}
